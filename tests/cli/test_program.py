"""The program as a whole: actions, help, exit codes, one line for every failure."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from strongroom import __version__
from strongroom.access import ACTIONS, Authorizer
from strongroom.app import Gateway, Settings
from strongroom.app.four_eyes_settings import FourEyesSettings
from strongroom.app.leak_settings import LeakReports
from strongroom.app.limit_settings import LimitSettings
from strongroom.app.oauth import OAuthSettings
from strongroom.app.settings import VaultAddress, VaultListener
from strongroom.app.workload_settings import Workload
from strongroom.cli import app, main
from strongroom.cli.command import ACTION_OF, PLAIN, PUBLIC, command, operator
from strongroom.cli.show import console, table
from tests.cli.support import refused, strongroom

ROOT = Path(__file__).parents[2]
SECRET = "not-for-anybodys-eyes"


def commands(node: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(node, "commands", {}).items():
        if getattr(inner, "commands", None):
            yield from commands(inner, (*words, name))
        else:
            yield " ".join((*words, name)), inner


ALL = dict(commands(typer.main.get_command(app)))


def test_every_command_declares_an_action_that_an_operator_may_carry_out() -> None:
    assert set(ALL) == set(ACTION_OF)
    asked = set(ACTION_OF.values()) - {PUBLIC}
    assert asked <= ACTIONS
    for action in asked:
        of_merchant = action.startswith(("payment", "token:", "data_subject:"))
        merchant = "mer_01k00000000000000000000000" if of_merchant else None
        who = operator("test", merchant=merchant)
        Authorizer(mode="test").check(who, action=action, merchant=merchant)


def test_nobody_chooses_his_name_by_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Journal entries name the user, and who asks for an approval must not give it."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert operator("live").id == f"local:{pwd.getpwuid(os.getuid()).pw_name}"


def test_public_commands_are_those_that_touch_no_installation() -> None:
    public = {words for words, action in ACTION_OF.items() if action == PUBLIC}
    on_other_machines = {
        "approvals sign", "ceremony answer", "ceremony transcript", "ceremony verify",
        "custodian create", "subjects verify-receipt", "workload join", "workload renew",
    }  # fmt: skip
    assert public == {"version", "demo", "sandbox"} | on_other_machines


def test_a_command_with_an_unknown_action_does_not_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = typer.Typer(**PLAIN)
    began = []
    command(root, "two", action="nothing:known")(lambda: began.append(1))
    command(root, "three", action=PUBLIC)(lambda: None)
    assert main(["two"], root=root) == 1
    assert not began
    assert "unknown_action" in capsys.readouterr().err
    ACTION_OF.pop("two")
    ACTION_OF.pop("three")


def test_a_bug_is_one_line_without_values(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> None:
        raise ValueError(SECRET)

    root = typer.Typer(**PLAIN)
    command(root, "one", action=PUBLIC)(broken)
    command(root, "other", action=PUBLIC)(lambda: None)
    assert main(["one"], root=root) == 1
    told = capsys.readouterr().err
    assert "This is a bug: ValueError" in told
    assert SECRET not in told and len(told.splitlines()) == 1
    ACTION_OF.pop("one")
    ACTION_OF.pop("other")


@pytest.mark.parametrize("words", ALL)
def test_every_command_explains_itself_and_speaks_json(words: str) -> None:
    parameters = ALL[words].params
    assert "--json" in {name for p in parameters for name in p.opts}
    assert ALL[words].help
    for parameter in parameters:
        assert parameter.help, (words, parameter.name)


def test_the_docs_list_every_command_as_its_help_does() -> None:
    page = (ROOT / "docs" / "operations" / "running.md").read_text()
    told = dict(re.findall(r"^\| `strongroom ([a-z0-9 -]+)` \| (.+?) \|$", page, re.MULTILINE))
    assert told == {words: found.help.split("\n\n")[0] for words, found in ALL.items()}


def test_no_secret_can_be_given_as_an_argument() -> None:
    spoken = {n for c in ALL.values() for p in c.params for n in p.opts if n.startswith("--")}
    secret = re.compile("secret|passphrase|token|password|key")
    assert not {n for n in spoken if secret.search(n) and not n.endswith("-file")}


def test_nothing_that_is_shown_can_steer_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(table(("name",), [("Shop \x1b[31m\x9b0m\x07",)]))
    told = capsys.readouterr().out
    assert "Shop" in told
    assert not {"\x1b", "\x9b", "\x07"} & set(told)


def test_version() -> None:
    assert strongroom("version").out == f"strongroom {__version__}\n"
    assert strongroom("version", "--json").json == {"version": __version__}


@pytest.mark.parametrize(
    "words",
    [
        ("nothing",),
        ("keys",),
        ("keys", "list", "--nothing"),
        ("init",),
        ("init", "--mode", "other"),
        ("init", "--mode", "live"),
        ("up", "--port", "70000"),
        ("api-keys", "create", "--owner", "me"),
        ("serve", "--role", "console"),
        ("serve", "--role", "nothing"),
    ],
)
def test_wrong_usage_is_2_and_names_the_help(words: tuple[str, ...], tmp_path: Path) -> None:
    line = refused(strongroom(*words), 2)
    assert "--help" in line


def test_no_installation_is_1_and_says_how_to_make_one(tmp_path: Path) -> None:
    line = refused(strongroom("keys", "list", data_dir=tmp_path), 1)
    assert "strongroom init" in line and "(not_initialized)" in line


def test_nobody_there_is_3(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sr_test_sk_x\n")
    key.chmod(0o600)
    line = refused(strongroom("demo", "--url", "http://127.0.0.1:1", "--key-file", key), 3)
    assert "(service_unreachable)" in line


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(SECRET)
    key.chmod(0o644)
    line = refused(strongroom("demo", "--url", "http://127.0.0.1:1", "--key-file", key), 1)
    assert f"chmod 600 {key}" in line and SECRET not in line


def test_help_is_asked_for_by_saying_nothing() -> None:
    told = strongroom()
    assert told.code == 0
    assert "Usage: strongroom" in told.out


def test_every_setting_is_explained() -> None:
    page = (ROOT / "docs" / "operations" / "settings.md").read_text()
    told = set(re.findall(r"^\| `([a-z0-9_]+)` \|", page, re.MULTILINE))
    told -= {"pkcs11"}  # a provider, in the table of the roots
    from_elsewhere = {"data_dir", "database_urls"}
    tables = (
        Settings, Gateway, LeakReports, VaultAddress, VaultListener, FourEyesSettings,
        LimitSettings, OAuthSettings, Workload,
    )  # fmt: skip
    fields = {name for table in tables for name in table.__struct_fields__} - from_elsewhere
    assert told == fields
    source = (ROOT / "src/strongroom/app/settings.py").read_text()
    variables = set(re.findall(r'"(STRONGROOM_[A-Z_]+)"', source))
    assert variables <= set(re.findall(r"^\| `(STRONGROOM_[A-Z_]+)` \|", page, re.MULTILINE))


def test_every_check_of_the_doctor_is_explained() -> None:
    page = (ROOT / "docs" / "operations" / "doctor.md").read_text()
    told = set(re.findall(r"^\| ([a-z ]+) \|", page, re.MULTILINE)) - {"check"}
    made = set()
    for name in ("doctor", "health_access", "health_machine", "health_store"):
        source = (ROOT / f"src/strongroom/cli/{name}.py").read_text()
        made |= set(re.findall(r'\b(?:ok|warn|fail)\(\s*"([a-z ]+)",', source))
    assert told == made | {"gateway"}

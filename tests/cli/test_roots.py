"""`strongroom root …`, `init --root-provider` and `doctor hsm`, against real counterparts."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.app.roots import without_roots
from tests.cli.support import Run, environment, refused, strongroom
from tests.support.openbao import OpenBao
from tests.support.softhsm import SoftHsm

pytestmark = pytest.mark.slow(70)


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    made = SoftHsm(tmp_path_factory.mktemp("hsm"))
    made.make_token("vault")
    return made


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with OpenBao(tmp_path_factory.mktemp("bao")) as running:
        yield running


def run(*words: object, hsm: SoftHsm | None = None, data_dir: Path) -> Run:
    """Run a command in a process that sees the tokens."""
    done = subprocess.run(
        [sys.executable, "-m", "strongroom", *map(str, words), f"--data-dir={data_dir}"],
        env=environment(**(hsm.environment if hsm else {})),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return Run(done.returncode, done.stdout, done.stderr)


def hsm_options(hsm: SoftHsm, flag: str = "--option") -> list[str]:
    given = {"module": hsm.module, "token_label": "vault", "pin_file": hsm.pin_file}
    return [f"{flag}={name}={value}" for name, value in given.items()]


def settings(data_dir: Path) -> dict[str, Any]:
    return tomllib.loads((data_dir / "strongroom.toml").read_text())


def key_objects(hsm: SoftHsm) -> list[tuple[str, bytes]]:
    """What the tokens hold; a login itself changes flags in token.object."""
    found = [path for path in hsm.tokens.rglob("*.object") if path.name != "token.object"]
    return sorted((path.name, path.read_bytes()) for path in found)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("roots") / "data"
    assert strongroom("init", "--mode", "test", data_dir=data_dir).code == 0
    return data_dir


def test_an_installation_can_begin_in_an_hsm(tmp_path: Path, hsm: SoftHsm) -> None:
    data_dir = tmp_path / "data"
    words = ("init", "--mode=test", "--root-provider=pkcs11", *hsm_options(hsm, "--root-option"))
    begun = run(*words, "--json", hsm=hsm, data_dir=data_dir)
    assert begun.code == 0, begun.err
    assert json.loads(begun.out)["root_provider"] == "pkcs11"
    read = settings(data_dir)
    assert read["root"]["provider"] == "pkcs11" and "root_file" not in read
    assert not (data_dir / "root.json").exists() and not (data_dir / "root.key").exists()
    kept = run("keys", "list", "--json", hsm=hsm, data_dir=data_dir)
    assert kept.code == 0, kept.err
    keks = [key for key in json.loads(kept.out) if key["kind"] == "kek"]
    assert keks and {key["wrapped_by"] for key in keks} == {read["root"]["id"]}
    looked = run("doctor", "--json", hsm=hsm, data_dir=data_dir)
    found = {check["check"]: check for check in json.loads(looked.out)["checks"]}
    assert looked.code == 0, looked.out
    assert "(pkcs11)" in found["root"]["told"] and "extractable" not in found
    hsm.remove()
    try:
        line = refused(run("keys", "list", hsm=hsm, data_dir=data_dir), 3)
        assert "(root_unavailable)" in line
        assert not (data_dir / "root.json").exists()
    finally:
        hsm.put_back()


def test_doctor_hsm_is_a_dry_run(made: Path, hsm: SoftHsm, tmp_path: Path) -> None:
    out = tmp_path / "hsm.toml"
    created = run(
        "root", "create", "--provider=pkcs11", *hsm_options(hsm), f"--out={out}", hsm=hsm,
        data_dir=made,
    )  # fmt: skip
    assert created.code == 0, created.err
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    before = key_objects(hsm)
    text = (made / "strongroom.toml").read_text()
    looked = run("doctor", "hsm", f"--root={out}", "--json", hsm=hsm, data_dir=made)
    assert looked.code == 0, looked.out
    found = {check["check"]: check for check in json.loads(looked.out)["checks"]}
    assert set(found) == {"root", "wrap and unwrap", "binding", "mechanisms", "extractable"}
    assert {check["status"] for check in found.values()} == {"ok"}
    assert "aes-gcm" in found["mechanisms"]["told"]
    assert "AES_KEY_WRAP_PAD" in found["mechanisms"]["told"]
    assert before == key_objects(hsm)
    assert (made / "strongroom.toml").read_text() == text
    assert run("doctor", "hsm", data_dir=made).code == 0


def test_doctor_hsm_fails_with_one_line_when_the_pin_is_wrong(
    made: Path, hsm: SoftHsm, tmp_path: Path
) -> None:
    out = tmp_path / "hsm.toml"
    words = ("root", "create", "--provider=pkcs11", *hsm_options(hsm), f"--out={out}")
    assert run(*words, hsm=hsm, data_dir=made).code == 0
    wrong = tmp_path / "wrong.pin"
    wrong.touch(mode=0o600)
    wrong.write_text("00000000\n")
    out.write_text(out.read_text().replace(str(hsm.pin_file), str(wrong)))
    looked = run("doctor", "hsm", f"--root={out}", "--json", hsm=hsm, data_dir=made)
    assert looked.code == 1
    assert "root_access_denied" in json.loads(looked.out)["checks"][0]["told"]
    assert "00000000" not in looked.out + looked.err


def test_switching_keeps_the_former_root_and_the_other_settings(
    made: Path, bao: OpenBao, tmp_path: Path
) -> None:
    bao.token_for("root", made / "bao.token")
    bao.make_key("root")
    out = tmp_path / "bao.toml"
    options = {
        "address": bao.address, "key": "root", "ca_file": bao.ca_file, "token_file": "bao.token",
    }  # fmt: skip
    given = [f"--option={name}={value}" for name, value in options.items()]
    before, shown = settings(made), run("root", "show", "--json", data_dir=made).json
    created = run(
        "root", "create", "--provider=openbao-transit", *given, f"--out={out}", data_dir=made
    )
    assert created.code == 0, created.err
    switched = run("root", "switch", out, "--json", data_dir=made)
    assert switched.code == 0, switched.err
    after = settings(made)
    assert after["root"]["provider"] == "openbao-transit"
    assert [root["provider"] for root in after["former_roots"]] == ["sealed-file"]
    for gone in ("root_file", "root_key_file"):
        before.pop(gone)
    assert before == {k: v for k, v in after.items() if k not in ("root", "former_roots")}
    assert os.stat(made / "strongroom.toml").st_mode & 0o777 == 0o600
    told = run("root", "show", "--json", data_dir=made).json
    assert [root["use"] for root in told] == ["current", "former"]
    assert told[1]["id"] == shown[0]["id"] and "check" not in told[0]
    line = refused(run("root", "switch", out, data_dir=made), 1)
    assert "(root_in_use)" in line
    line = refused(run("root", "retire", told[0]["id"], data_dir=made), 1)
    assert "(root_not_found)" in line


def test_a_sealed_file_can_be_exchanged_for_another(tmp_path: Path) -> None:
    data_dir, out = tmp_path / "data", tmp_path / "new.toml"
    assert strongroom("init", "--mode", "test", data_dir=data_dir).code == 0
    options = ("--option=file=root2.json", "--option=key_file=root2.key")
    words = ("root", "create", "--provider=sealed-file", *options, f"--out={out}")
    assert run(*words, data_dir=data_dir).code == 0
    again = refused(run(*words[:-1], f"--out={tmp_path / 'again'}", data_dir=data_dir), 1)
    assert "(root_file_exists)" in again
    assert run("root", "switch", out, data_dir=data_dir).code == 0
    told = run("root", "show", "--json", data_dir=data_dir).json
    assert [root["file"] for root in told] == ["root2.json", "root.json"]
    assert run("root", "retire", told[1]["id"], data_dir=data_dir).code == 1, "it wraps keys"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--option=nothing"], 2),
        (["--option=token_label=a", "--option=token_label=b"], 2),
        (["--option=pin=1234"], 1),
        (["--option=module=/nowhere.so", "--option=token_label=t", "--option=pin_file=p"], 1),
    ],
)
def test_wrong_options_are_told_without_their_values(
    made: Path, tmp_path: Path, options: list[str], code: int
) -> None:
    words = ("root", "create", "--provider=pkcs11", *options, f"--out={tmp_path / 'o'}")
    line = refused(run(*words, data_dir=made), code)
    assert "1234" not in line
    assert not (tmp_path / "o").exists()


def test_a_root_named_twice_stops_the_start(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert strongroom("init", "--mode", "test", data_dir=data_dir).code == 0
    path = data_dir / "strongroom.toml"
    path.write_text(path.read_text() + '\n[root]\nprovider = "sealed-file"\n')
    line = refused(strongroom("keys", "list", data_dir=data_dir), 1)
    assert "(settings_invalid)" in line and "root once" in line


def test_lines_about_roots_are_found_in_every_form() -> None:
    text = (
        'mode = "test"\nroot_file="a"\n  root_key_file = "b"\n[root] # mine\nid = "x"\n'
        '[[former_roots]]\nid = "y"\n[[gateways]]\nname = "root_file"\n'
    )
    assert without_roots(text) == 'mode = "test"\n[[gateways]]\nname = "root_file"\n'

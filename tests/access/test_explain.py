"""`access explain` and `access grants` as people run them, in a real installation."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli import main
from tests.access.test_policies import POLICIES
from tests.support.pay import pay
from tests.support.runbook import blocks, programs, walk
from tests.support.stack import Stack


@pytest.fixture
def ask(stack: Stack, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str, code: int | None = None) -> Any:
        found = main(["access", *words, "--json", "--data-dir", str(stack.data_dir)])
        told = capsys.readouterr()
        if code is not None:
            assert found == code, (told.out, told.err)
        return json.loads(told.out) if told.out else told.err

    return run


def test_a_role_and_a_merchant_are_answered_at_once(stack: Stack, ask: Any) -> None:
    began = time.process_time()
    told = ask("explain", "merchant-backend", "payment:create", stack.merchant, code=0)
    assert time.process_time() - began < 1.0
    assert told["allowed"] is True
    assert [policy["id"] for policy in told["policies"]] == ["merchant-backend"]
    text = told["policies"][0]["text"]
    assert text in POLICIES and text.startswith("@id(") and text.endswith(";")
    denied = ask("explain", "merchant-backend", "payment:create", stack.merchant,
                 "--merchant", stack.other_merchant, code=1)  # fmt: skip
    assert [policy["id"] for policy in denied["policies"]] == ["deny-other-merchant"]
    nothing = ask("explain", "merchant-publishable", "refund:create", stack.merchant, code=1)
    assert nothing["policies"] == []
    assert nothing["reasons"][0].startswith("No policy permits refund:create")


def test_keys_payments_and_tokens_are_looked_up(stack: Stack, ask: Any) -> None:
    payment = pay(stack).json
    keys = stack.admin(lambda house: house.identity.list_keys(stack.merchant))
    key = next(one.id for one in keys if one.role == "merchant-backend")
    told = ask("explain", key, "refund:create", payment["id"], "--amount", "1", code=0)
    assert told["allowed"] is True
    theirs = stack.admin(lambda house: house.identity.list_keys(stack.other_merchant))
    denied = ask("explain", theirs[0].id, "refund:create", payment["id"], code=1)
    assert [policy["id"] for policy in denied["policies"]] == ["deny-other-merchant"]
    captured = ask("explain", key, "payment:capture", payment["id"], "--amount", "1", code=1)
    assert [policy["id"] for policy in captured["policies"]] == ["deny-capture-in-other-state"]
    token = payment["payment_method"]["token"]
    assert ask("explain", key, "token:read", token, code=0)["allowed"]
    for unknown in ("pay_00000000000000000000000000", "tok_00000000000000000000000000"):
        assert "(not_found)" in ask("explain", key, "payment:read", unknown, code=1)
    assert "(invalid_id)" in ask("explain", "nobody", "payment:read", "installation", code=1)
    assert "(unknown_action)" in ask("explain", key, "payment:steal", "installation", code=1)


def test_a_session_is_described(stack: Stack, ask: Any) -> None:
    fresh = ask("explain", "operator-admin", "key:destroy", "installation", code=0)
    assert [policy["id"] for policy in fresh["policies"]] == ["operator-admin"]
    for option, policy in (
        (("--mfa-minutes", "6"), "deny-stale-second-factor"),
        (("--aal", "1"), "deny-session-without-second-factor"),
    ):
        told = ask("explain", "operator-admin", "key:destroy", "installation", *option, code=1)
        assert [one["id"] for one in told["policies"]] == [policy]
    shown = ask("explain", "operator-admin", "token:reveal", stack.merchant,
                "--purpose", "incident_response")  # fmt: skip
    assert shown["policies"]


def test_grants_tell_each_role_and_where_rows_are_narrowed(stack: Stack, ask: Any) -> None:
    told = ask("grants", code=0)
    rights = {(one["role"], one["table"]): one for one in told}
    entry = rights["strongroom_read", "journal.entry"]
    assert (entry["rights"], entry["rows"]) == ("SELECT", "one merchant's")
    assert rights["strongroom_pay", "journal.entry"]["rights"] == "INSERT SELECT"
    assert "hash" not in rights["strongroom_read", "iam.api_key"]["columns"]
    assert not [one for one in told if one["table"].startswith(("vault.", "keys."))
                and one["role"] != "strongroom_vault"]  # fmt: skip
    for one in told:
        if one["role"] == "strongroom_read":
            assert one["rights"] in ("", "SELECT"), "readers read"


def test_the_page_runs_as_printed(stack: Stack, tmp_path: Path) -> None:
    path = programs(tmp_path / "bin")
    shown = [
        walk(block, path, STRONGROOM_DATA_DIR=str(stack.data_dir))
        for block in blocks("docs/access.md")
    ]
    assert [(run.returncode, run.stderr) for run in shown] == [(0, "")] * 2
    assert shown[0].stdout.startswith("Permitted: operator-admin:")
    assert "journal.entry" in shown[1].stdout


def test_the_text_for_people_is_the_same(
    stack: Stack, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code = main(["access", "explain", "operator-read", "key:rotate", "installation",
                 "--data-dir", str(stack.data_dir)])  # fmt: skip
    shown = capsys.readouterr().out
    assert code == 1
    assert shown.startswith("Denied: No policy permits key:rotate to operator with operator-read.")
    assert "policy set" in shown

"""Commands beside the running service: what they change shows over HTTP, what they check holds."""

from __future__ import annotations

import base64
import hashlib
import time
from pathlib import Path

from strongroom.cli.client import Client
from strongroom.cli.receipt import collect, pay
from strongroom.kernel.secret import Secret
from tests.cli.support import Run, refused, strongroom
from tests.support.stack import Stack, http


def asked(stack: Stack, *words: object) -> Run:
    run = strongroom(*words, "--json", data_dir=stack.data_dir)
    assert run.code == 0, (run.out, run.err)
    return run


def test_a_made_key_opens_and_a_revoked_one_does_not(stack: Stack, tmp_path: Path) -> None:
    merchant = asked(stack, "merchants", "create", "By hand").json["id"]
    of, out = f"--merchant={merchant}", tmp_path / "key"
    view = asked(stack, "api-keys", "create", of, "--owner=Ada", f"--out={out}").json
    key = out.read_text().strip()
    assert http("GET", stack.url + "/v1/payments", key=key).status == 200
    asked(stack, "api-keys", "revoke", view["id"], of, "--reason=left the company")
    time.sleep(1)
    assert http("GET", stack.url + "/v1/payments", key=key).status == 401


def test_what_operators_do_stands_in_the_journal_under_their_name(stack: Stack) -> None:
    merchant = asked(stack, "merchants", "create", "Written down").json["id"]
    path = f"/v1/journal/entries?subject={merchant}"
    named = {"Strongroom-Merchant": merchant}
    answer = stack.call("GET", path, key=stack.operator_read_key, headers=named)
    [entry] = answer.json["data"]
    assert entry["action"] == "identity:merchant:create"
    assert entry["actor"].startswith("local:")


def test_the_demonstration_goes_as_expected(stack: Stack) -> None:
    words = ("demo", f"--url={stack.url}", f"--key-file={stack.ready_file}")
    steps = strongroom(*words, "--json")
    assert steps.code == 0, (steps.out, steps.err)
    assert {"captured", "declined", "requires_action", "authorized"} <= {
        step["status"] for step in steps.json
    }
    shown = strongroom(*words)
    assert shown.code == 0 and "NOT AS EXPECTED" not in shown.out
    assert stack.secret_key not in shown.out + steps.out


def test_a_key_without_the_right_makes_the_demonstration_fail(stack: Stack, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(stack.publishable_key)
    key.chmod(0o600)
    run = strongroom("demo", f"--url={stack.url}", f"--key-file={key}")
    assert run.code == 1
    assert "NOT AS EXPECTED" in run.out


def test_journal_and_books_hold_under_load_of_their_own(stack: Stack) -> None:
    assert asked(stack, "journal", "verify").json["ok"] is True
    assert asked(stack, "ledger", "verify").json["ok"] is True
    assert asked(stack, "keys", "list").json
    assert asked(stack, "data-map").json


def test_another_journals_key_does_not_fit(stack: Stack, tmp_path: Path) -> None:
    key = tmp_path / "key"
    real = strongroom("journal", "key", data_dir=stack.data_dir).out
    key.write_text(real.replace("/journal+", "/other+"))
    refused(strongroom("journal", "verify", f"--key-file={key}", data_dir=stack.data_dir), 1)


def test_a_receipt_believes_only_the_journals_own_key(stack: Stack) -> None:
    client = Client(stack.url, Secret(stack.secret_key))
    paid = pay(client)
    real = strongroom("journal", "key", data_dir=stack.data_dir).out.strip()
    assert collect(client, paid, public_key=real).proven is True
    name = real.split("+")[0]
    raw = b"\x01" + bytes(range(32))
    key_id = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex()
    other = f"{name}+{key_id}+{base64.b64encode(raw).decode()}"
    receipt = collect(client, paid, public_key=other)
    assert receipt.proven is False
    assert all(entry.fault for entry in receipt.journal)

"""Erasing a person over real HTTP: who may, what is answered, payments that still wait."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from strongroom.keys import key_pages
from tests.api.test_endpoints import CARD, fresh
from tests.cli.support import strongroom
from tests.support.stack import Answer, Stack

PATH = "/v1/data-subjects/erase"


def person() -> str:
    return f"person-{fresh()[:13]}"


def store(stack: Stack, who: str) -> str:
    body = {"card": {**CARD, "data_subject": who}, "save": True}
    answer = stack.call("POST", "/v1/tokens", body)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def erase(stack: Stack, who: str, **more: Any) -> Answer:
    return stack.call("POST", PATH, {"data_subject": who, "reason": "asked", **more})


def pay(stack: Stack, who: str, number: str = CARD["number"], key: str | None = None) -> Answer:
    card = {**CARD, "number": number, "data_subject": who}
    body = {"amount": 1099, "currency": "EUR", "payment_method": {"card": card}}
    return stack.call("POST", "/v1/payments", body, idempotency_key=key or fresh())


def test_a_person_is_erased_and_the_receipt_holds(stack: Stack, tmp_path: Path) -> None:
    who = person()
    token = store(stack, who)
    paid = pay(stack, who)
    assert paid.status == 201
    told = erase(stack, who)
    assert told.status == 200
    assert told.json["receipt"]["cards_removed"] == 2
    assert who not in told.body.decode()
    for gone in (token, paid.json["payment_method"]["token"]):
        assert stack.call("GET", f"/v1/tokens/{gone}").json["code"] == "token_not_found"
    assert erase(stack, who).body == told.body
    refund = f"/v1/payments/{paid.json['id']}/refunds"
    assert stack.call("POST", refund, {}, idempotency_key=fresh()).status == 201
    (tmp_path / "receipt").write_bytes(told.body)
    key = strongroom("subjects", "key", "--json", data_dir=stack.data_dir).json["key"]
    (tmp_path / "key").write_text(key)
    check = ("subjects", "verify-receipt", tmp_path / "receipt", "--key-file", tmp_path / "key")
    checked = strongroom(*check, "--json")
    assert (checked.code, checked.json) == (0, told.json["receipt"])
    forged = told.body.replace(b'"cards_removed":2', b'"cards_removed":3')
    (tmp_path / "receipt").write_bytes(forged)
    refused = strongroom(*check)
    assert refused.code == 1 and "shred_receipt_invalid" in refused.err


def test_others_cannot_erase_and_learn_nothing(stack: Stack) -> None:
    who = person()
    token = store(stack, who)
    body = {"data_subject": who, "reason": "asked"}
    for key, status in ((None, 401), (stack.publishable_key, 403), (stack.operator_read_key, 403)):
        headers = {"Strongroom-Merchant": stack.merchant} if status == 403 else {}
        got = stack.call("POST", PATH, body, key=key, headers=headers)
        assert got.status in (status, 400), got.body
    other = stack.call("POST", PATH, body, key=stack.other_secret_key)
    assert (other.status, other.json["code"]) == (404, "data_subject_not_found")
    assert stack.call("GET", f"/v1/tokens/{token}").status == 200
    operator = stack.call(
        "POST", PATH, body, key=stack.operator_admin_key,
        headers={"Strongroom-Merchant": stack.merchant},
    )  # fmt: skip
    assert operator.status == 200


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"data_subject": "a b"}, "invalid_data_subject"),
        ({"data_subject": "x" * 101}, "invalid_parameter"),
        ({"reason": ""}, "invalid_parameter"),
        ({"reason": "card 4242 4242 4242 4242"}, "card_number_in_text"),
        ({"force": "yes"}, "invalid_parameter"),
        ({"token": "x"}, "unknown_parameter"),
    ],
)
def test_malformed_requests_are_refused(stack: Stack, changes: dict[str, Any], code: str) -> None:
    body = {"data_subject": "anna", "reason": "asked", **changes}
    got = stack.call("POST", PATH, body)
    assert (got.status, got.json["code"]) == (422, code)


def test_a_payment_that_waits_is_in_the_way_unless_forced(stack: Stack) -> None:
    who = person()
    held = pay(stack, who, "4000000000009235")
    assert held.json["status"] == "requires_review", held.body
    refused = erase(stack, who)
    assert (refused.status, refused.json["code"]) == (409, "data_subject_in_use")
    assert erase(stack, who, force=True).status == 200
    review = f"/v1/payments/{held.json['id']}/review"
    done = stack.call("POST", review, {"decision": "approve"}, idempotency_key=fresh())
    assert (done.status, done.json["status"]) == (200, "captured")


def test_the_person_is_part_of_what_an_idempotency_key_stands_for(stack: Stack) -> None:
    who, key = person(), fresh()
    assert pay(stack, who, key=key).status == 201
    assert pay(stack, who, key=key).headers["idempotency-replayed"] == "true"
    assert pay(stack, person(), key=key).json["code"] == "idempotency_key_reused"


def test_the_command_takes_the_reference_from_a_file_only(stack: Stack, tmp_path: Path) -> None:
    who = person()
    store(stack, who)
    file = tmp_path / "who"
    file.write_text(who + "\n")
    words = ("subjects", "shred", file, "--merchant", stack.merchant, "--reason", "asked")
    file.chmod(0o644)
    assert strongroom(*words, data_dir=stack.data_dir).code == 1
    file.chmod(0o600)
    out = tmp_path / "receipt.json"
    done = strongroom(*words, "--out", out, data_dir=stack.data_dir)
    assert done.code == 0 and "1 cards" in done.out, done.err
    assert json.loads(out.read_text())["receipt"]["requested_by"].startswith("local:")
    assert os.stat(out).st_mode & 0o777 == 0o600
    assert who not in out.read_text() + done.out


def test_a_servers_key_pages_are_read_by_nobody(stack: Stack) -> None:
    """After load, with root's rights where the test has them: ciphers aside, keys are not there."""
    who = person()
    for _ in range(5):
        assert pay(stack, who).status == 201
    (server, *_) = stack.server_pids()
    try:
        maps = Path(f"/proc/{server}/maps").read_text()
        memory = open(f"/proc/{server}/mem", "rb", buffering=0)  # noqa: SIM115
    except PermissionError:
        assert os.geteuid() != 0
        return
    with memory:
        pages = [line for line in maps.splitlines() if "secretmem" in line]
        for page in pages:
            memory.seek(int(page.split("-")[0], 16))
            with pytest.raises(OSError, match="Input/output"):
                memory.read(32)
    assert bool(pages) == (key_pages() == "memfd_secret")

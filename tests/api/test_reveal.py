"""Reveal over real HTTP: who may, for what, how many; entries first; nothing is cached."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.api.endpoint import Reply
from strongroom.api.render import encode
from strongroom.api.token_model import RevealedAnswer
from strongroom.identity import KeyKind, KeySpec
from strongroom.kernel import limits
from tests.api.test_endpoints import assert_problem
from tests.support.pay import card
from tests.support.stack import Answer, Stack

PAN = "4242424242424242"
NOWHERE = "tok_00000000000000000000000000"


def service_key(stack: Stack, merchant: str) -> str:
    """Make a key that may see card numbers; each test gets its own, with its own hour."""

    async def work(house: Any) -> str:
        spec = KeySpec(
            merchant=merchant,
            kind=KeyKind.RESTRICTED,
            role="service-reveal",
            owner="disputes",
            scopes=frozenset({"token:reveal", "token:reveal_batch"}),
        )
        _, secret = await house.identity.create_key(spec, actor="system:test")
        text: str = secret.reveal()
        return text

    made: str = stack.admin(work)
    return made


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    return str(stack.call("POST", "/v1/tokens", {"card": card()}).json["id"])


def reveal(stack: Stack, token: str, key: str | None, purpose: str = "dispute_evidence") -> Answer:
    return stack.call("POST", f"/v1/tokens/{token}/reveal", {"purpose": purpose}, key=key)


def reveal_all(stack: Stack, tokens: list[str], key: str) -> Answer:
    body = {"tokens": tokens, "purpose": "gateway_migration"}
    return stack.call("POST", "/v1/tokens/reveal", body, key=key)


def test_a_service_sees_a_number_and_the_journal_knows(stack: Stack, token: str) -> None:
    answer = reveal(stack, token, service_key(stack, stack.merchant))
    assert answer.status == 200, answer.body
    assert answer.json == {
        "object": "card_number", "token": token, "number": PAN, "code": None,
    }  # fmt: skip
    assert answer.headers["cache-control"] == "no-store"
    entries = stack.call("GET", f"/v1/journal/entries?subject={token}").json["data"]
    (entry,) = [e for e in entries if e["action"] == "vault:card:reveal"]
    assert entry["request"] == answer.headers["request-id"]
    assert entry["facts"]["purpose"] == "dispute_evidence"
    assert entry["facts"]["policy"] == "service-reveal"
    assert PAN not in str(entries)


def test_merchants_and_readers_are_403(stack: Stack, token: str) -> None:
    named = {"Strongroom-Merchant": stack.merchant}
    for key in (stack.secret_key, stack.publishable_key, stack.operator_read_key):
        for path, body in (
            (f"/v1/tokens/{token}/reveal", {"purpose": "dispute_evidence"}),
            ("/v1/tokens/reveal", {"tokens": [token], "purpose": "dispute_evidence"}),
        ):
            headers = named if key == stack.operator_read_key else {}
            answer = stack.call("POST", path, body, key=key, headers=headers)
            assert_problem(answer, 403, "permission_denied")


def test_a_service_has_two_purposes_and_an_administrator_four(stack: Stack, token: str) -> None:
    key = service_key(stack, stack.merchant)
    assert reveal(stack, token, key, "gateway_migration").status == 200
    assert_problem(reveal(stack, token, key, "law_enforcement"), 403, "permission_denied")
    assert_problem(reveal(stack, token, key, "curiosity"), 422, "purpose_required")
    answer = stack.call(
        "POST",
        f"/v1/tokens/{token}/reveal",
        {"purpose": "law_enforcement"},
        key=stack.operator_admin_key,
        headers={"Strongroom-Merchant": stack.merchant},
    )
    assert answer.json["number"] == PAN


def test_another_merchants_tokens_are_not_there(stack: Stack, token: str) -> None:
    key = service_key(stack, stack.other_merchant)
    other = reveal(stack, token, key)
    nowhere = reveal(stack, NOWHERE, key)
    assert_problem(other, 404, "token_not_found")
    assert {**other.json, "request_id": "", "instance": ""} == {
        **nowhere.json, "request_id": "", "instance": "",
    }  # fmt: skip
    assert_problem(reveal_all(stack, [token], key), 404, "token_not_found")


def test_a_batch_answers_in_order_and_one_bad_token_spoils_nothing(stack: Stack) -> None:
    numbers = [PAN, "5555555555554444", "378282246310005"]
    made = [stack.call("POST", "/v1/tokens", {"card": card(n, cvc=None)}) for n in numbers]
    tokens = [answer.json["id"] for answer in made]
    asked = [tokens[2], NOWHERE, tokens[0], tokens[1]]
    answer = reveal_all(stack, asked, service_key(stack, stack.merchant))
    assert answer.status == 200, answer.body
    assert answer.headers["cache-control"] == "no-store"
    assert [(r["token"], r["number"], r["code"]) for r in answer.json["data"]] == [
        (asked[0], numbers[2], None),
        (NOWHERE, None, "token_not_found"),
        (asked[2], numbers[0], None),
        (asked[3], numbers[1], None),
    ]
    path = f"/v1/journal/entries?subject={stack.merchant}&limit=100"
    (entry,) = [
        e
        for e in stack.call("GET", path).json["data"]
        if e["request"] == answer.headers["request-id"]
    ]
    assert entry["action"] == "vault:card:reveal_batch"
    assert entry["facts"]["tokens"].split() == [asked[0], asked[2], asked[3]]


def test_the_hour_is_over_after_twenty(stack: Stack, token: str) -> None:
    key = service_key(stack, stack.merchant)
    assert_problem(reveal_all(stack, [token] * 21, key), 429, "reveal_limit")
    spent = 0
    while (answer := reveal(stack, token, key)).status == 200:
        spent += 1
    assert_problem(answer, 429, "reveal_limit")
    assert spent == limits.REVEALS_PER_HOUR
    assert_problem(reveal_all(stack, [token], key), 429, "reveal_limit")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tokens": [], "purpose": "dispute_evidence"}, "tokens"),
        ({"tokens": [NOWHERE] * 1001, "purpose": "dispute_evidence"}, "tokens"),
        ({"tokens": [PAN], "purpose": "dispute_evidence"}, "tokens[0]"),
        ({"tokens": [NOWHERE]}, "purpose"),
    ],
)
def test_malformed_batches(stack: Stack, body: dict[str, Any], param: str) -> None:
    headers = {"Strongroom-Merchant": stack.merchant}
    answer = stack.call(
        "POST", "/v1/tokens/reveal", body, key=stack.operator_admin_key, headers=headers
    )
    assert answer.status == 422 and answer.json["param"] == param
    assert PAN.encode() not in answer.body


def test_an_answer_shows_no_number_when_it_is_looked_at() -> None:
    shown = RevealedAnswer(token="tok_1", number="4242424242424242")
    assert "4242" not in repr((shown, Reply(200, encode(shown))))

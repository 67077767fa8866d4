"""Kinds of tokens over real HTTP: what a body may ask for, and what payments do with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.test_endpoints import assert_problem
from tests.support.pay import card, new_key
from tests.support.stack import Answer, Stack


def make(stack: Stack, **asked: Any) -> dict[str, Any]:
    answer = stack.call("POST", "/v1/tokens", {"card": card(cvc=None), **asked})
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.json
    return made


def pay(stack: Stack, token: str, key: str) -> Answer:
    body = {"amount": 1099, "currency": "EUR", "payment_method": {"token": token}}
    return stack.call("POST", "/v1/payments", body, idempotency_key=key)


def test_one_payment_uses_a_single_use_token_and_its_repetition_gets_the_same(stack: Stack) -> None:
    token = make(stack, single_use=True)
    assert (token["single_use"], token["used_at"]) == (True, None)
    keys = [new_key() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda key: pay(stack, token["id"], key), keys))
    paid = [n for n, answer in enumerate(answers) if answer.status == 201]
    assert len(paid) == 1, [answer.body for answer in answers]
    for n, answer in enumerate(answers):
        if n not in paid:
            assert_problem(answer, 409, "token_used")
    again = pay(stack, token["id"], keys[paid[0]])
    assert (again.status, again.body) == (201, answers[paid[0]].body)
    seen = stack.call("GET", f"/v1/tokens/{token['id']}").json
    assert seen["used_at"] is not None


def test_a_life_of_its_own(stack: Stack) -> None:
    token = make(stack, expires_in=3600)
    assert 0 <= token["expires_at"] - token["created"] - 3600 <= 1
    for seconds in (59, 34_560_001):
        body = {"card": card(cvc=None), "expires_in": seconds}
        assert_problem(stack.call("POST", "/v1/tokens", body), 422, "invalid_parameter")
    both = stack.call("POST", "/v1/tokens", {"card": card(), "expires_in": 60, "save": True})
    assert_problem(both, 422, "conflicting_parameters")


@pytest.mark.parametrize("keep", [False, True])
def test_an_alias_of_digits(stack: Stack, keep: bool) -> None:
    token = make(stack, format="digits", keep_last4=keep)
    body = {"alias": token["alias"]}
    assert stack.call("POST", "/v1/tokens/resolve", body).json == token
    other = stack.call("POST", "/v1/tokens/resolve", body, key=stack.other_secret_key)
    assert_problem(other, 404, "token_not_found")
    if keep:
        assert token["alias"].endswith(token["card"]["last4"])
    reference = {"reference": token["alias"]}
    paid = stack.call(
        "POST",
        "/v1/payments",
        {"amount": 1, "currency": "EUR", "payment_method": {"token": token["id"]}, **reference},
        idempotency_key=new_key(),
    )
    assert paid.status == 201, "our own screens take an alias for what it is"


def test_a_card_number_is_no_alias(stack: Stack) -> None:
    answer = stack.call("POST", "/v1/tokens/resolve", {"alias": "4242424242424242"})
    assert_problem(answer, 422, "invalid_parameter")
    assert b"4242424242424242" not in answer.body

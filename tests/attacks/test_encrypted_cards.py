"""Forged encrypted cards over HTTP: never accepted, never a 5xx, all refused alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from tests.support import forgeries
from tests.support.clients import CARD, encrypt
from tests.support.pay import new_key
from tests.support.stack import Stack

UNPRINTABLE = "text_not_printable"


def test_every_forgery_gets_one_answer(stack: Stack) -> None:
    keys = stack.call("GET", "/v1/vault/keys", key=stack.publishable_key).json
    told: dict[str, set[str]] = {}
    calls = 0
    for name, text, status, problem in tried(stack, forgeries.structural(keys)):
        calls += 1
        assert status in (400, 422), (name, status)
        for one_off in ("request_id", "instance"):
            problem.pop(one_off)
        told.setdefault(problem["code"], set()).add(json.dumps(problem, sort_keys=True))
        assert problem["code"] == "encrypted_card_invalid" or has_unprintable(text), name
    assert calls > 750
    assert told.keys() == {"encrypted_card_invalid", UNPRINTABLE}
    assert all(len(answers) == 1 for answers in told.values()), told
    good = stack.call("POST", "/v1/tokens", {"encrypted_card": encrypt(keys, "hpke-xwing")})
    assert good.status == 201
    assert "Traceback" not in stack.log()


def test_other_json_than_text_is_refused_before_the_vault(stack: Stack) -> None:
    for value in (1, True, [], {}, ["a"], {"protected": "a"}, {"number": CARD["number"]}):
        for path, body in (
            ("/v1/tokens", {"encrypted_card": value}),
            ("/v1/tokens/batch", {"encrypted_cards": [value]}),
            ("/v1/payments", payment(value)),
        ):
            answer = stack.call("POST", path, body, idempotency_key=new_key())
            assert answer.status == 422, (path, value, answer.body)
            assert answer.json["code"] == "invalid_parameter"
            assert str(CARD["number"]) not in answer.body.decode()


def test_a_clear_card_in_the_encrypted_field_is_not_repeated(stack: Stack) -> None:
    for text in (
        CARD["number"],
        json.dumps(CARD),
        f"v1.{CARD['number']}..",
        f"{CARD['number']}....",
    ):
        for path, body in (
            ("/v1/tokens", {"encrypted_card": text}),
            ("/v1/payments", payment(text)),
        ):
            answer = stack.call("POST", path, body, idempotency_key=new_key())
            assert (answer.status, answer.json["code"]) == (422, "encrypted_card_invalid")
            assert str(CARD["number"]) not in answer.body.decode()
    assert str(CARD["number"]) not in stack.log()


def payment(value: Any) -> dict[str, Any]:
    return {"amount": 100, "currency": "EUR", "payment_method": {"encrypted_card": value}}


def tried(
    stack: Stack, messages: Iterator[tuple[str, str]]
) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
    """Send each message on one connection; yield it with status and problem document."""
    connection = HTTPConnection(urlsplit(stack.url).netloc, timeout=35)
    fields = {
        "Authorization": f"Bearer {stack.secret_key}",
        "Content-Type": "application/json",
    }
    for name, text in messages:
        body = json.dumps({"encrypted_card": text}).encode()
        connection.request("POST", "/v1/tokens", body, fields)
        answer = connection.getresponse()
        yield name, text, answer.status, json.loads(answer.read())
    connection.close()


def has_unprintable(text: str) -> bool:
    return any(char in text for char in "\0\n\u200b")

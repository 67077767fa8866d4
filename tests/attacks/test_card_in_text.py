"""Card numbers in texts that are stored and shown in clear: refused, however they are written."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.pay import body, new_key
from tests.support.stack import Answer, Stack

VISA = "4012888888881881"


def send(stack: Stack, path: str, given: dict[str, Any]) -> Answer:
    return stack.call("POST", path, given, idempotency_key=new_key())


SAID = (
    "4012888888881881", "4012 8888 8888 1881", "4012-8888-8888-1881", "4012.8888.8888.1881",
    "4012  8888  8888  1881", "4012/8888/8888/1881", "4012_8888_8888_1881", "PAN4012888888881881",
    "4012888888881881x", "4012888888881881 11/33", "4012 8888 8888 1881 907", "1 4012888888881881",
    "pay 4012888888881881, thanks", "4012\u00a08888\u00a08888\u00a01881",
    "4012\u200d8888\u200d8888\u200d1881", "\uff14\uff10\uff11\uff12888888881881", "378282246310005",
    "3782 822463 10005 9073", "30569309025904", "6205500000000000004",
)  # fmt: skip
"""How people write card numbers."""


@pytest.mark.parametrize("said", SAID)
def test_a_card_number_in_free_text_is_refused(target: Stack, said: str) -> None:
    """A merchant's text is stored and shown in clear; a card number must not get into it."""
    paid = send(target, "/v1/payments", body(VISA)).json["id"]
    for param, path, given in (
        ("description", "/v1/payments", body(VISA, description=said)),
        ("metadata", "/v1/payments", body(VISA, metadata={"note": said})),
        ("reason", f"/v1/payments/{paid}/refunds", {"amount": 1, "reason": said}),
    ):
        answer = send(target, path, given)
        assert (answer.status, answer.json["code"]) == (422, "card_number_in_text"), param
        assert answer.json["param"] == param


@pytest.mark.parametrize(
    ("param", "given"),
    [
        ("reference", "4012888888881881"),
        ("reference", "4012-8888-8888-1881"),
        ("reference", "4012.8888.8888.1881"),
        ("reference", "order_4012888888881881"),
        ("reference", "order4012888888881881"),
        ("metadata", {"4012888888881881": "x"}),
        ("metadata", {"n4012.8888.8888.1881": "x"}),
        ("return_url", "https://shop.example/4012888888881881"),
        ("return_url", "https://shop.example/?card=4012888888881881&x=1"),
        ("return_url", "https://shop.example/?card=4012%208888%208888%201881"),
        ("return_url", "https://shop.example/?card=4012+8888+8888+1881"),
        ("return_url", "https://x4012888888881881.example/"),
    ],
)
def test_a_card_number_in_a_field_that_is_kept_is_refused(
    target: Stack, param: str, given: Any
) -> None:
    answer = send(target, "/v1/payments", body(VISA, **{param: given}))
    assert (answer.status, answer.json["code"]) == (422, "card_number_in_text")
    assert answer.json["param"] == param


@pytest.mark.parametrize(
    "said",
    [
        "order 1763888000000", "ticket 20261123-0000417", "+49 30 1234567", "4012888888881882",
        "DE89370400440532013000", "8e03978e-40d5-43dd-bc93-6894a57f9324", "4012 88 1881",
        "pay_01arz3ndektsv4rrffq69g5fav", "invoices 10017, 10018 and 10019 of 2026-11-23",
    ],
)  # fmt: skip
def test_other_numbers_in_free_text_are_taken(target: Stack, said: str) -> None:
    answer = send(target, "/v1/payments", body(VISA, description=said))
    assert answer.status == 201, answer.body

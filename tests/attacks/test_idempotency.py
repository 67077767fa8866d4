"""Racing requests: one key is one effect, and no race moves more money than was allowed.

Every race runs against both server processes at once.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from tests.attacks.swarm import Line, at_once, lines
from tests.support.pay import arm, body, gateway, get, new_key, operate, pay
from tests.support.stack import Answer, Stack

IN_USE = {(409, "idempotency_key_in_use")}
REFUSED = {
    (409, "operation_in_progress"),
    (422, "amount_exceeds_capturable"),
    (422, "amount_exceeds_refundable"),
    (409, "payment_not_capturable"),
    (409, "payment_not_cancelable"),
    (409, "payment_not_refundable"),
}
MOVED = ("charges", "captures", "refunds", "captured_minor", "refunded_minor")


class Moved:
    """What the gateway did since this was made."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._before = gateway(stack, "?limit=1")

    def __getitem__(self, name: str) -> int:
        assert name in MOVED
        now = gateway(self._stack, "?limit=1")
        assert now["duplicates"] == []
        return int(now[name]) - int(self._before[name])


def split(answers: list[Answer], refusals: set[tuple[int, str]]) -> list[Answer]:
    """Return the answers that are no refusal; all others must be of the expected kinds."""
    done = [answer for answer in answers if answer.status < 400]
    told = {(a.status, a.json["code"]) for a in answers if a.status >= 400}
    assert told <= refusals
    return done


def made(stack: Stack, **fields: Any) -> str:
    """Take a payment of 1000 and return its id."""
    answer = pay(stack, amount=1000, **fields)
    assert answer.status == 201, answer.body
    return str(answer.json["id"])


def settled(stack: Stack, payment: str, field: str, amount: int) -> dict[str, Any]:
    """Return the payment when `field` has reached the amount: a 202 is looked up by recovery."""
    deadline = time.monotonic() + 20
    while (now := get(stack, payment))[field] < amount and time.monotonic() < deadline:
        time.sleep(0.1)
    assert now[field] == amount
    return now


def race(taking: list[Line], path: str, bodies: list[dict[str, Any]]) -> list[Answer]:
    """Send each body under a key of its own, all at once."""
    calls = [
        partial(line.call, "POST", path, given, idempotency_key=new_key())
        for line, given in zip(taking, bodies, strict=True)
    ]
    return at_once(calls)


@pytest.mark.parametrize("number", ["4242424242424242", "4000000000009995"])
@pytest.mark.parametrize("slow", [False, True])
def test_one_key_sixty_four_times_is_one_charge(target: Stack, number: str, slow: bool) -> None:
    if slow:  # so that all of them meet the first one while it waits for the gateway
        arm(target, "charge", "slow=700")
    key, given = new_key(), body(number, 4321, reference=f"one-{new_key()}")
    moved = Moved(target)
    with lines(target, 32) as taking:
        calls = [
            partial(line.call, "POST", "/v1/payments", given, idempotency_key=key)
            for line in taking
        ]
        answers = at_once(calls)
        again = taking[0].call("POST", "/v1/payments", given, idempotency_key=key)
    final = [a for a in answers if (a.status, a.json.get("code")) not in IN_USE]
    assert {(a.status, a.body) for a in final} == {(again.status, again.body)}
    assert again.status == (201 if number == "4242424242424242" else 402)
    fresh = [a for a in final if "idempotency-replayed" not in a.headers]
    assert len(fresh) == 1, "exactly one is the first"
    if slow:
        assert len(final) < 64, "the others came while it ran"
    assert moved["charges"] == 1
    listed = target.call("GET", f"/v1/payments?reference={given['reference']}").json["data"]
    assert len(listed) == 1


def test_one_key_for_two_bodies_at_once_is_one_charge(target: Stack) -> None:
    key, moved = new_key(), Moved(target)
    with lines(target, 8) as taking:
        calls = [
            partial(
                line.call, "POST", "/v1/payments", body(amount=100 + at % 2), idempotency_key=key
            )
            for at, line in enumerate(taking)
        ]
        answers = at_once(calls)
    done = split(answers, {*IN_USE, (422, "idempotency_key_reused")})
    assert len({answer.body for answer in done}) == 1
    assert moved["charges"] == 1


def test_a_key_quoted_or_bare_is_the_same_key(target: Stack) -> None:
    key, given, moved = new_key(), body(), Moved(target)
    first = target.call("POST", "/v1/payments", given, headers={"Idempotency-Key": key})
    again = target.call("POST", "/v1/payments", given, headers={"Idempotency-Key": f'"{key}"'})
    assert first.status == 201
    assert again.body == first.body
    assert moved["charges"] == 1


@pytest.mark.parametrize(("amount", "most"), [(600, 1), (300, 3), (1000, 1), (50, 20)])
def test_racing_captures_take_no_more_than_was_authorized(
    target: Stack, amount: int, most: int
) -> None:
    payment = made(target, capture_method="manual")
    moved = Moved(target)
    with lines(target, 10) as taking:
        answers = race(taking, f"/v1/payments/{payment}/capture", [{"amount": amount}] * 20)
    done = split(answers, REFUSED)
    assert 1 <= len(done) <= most
    now = settled(target, payment, "amount_captured", len(done) * amount)
    assert now["amount_captured"] + now["amount_capturable"] == 1000
    assert (moved["captures"], moved["captured_minor"]) == (len(done), len(done) * amount)
    while now["amount_capturable"] >= amount:  # nothing was lost either: the rest can be taken
        assert operate(target, payment, "capture", {"amount": amount}).status == 200
        now = get(target, payment)
    assert now["amount_captured"] == 1000 // amount * amount


def test_two_captures_racing_take_exactly_the_allowed_sum(target: Stack) -> None:
    for _ in range(5):
        payment = made(target, capture_method="manual")
        with lines(target, 1) as taking:
            answers = race(taking, f"/v1/payments/{payment}/capture", [{"amount": 700}] * 2)
        done = split(answers, REFUSED)
        assert len(done) == 1
        settled(target, payment, "amount_captured", 700)


def test_twenty_racing_refunds_give_no_more_than_was_captured(target: Stack) -> None:
    payment = made(target)
    moved = Moved(target)
    with lines(target, 10) as taking:
        answers = race(taking, f"/v1/payments/{payment}/refunds", [{"amount": 150}] * 20)
    done = split(answers, REFUSED)
    assert 1 <= len(done) <= 6
    settled(target, payment, "amount_refunded", 150 * len(done))
    assert (moved["refunds"], moved["refunded_minor"]) == (len(done), 150 * len(done))
    rest = operate(target, payment, "refunds")
    assert rest.json["amount"] == 1000 - 150 * len(done)
    assert moved["refunded_minor"] == 1000


def test_one_refund_key_sixty_four_times_is_one_refund(target: Stack) -> None:
    payment = made(target)
    key, moved = new_key(), Moved(target)
    with lines(target, 32) as taking:
        calls = [
            partial(
                line.call,
                "POST",
                f"/v1/payments/{payment}/refunds",
                {"amount": 10},
                idempotency_key=key,
            )
            for line in taking
        ]
        answers = at_once(calls)
    done = split(answers, {*IN_USE, (409, "operation_in_progress")})
    assert len({answer.body for answer in done}) == 1
    assert (moved["refunds"], moved["refunded_minor"]) == (1, 10)


def test_capture_and_cancel_racing_end_one_way(target: Stack) -> None:
    ends = set()
    for turn in range(8):
        payment = made(target, capture_method="manual")
        moved = Moved(target)
        with lines(target, 1) as (first, second):
            verbs = ("capture", "cancel") if turn % 2 else ("cancel", "capture")
            calls = [
                partial(
                    line.call,
                    "POST",
                    f"/v1/payments/{payment}/{verb}",
                    {},
                    idempotency_key=new_key(),
                )
                for line, verb in zip((first, second), verbs, strict=True)
            ]
            answers = dict(zip(verbs, at_once(calls), strict=True))
        done = split(list(answers.values()), REFUSED)
        assert len(done) == 1, "one wins, the other is told"
        now = get(target, payment)
        won = "captured" if answers["capture"].status == 200 else "canceled"
        assert now["status"] == won
        assert (
            now["amount_captured"] == moved["captured_minor"] == (1000 if won == "captured" else 0)
        )
        ends.add(won)
    assert ends


def test_a_key_is_worth_nothing_to_another_merchant_or_payment(target: Stack) -> None:
    one, two = (made(target) for _ in range(2))
    key = new_key()

    def refund(payment: str, secret: str) -> Answer:
        return target.call(
            "POST",
            f"/v1/payments/{payment}/refunds",
            {"amount": 5},
            key=secret,
            idempotency_key=key,
        )

    first = refund(one, target.secret_key)
    second = refund(two, target.secret_key)
    assert (first.json["payment"], second.json["payment"]) == (one, two)
    stolen = refund(one, target.other_secret_key)
    assert (stolen.status, stolen.json["code"]) == (404, "payment_not_found")
    assert "idempotency-replayed" not in stolen.headers
    assert refund(one, target.secret_key).body == first.body

"""Requests that many tests make: payments, what follows them, and waiting for an end state."""

from __future__ import annotations

import os
import time
from typing import Any

from tests.support.stack import Answer, Stack

_LETTERS = str.maketrans("0123456789", "ghijklmnop")

APPROVED = "4242424242424242"
DECLINED = "4000000000009995"
CHALLENGED = "4000002760003184"
HELD = "4000000000009235"
BLOCKED = "4100000000000019"


def card(number: str = APPROVED, **fields: Any) -> dict[str, Any]:
    """Return a card as the API takes it."""
    given = {"number": number, "exp_month": 12, "exp_year": 2031, "cvc": "973", **fields}
    return {name: value for name, value in given.items() if value is not None}


def body(number: str = APPROVED, amount: int = 1099, **fields: Any) -> dict[str, Any]:
    """Return a payment request."""
    return {
        "amount": amount,
        "currency": "EUR",
        "payment_method": {"card": card(number)},
        **fields,
    }


def new_key() -> str:
    """Return a fresh key or reference: letters, so that it never looks like a card number."""
    return os.urandom(10).hex().translate(_LETTERS)


def pay(stack: Stack, number: str = APPROVED, amount: int = 1099, **fields: Any) -> Answer:
    """Take a payment under a fresh key."""
    return stack.call(
        "POST", "/v1/payments", body(number, amount, **fields), idempotency_key=new_key()
    )


def operate(stack: Stack, payment: str, verb: str, given: dict[str, Any] | None = None) -> Answer:
    """Capture, cancel, refund or review a payment under a fresh key."""
    return stack.call(
        "POST", f"/v1/payments/{payment}/{verb}", given or {}, idempotency_key=new_key()
    )


def get(stack: Stack, payment: str) -> dict[str, Any]:
    """Return a payment as it is now."""
    found: dict[str, Any] = stack.call("GET", f"/v1/payments/{payment}").json
    return found


def await_status(stack: Stack, payment: str, *statuses: str, within_s: float = 20) -> str:
    """Wait until a payment has one of the statuses; return the last one seen."""
    deadline = time.monotonic() + within_s
    while True:
        status = str(get(stack, payment)["status"])
        if status in statuses or time.monotonic() > deadline:
            return status
        time.sleep(0.05)


def arm(stack: Stack, operation: str, fault: str, times: int = 1) -> None:
    """Make the gateway misbehave on its next calls."""
    armed = stack.sandbox(
        "POST", "/control/faults", {"operation": operation, "fault": fault, "times": times}
    )
    assert armed.status == 200, armed.body


def gateway(stack: Stack, query: str = "") -> dict[str, Any]:
    """Return what the gateway knows it has done."""
    found: dict[str, Any] = stack.sandbox("GET", f"/control/ledger{query}").json
    return found

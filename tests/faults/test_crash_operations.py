"""kill -9 of a server process at every step of a capture, void or refund: done once."""

from __future__ import annotations

import pytest

from tests.support import truth
from tests.support.crashes import again, crash_during
from tests.support.crashing import POINTS
from tests.support.pay import arm, get, new_key, operate, pay
from tests.support.stack import Stack


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("verb", ["capture", "cancel", "refunds"])
def test_a_crash_while_capturing_voiding_refunding(crashing: Stack, verb: str, point: str) -> None:
    method = "automatic" if verb == "refunds" else "manual"
    payment = pay(crashing, amount=900, capture_method=method).json["id"]
    if point == "before_answer":
        kind = {"capture": "capture", "cancel": "void", "refunds": "refund"}[verb]
        arm(crashing, kind, "slow=500")
    given = {} if verb == "cancel" else {"amount": 400}
    key, path = new_key(), f"/v1/payments/{payment}/{verb}"
    crash_during(crashing, point, lambda: crashing.call("POST", path, given, idempotency_key=key))
    truth.await_settled(crashing)
    final = again(crashing, path, given, key)
    assert final.status in (200, 201), final.body
    assert again(crashing, path, given, key).body == final.body
    after = get(crashing, payment)
    if verb == "capture":
        assert (after["status"], after["amount_captured"]) == ("partially_captured", 400)
        operate(crashing, payment, "cancel")
    elif verb == "cancel":
        assert after["status"] == "canceled"
    else:
        assert after["amount_refunded"] == 400

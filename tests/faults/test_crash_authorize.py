"""kill -9 of a server process at every step of an authorization: charged once, nothing lost."""

from __future__ import annotations

import pytest

from tests.support import truth
from tests.support.crashes import again, crash_during
from tests.support.crashing import POINTS
from tests.support.pay import arm, await_status, body, new_key, pay
from tests.support.stack import Stack


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_while_authorizing(crashing: Stack, point: str) -> None:
    if point == "before_answer":
        arm(crashing, "charge", "slow=500")
    key, given = new_key(), body(reference=f"crash-{point}-{new_key()}")
    answer = crash_during(
        crashing,
        point,
        lambda: crashing.call("POST", "/v1/payments", given, idempotency_key=key),
    )
    assert answer is None
    truth.await_settled(crashing)
    final = again(crashing, "/v1/payments", given, key)
    replay = again(crashing, "/v1/payments", given, key)
    assert replay.body == final.body
    assert final.status in (201, 402), final.body
    listed = crashing.call("GET", f"/v1/payments?reference={given['reference']}").json["data"]
    assert len(listed) == 1
    assert listed[0]["status"] in ("captured", "canceled")
    if point in ("after_answer", "before_outcome", "after_outcome", "before_reservation"):
        assert listed[0]["status"] == "captured"


def test_a_payment_that_was_never_sent_ends(crashing: Stack) -> None:
    arm(crashing, "charge", "error=500")
    arm(crashing, "inquiry", "error=500", times=2)
    answer = pay(crashing)
    assert answer.status == 202
    assert answer.json["status"] == "processing"
    status = await_status(crashing, answer.json["id"], "canceled", within_s=40)
    assert status == "canceled"

"""A gateway that misbehaves in every way it can: the outcome is looked up, never guessed."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.support import truth
from tests.support.pay import arm, await_status, body, gateway, get, new_key, operate, pay
from tests.support.stack import Stack

PROCESSED = (
    "reset_after",
    "error_after=500",
    "garbage",
    "truncated",
    "huge=10000000",
    "wrong_amount",
    "wrong_currency",
)
"""The gateway did what was asked; only its answer is of no use."""

NOT_PROCESSED = ("reset_before", "error=500", "error=503")


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own: its gateway is not well."""
    running = Stack(tmp_path_factory.mktemp("bad-gateway"), patience_s=1.0).start()
    try:
        yield running
    finally:
        running.stop()


def arm_for_good(stack: Stack, operation: str, fault: str) -> None:
    """Arm a fault so that the one repetition on a fresh connection meets it too."""
    arm(stack, operation, fault, times=2 if fault.startswith("reset") else 1)


@pytest.mark.parametrize("fault", PROCESSED)
def test_a_charge_with_a_useless_answer_is_looked_up(bad: Stack, fault: str) -> None:
    arm_for_good(bad, "charge", fault)
    answer = pay(bad)
    assert answer.status == 201, answer.body
    assert answer.json["status"] == "captured"
    assert answer.json["amount"] == 1099


@pytest.mark.parametrize("fault", PROCESSED)
def test_when_the_look_up_fails_too_recovery_ends_it(bad: Stack, fault: str) -> None:
    arm_for_good(bad, "charge", fault)
    arm(bad, "inquiry", "error=500", times=3)
    key, given = new_key(), body()
    answer = bad.call("POST", "/v1/payments", given, idempotency_key=key)
    assert (answer.status, answer.json["status"]) == (202, "processing")
    running = bad.call("POST", "/v1/payments", given, idempotency_key=key)
    assert running.status in (409, 201)
    payment = answer.json["id"]
    assert await_status(bad, payment, "captured") == "captured"
    final = bad.call("POST", "/v1/payments", given, idempotency_key=key)
    assert (final.status, final.json["id"]) == (201, payment)
    assert final.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("fault", NOT_PROCESSED)
def test_a_charge_the_gateway_never_made_ends_canceled(bad: Stack, fault: str) -> None:
    arm_for_good(bad, "charge", fault)
    answer = pay(bad)
    assert answer.status == 202, answer.body
    payment = answer.json["id"]
    assert await_status(bad, payment, "canceled", within_s=40) == "canceled"
    assert get(bad, payment)["amount_captured"] == 0


@pytest.mark.parametrize("fault", ["slow=700", "slow_drip=1"])
def test_a_slow_gateway_is_waited_for(bad: Stack, fault: str) -> None:
    arm(bad, "charge", fault)
    assert pay(bad).json["status"] == "captured"


def test_recovery_does_not_believe_that_a_call_under_way_was_never_made(bad: Stack) -> None:
    """Recovery looks after a second here; the gateway begins to work on it after two and a half."""
    arm(bad, "charge", "slow=2500")
    answer = pay(bad)
    assert (answer.status, answer.json["status"]) == (201, "captured")


@pytest.mark.parametrize("fault", [*PROCESSED, *NOT_PROCESSED])
@pytest.mark.parametrize("verb", ["capture", "cancel", "refunds"])
def test_every_later_operation_happens_once(bad: Stack, verb: str, fault: str) -> None:
    method = "automatic" if verb == "refunds" else "manual"
    payment = pay(bad, amount=800, capture_method=method).json["id"]
    kind = {"capture": "capture", "cancel": "void", "refunds": "refund"}[verb]
    arm_for_good(bad, kind, fault)
    answer = operate(bad, payment, verb, {} if verb == "cancel" else {"amount": 300})
    assert answer.status in (200, 201, 202), answer.body
    truth.await_settled(bad)
    after = get(bad, payment)
    if verb == "capture":
        assert (after["status"], after["amount_captured"]) == ("partially_captured", 300)
        assert operate(bad, payment, "cancel").status == 200
    elif verb == "cancel":
        assert after["status"] == "canceled"
    else:
        assert after["amount_refunded"] == 300


def test_a_gateway_that_is_away_charges_nothing_and_frees_the_key(bad: Stack) -> None:

    sandbox = next(iter(bad.processes("strongroom.app.sandboxing")))
    os.kill(sandbox, signal.SIGSTOP)
    os.kill(sandbox, signal.SIGKILL)
    key, given = new_key(), body(reference=new_key())
    deadline = time.monotonic() + 20
    statuses = []
    while time.monotonic() < deadline:
        answer = bad.call("POST", "/v1/payments", given, idempotency_key=key)
        statuses.append(answer.status)
        if answer.status == 201:
            break
        assert answer.status in (503, 202, 409), answer.body
        if answer.status == 503:
            assert answer.json["code"] == "gateway_unavailable"
            assert int(answer.headers["retry-after"]) >= 1
        time.sleep(0.2)
    assert statuses[-1] in (201, 409)
    truth.await_settled(bad)
    listed = bad.call("GET", f"/v1/payments?reference={given['reference']}&limit=100").json
    captured = [p for p in listed["data"] if p["status"] == "captured"]
    assert len(captured) <= 1


def test_a_load_with_faults_ends_with_equal_books(bad: Stack) -> None:
    faults = [*PROCESSED, *NOT_PROCESSED, "slow=300", "duplicate_webhook", "reorder_webhook"]
    before = gateway(bad)["charges"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for fault in faults:
            arm(bad, "any", fault)
            list(pool.map(lambda _: pay(bad), range(4)))
    assert gateway(bad)["charges"] > before
    truth.check(bad)


def test_after_some_failures_callers_are_told_at_once(bad: Stack) -> None:
    """A gateway that refuses connections opens the circuit: no payment is even begun."""
    pid = next(iter(bad.processes("strongroom.app.supervisor") or [bad.pid]))
    os.kill(pid, signal.SIGSTOP)  # so that it does not bring the gateway back
    try:
        os.kill(next(iter(bad.processes("strongroom.app.sandboxing"))), signal.SIGKILL)
        time.sleep(0.2)
        reference = new_key()
        answers = [pay(bad, reference=reference) for _ in range(8)]
        assert {answer.status for answer in answers} <= {503, 202}
        assert answers[-1].status == 503
        assert answers[-1].json["code"] == "gateway_unavailable"
        begun = bad.call("GET", f"/v1/payments?reference={reference}&limit=100").json["data"]
        assert len(begun) < len(answers)
        assert all(payment["amount_captured"] == 0 for payment in begun)
    finally:
        os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + 20
    while (answer := pay(bad)).status != 201 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert answer.status == 201

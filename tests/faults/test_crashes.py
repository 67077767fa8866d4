"""kill -9 of a server process at every step of every operation: charged once, nothing lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import truth
from tests.support.crashing import FILE, POINTS
from tests.support.pay import arm, await_status, body, get, new_key, operate, pay
from tests.support.postgres import postmaster_pid
from tests.support.stack import Answer, Stack


@pytest.fixture(scope="module")
def crashing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack whose server dies where a test says."""
    running = Stack(
        tmp_path_factory.mktemp("crashing"),
        patience_s=1.0,
        server_module="tests.support.crashing",
    ).start()
    try:
        yield running
        truth.check(running)
    finally:
        running.stop()


def crash_during(stack: Stack, point: str, call: Any) -> Answer | None:
    """Make the server die at a point of a call; return the answer if one came."""
    pids = stack.server_pids()
    (stack.data_dir / FILE).write_text(point)
    try:
        answer = call()
    except OSError:
        answer = None
    deadline = time.monotonic() + 30
    while set(stack.server_pids()) & set(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not set(stack.server_pids()) & set(pids), "the server did not die"
    await_ready(stack)
    return answer


def await_ready(stack: Stack) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if stack.call("GET", "/health/ready", key=None).status == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise AssertionError("the server did not come back")


def again(stack: Stack, path: str, given: Any, key: str) -> Answer:
    """Send a request again under its key until it has ended."""
    deadline = time.monotonic() + 40
    while True:
        answer = stack.call("POST", path, given, idempotency_key=key)
        if answer.status not in (409, 503) or time.monotonic() > deadline:
            return answer
        time.sleep(0.2)


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


def test_kill_9_of_the_whole_tree_under_load(tmp_path_factory: pytest.TempPathFactory) -> None:
    stack = Stack(tmp_path_factory.mktemp("tree"), patience_s=1.0).start()
    try:
        for _ in range(2):
            sent = load_until(stack, lambda: stack.kill())
            stack.start()
            for key, given in sent:
                final = again(stack, "/v1/payments", given, key)
                assert final.status in (201, 402, 503), final.body
            truth.check(stack)
    finally:
        stack.stop()


def test_kill_9_of_postgresql_under_load(tmp_path_factory: pytest.TempPathFactory) -> None:

    stack = Stack(tmp_path_factory.mktemp("engine"), patience_s=1.0).start()
    try:

        def kill_engine() -> None:
            os.kill(postmaster_pid(stack.data_dir), signal.SIGKILL)

        for _ in range(2):
            sent = load_until(stack, kill_engine, linger_s=2.0)
            await_ready(stack)
            for key, given in sent:
                final = again(stack, "/v1/payments", given, key)
                assert final.status in (201, 402), final.body
            truth.check(stack)
    finally:
        stack.stop()


def load_until(
    stack: Stack, disaster: Any, *, threads: int = 8, linger_s: float = 0.0
) -> list[tuple[str, dict[str, Any]]]:
    """Take payments from several threads, let disaster strike, return what was sent."""
    sent: list[tuple[str, dict[str, Any]]] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            key, given = new_key(), body(reference=new_key())
            sent.append((key, given))
            try:
                stack.call("POST", "/v1/payments", given, idempotency_key=key, timeout=10)
            except OSError:
                time.sleep(0.05)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    time.sleep(1.5)
    disaster()
    time.sleep(linger_s)
    stop.set()
    for worker in workers:
        worker.join(timeout=30)
    assert len(sent) > threads
    return sent


def test_a_payment_that_was_never_sent_ends(crashing: Stack) -> None:
    arm(crashing, "charge", "error=500")
    arm(crashing, "inquiry", "error=500", times=2)
    answer = pay(crashing)
    assert answer.status == 202
    assert answer.json["status"] == "processing"
    status = await_status(crashing, answer.json["id"], "canceled", within_s=40)
    assert status == "canceled"

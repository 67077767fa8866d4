"""Making servers die in the middle of things, and waiting until they are back."""

from __future__ import annotations

import threading
import time
from http.client import HTTPException
from typing import Any

from tests.support.crashing import FILE
from tests.support.pay import body, new_key
from tests.support.stack import Answer, Stack


def crash_during(stack: Stack, point: str, call: Any) -> Answer | None:
    """Make the server die at a point of a call; return the answer if one came."""
    pids = stack.server_pids()
    (stack.data_dir / FILE).write_text(point)
    try:
        answer = call()
    except (OSError, HTTPException):
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
        except (OSError, HTTPException):
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
            except (OSError, HTTPException):  # gone before, or in the middle of, an answer
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

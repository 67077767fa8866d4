"""Many requests at the same moment, over connections that are spread over all server processes."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tests.support.stack import Answer, Stack

T = TypeVar("T")


class Line:
    """One kept-open connection to one server process."""

    def __init__(self, stack: Stack) -> None:
        parts = urlsplit(stack.url)
        self._connection = HTTPConnection(str(parts.hostname), parts.port, timeout=35)
        self._key = stack.secret_key

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        idempotency_key: str | None = None,
        key: str | None = None,
    ) -> Answer:
        """Make one call over this connection."""
        headers = {"Authorization": f"Bearer {key or self._key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, headers)
        answer = self._connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@contextmanager
def lines(stack: Stack, each: int) -> Iterator[list[Line]]:
    """Open `each` connections to every server process, one after the other in the list.

    A stopped process accepts nothing, so what is opened meanwhile belongs to the others.
    """
    pids = stack.server_pids()
    assert len(pids) > 1
    by_process = []
    for pid in pids:
        stopped = [other for other in pids if other != pid]
        for other in stopped:
            os.kill(other, signal.SIGSTOP)
        try:
            opened = [Line(stack) for _ in range(each)]
            for line in opened:
                assert line.call("GET", "/health/live").status == 200
        finally:
            for other in stopped:
                os.kill(other, signal.SIGCONT)
        by_process.append(opened)
    try:
        yield [line for group in zip(*by_process, strict=True) for line in group]
    finally:
        for opened in by_process:
            for line in opened:
                line.close()


def at_once(works: Sequence[Callable[[], T]]) -> list[T]:
    """Do everything at the same moment and return the results in order."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        barrier.wait(timeout=30)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))

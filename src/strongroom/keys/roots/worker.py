"""One thread that makes all blocking calls to a provider, one after another, each bounded in time.

The thread is a daemon: a call that never returns cannot keep the process alive. While a call is
overdue, further ones fail at once instead of queuing behind it. After a fork nothing runs: a
session of the parent is never used by a child.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from strongroom.kernel.limits import ROOT_CALLS_WAITING_MAX
from strongroom.keys.roots import errors

T = TypeVar("T")
_Job = tuple["Future[Any]", Callable[[], Any]]


class Worker:
    """The one thread that talks to a provider.

    Args:
        name: names the thread.
        interrupt: called when a call is overdue, from the caller's thread, to unblock it.
        idle: called between calls; returns after how many seconds to call it again, None for never.
    """

    def __init__(
        self,
        name: str,
        *,
        interrupt: Callable[[], None] = lambda: None,
        idle: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._name = name
        self._interrupt = interrupt
        self._idle = idle
        self._pid = os.getpid()
        self._jobs: queue.Queue[_Job | None] = queue.Queue(ROOT_CALLS_WAITING_MAX)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._overdue_at: float | None = None
        self._running: Future[Any] | None = None
        self._closed = False

    async def call(self, work: Callable[[], T], *, timeout_s: float) -> T:
        """Return what `work` returns; raises `root_unavailable` when it takes too long."""
        future = self._submit(work, timeout_s)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), timeout_s)
        except TimeoutError:
            raise self._too_late(future, timeout_s) from None

    def run(self, work: Callable[[], T], *, timeout_s: float) -> T:
        """Do the same for a caller that has no event loop, at start-up."""
        future = self._submit(work, timeout_s)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise self._too_late(future, timeout_s) from None
        except CancelledError:
            raise errors.root_unavailable(f"{self._name}: closed") from None

    def close(self) -> None:
        """Let the thread end after the calls that wait."""
        self._closed = True
        if self._pid == os.getpid():
            with contextlib.suppress(queue.Full):
                self._jobs.put_nowait(None)

    def _submit(self, work: Callable[[], T], timeout_s: float) -> Future[T]:
        if self._pid != os.getpid():
            raise errors.root_unavailable(f"{self._name}: opened before a fork")
        if self._closed:
            raise errors.root_unavailable(f"{self._name}: closed")
        if self._overdue_at is not None and time.monotonic() > self._overdue_at:
            raise errors.root_unavailable(f"{self._name}: an earlier call hangs")
        future: Future[T] = Future()

        def timed() -> T:
            self._overdue_at = time.monotonic() + timeout_s
            try:
                return work()
            finally:
                self._overdue_at = None

        try:
            self._jobs.put_nowait((future, timed))
        except queue.Full:
            raise errors.root_unavailable(f"{self._name}: too many calls wait") from None
        self._start()
        return future

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name=self._name, daemon=True)
                self._thread.start()

    def _too_late(self, future: Future[Any], timeout_s: float) -> Exception:
        if self._running is future:
            self._interrupt()
        return errors.root_unavailable(f"{self._name}: no answer within {timeout_s:g} s")

    def _loop(self) -> None:
        wait_s: float | None = None
        while True:
            try:
                job = self._jobs.get(timeout=wait_s)
            except queue.Empty:
                wait_s = self._idle()
                continue
            if job is None:
                return
            future, work = job
            if future.set_running_or_notify_cancel():
                self._running = future
                _settle(future, work)
                self._running = None
            wait_s = self._idle()


def _settle(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 (handed to whoever waits)
        future.set_exception(error)
    else:
        future.set_result(result)

"""What issuers do some time after the answer: refunds that end late, disputes, warnings."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable


class Later:
    """Runs functions after a fixed delay, in order, or at once when told to advance."""

    def __init__(self, *, delay_s: float) -> None:
        self._delay_s = delay_s
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, step: Callable[[], None]) -> None:
        """Let `step` run after the delay."""
        loop = asyncio.get_running_loop()
        heapq.heappush(self._due, (loop.time() + self._delay_s, next(self._order), step))
        self._arm(loop)

    def advance(self) -> int:
        """Run everything that waits, now; return how many steps ran."""
        steps = 0
        while self._due:
            heapq.heappop(self._due)[2]()
            steps += 1
        return steps

    def clear(self) -> None:
        """Forget everything that waits."""
        self._due.clear()

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None and self._due:
            self._timer = loop.call_at(self._due[0][0], self._run)

    def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        try:
            while self._due and self._due[0][0] <= loop.time() + 0.001:
                heapq.heappop(self._due)[2]()
        finally:
            self._arm(loop)

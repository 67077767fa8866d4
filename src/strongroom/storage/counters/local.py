"""Counters in this process's memory: what remains when the shared store cannot be reached.

Each process then holds to the limits by itself, so together they let through at most their number
times as much. Bounded: the counters used longest ago are forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from strongroom.kernel.clock import Clock, SystemClock
from strongroom.kernel.edge_limits import COUNTERS_KEPT
from strongroom.storage.counters.model import EPOCH_S, TICKS_PER_S, Ask, Grant, decide


class LocalCounters:
    """A store of counters in memory."""

    def __init__(self, *, clock: Clock | None = None, kept: int = COUNTERS_KEPT) -> None:
        self._clock = clock or SystemClock()
        self._kept = kept
        self._levels: OrderedDict[bytes, tuple[int, int]] = OrderedDict()

    async def take(self, asks: Sequence[Ask]) -> list[Grant]:
        """Grant units of several counters; no I/O."""
        now = int((self._clock.now().timestamp() - EPOCH_S) * TICKS_PER_S)
        return [self._take(ask, now) for ask in asks]

    async def purge(self) -> int:
        """Forget nothing: memory is bounded already."""
        return 0

    def _take(self, ask: Ask, now: int) -> Grant:
        level, window = self._levels.pop(ask.key, (0, 0))
        level, window, grant = decide(level, window, ask, now)
        self._levels[ask.key] = (level, window)
        if len(self._levels) > self._kept:
            self._levels.popitem(last=False)
        return grant

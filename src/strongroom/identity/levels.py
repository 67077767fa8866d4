"""The lowest level that each merchant takes, remembered for half a second.

For callers whose credential is not read from the store with its merchant, such as tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

from strongroom.identity.model import Level
from strongroom.kernel.clock import Clock
from strongroom.kernel.limits import API_KEY_CACHE_S

_KEPT_MAX = 10_000
"""Merchants remembered: more than one process serves in half a second."""


class Levels:
    """Remembers what `read` says of merchants, never longer than `API_KEY_CACHE_S`."""

    def __init__(self, read: Callable[[str], Awaitable[Level]], *, clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, Level]] = OrderedDict()

    async def of(self, merchant: str) -> Level:
        """Return a merchant's lowest level; raises what reading it raises."""
        now = self._clock.monotonic()
        kept = self._kept.get(merchant)
        if kept is not None and now - kept[0] < API_KEY_CACHE_S:
            return kept[1]
        level = await self._read(merchant)
        self._kept[merchant] = (now, level)
        self._kept.move_to_end(merchant)
        if len(self._kept) > _KEPT_MAX:
            self._kept.popitem(last=False)
        return level

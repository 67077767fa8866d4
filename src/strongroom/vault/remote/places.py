"""A bounded number of places for peers that have not proved anything yet, shared out by address.

When all are taken, the address that holds most gives up its oldest: whoever opens connections and
says nothing pushes out its own, and an honest exchange takes milliseconds.
"""

from __future__ import annotations

import asyncio
from collections import Counter


class Places:
    """The places of one face.

    Args:
        at_most: how many there are.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._held: dict[asyncio.Task[None], str] = {}

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Who holds a place, the oldest first."""
        return list(self._held)

    def take(self, task: asyncio.Task[None], address: str) -> str | None:
        """Give a task a place until it is done; return the address that lost one for it."""
        lost = None
        if len(self._held) >= self._at_most:
            ((lost, _),) = Counter(self._held.values()).most_common(1)
            oldest = next(one for one, held_by in self._held.items() if held_by == lost)
            del self._held[oldest]
            oldest.cancel()
        self._held[task] = address
        task.add_done_callback(lambda done: self._held.pop(done, None))
        return lost

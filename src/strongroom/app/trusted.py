"""What this process knows of trusted authorities and revocations: half a second old at most.

One question at a time serves all who wait. When it cannot be answered, nobody is let in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from strongroom.kernel.clock import Clock
from strongroom.kernel.edge_limits import TRUST_AGE_MAX_S
from strongroom.keys.certificates import Trust


class TrustWatch:
    """Remembers what `ask` said, for `age_max_s` from the moment it was asked."""

    def __init__(
        self,
        ask: Callable[[], Awaitable[Trust]],
        *,
        clock: Clock,
        age_max_s: float = TRUST_AGE_MAX_S,
    ) -> None:
        self._ask = ask
        self._monotonic = clock.monotonic
        self._age_max_s = age_max_s
        self._known: Trust | None = None
        self._asked_at = 0.0
        self._asking: asyncio.Task[Trust] | None = None

    async def now(self) -> Trust:
        """Return what is trusted.

        Raises:
            StrongroomError: it cannot be known now.
        """
        if self._known is not None and self._monotonic() - self._asked_at < self._age_max_s:
            return self._known
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._again())
            self._asking.add_done_callback(_heard)
        return await asyncio.shield(self._asking)

    async def is_revoked(self, serials: frozenset[bytes]) -> bool:
        """Whether one of the certificates with these serial numbers was revoked."""
        return not serials.isdisjoint((await self.now()).revoked)

    async def _again(self) -> Trust:
        asked_at = self._monotonic()
        found = await self._ask()
        self._known, self._asked_at = found, asked_at
        return found


def _heard(task: asyncio.Task[Trust]) -> None:
    """Take note of a failure that nobody waited for any more."""
    if not task.cancelled():
        task.exception()

"""Units that this process took ahead, so that most requests are counted without a round trip.

Together the processes never let more through than the limit: what one holds, the store has already
counted. What is not used within a second goes back. One call at a time asks for every counter that
waits. When the store cannot be reached, the process holds to the limits by itself for two seconds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from strongroom.kernel.clock import Clock, SystemClock
from strongroom.kernel.edge_limits import (
    COUNTERS_AWAY_S,
    COUNTERS_BATCH_MAX,
    COUNTERS_KEPT,
    COUNTERS_TIMEOUT_S,
    LEASE_S,
)
from strongroom.kernel.errors import StrongroomError
from strongroom.storage.counters.local import LocalCounters
from strongroom.storage.counters.model import TICKS_PER_S, Ask, Counters, Grant, Rule

_BLOCKED_MAX_S = 1.0
"""A refusal is remembered no longer: another process may have given units back."""


class Spent(msgspec.Struct, frozen=True):
    """Whether a request may go on; else the rule that says no and the seconds to wait.

    When it may, `rule` is the tightest of its rules and `remaining` what is left of it.
    """

    allowed: bool
    rule: Rule
    remaining: int
    wait_s: float = 0.0


class _Lease:
    __slots__ = (
        "blocked_until",
        "local",
        "remaining",
        "rule",
        "since",
        "units",
        "wait_s",
        "window",
    )

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.units = self.remaining = self.window = 0
        self.since = self.blocked_until = self.wait_s = 0.0
        self.local = False


class Leases:
    """Spends units of shared counters for this process."""

    def __init__(self, counters: Counters, *, clock: Clock | None = None) -> None:
        self._counters = counters
        self._clock = clock or SystemClock()
        self._alone = LocalCounters(clock=self._clock)
        self._alone_until = 0.0
        self._leases: OrderedDict[bytes, _Lease] = OrderedDict()
        self._waiting: dict[bytes, list[asyncio.Future[bool]]] = {}
        self._task: asyncio.Task[None] | None = None
        self.calls = 0

    @property
    def alone(self) -> bool:
        """Whether the shared counters cannot be reached and this process counts by itself."""
        return self._clock.monotonic() < self._alone_until

    async def close(self) -> None:
        """Give back what is held and stop asking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.give_back(everything=True)

    async def purge(self) -> int:
        """Forget stored counters that are full again; call every few minutes."""
        return await self._counters.purge()

    def blocked(self, key: bytes) -> float:
        """Return for how many seconds a counter is known to be used up, 0 when it is not."""
        lease = self._leases.get(key)
        if lease is None or lease.units:
            return 0.0
        return max(0.0, lease.blocked_until - self._clock.monotonic())

    async def spend(self, wants: Sequence[tuple[bytes, Rule]]) -> Spent:
        """Take one unit of each counter, or of none when one of them has no more."""
        taken: list[_Lease] = []
        for key, rule in wants:
            lease = self._lease(key, rule)
            if not (self._from_lease(lease) or await self._from_store(key, lease)):
                for other in taken:
                    other.units += 1
                return Spent(False, rule, 0, lease.wait_s)
            taken.append(lease)
        tightest = min(taken, key=_share_left)
        return Spent(True, tightest.rule, tightest.remaining + tightest.units)

    async def give_back(self, *, everything: bool = False) -> None:
        """Put back units that were not used; call each second."""
        now = self._clock.monotonic()
        idle = [
            (key, lease)
            for key, lease in self._leases.items()
            if key not in self._waiting and (everything or now - lease.since >= LEASE_S)
        ]
        for key, _ in idle:
            del self._leases[key]
        held = [(key, lease) for key, lease in idle if lease.units and not lease.local]
        for start in range(0, len(held), COUNTERS_BATCH_MAX):
            asks = [_ask(k, lease, 0) for k, lease in held[start : start + COUNTERS_BATCH_MAX]]
            await self._ask_store(asks)

    def _lease(self, key: bytes, rule: Rule) -> _Lease:
        lease = self._leases.get(key)
        if lease is None or lease.rule is not rule:
            lease = self._leases[key] = _Lease(rule)
            if len(self._leases) > COUNTERS_KEPT:
                self._leases.popitem(last=False)
        else:
            self._leases.move_to_end(key)
        return lease

    def _from_lease(self, lease: _Lease) -> bool:
        if lease.units <= 0 or self._clock.monotonic() - lease.since >= LEASE_S:
            return False
        lease.units -= 1
        return True

    async def _from_store(self, key: bytes, lease: _Lease) -> bool:
        """Wait for a unit of the next call to the store."""
        if not lease.units and self._clock.monotonic() < lease.blocked_until:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renew_all())
        return await future

    async def _renew_all(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[:COUNTERS_BATCH_MAX]
            batch = [(key, self._leases.get(key), self._waiting.pop(key)) for key in keys]
            known = [(key, lease, futures) for key, lease, futures in batch if lease is not None]
            for _, lease, futures in batch:
                if lease is None:  # evicted while it waited: by far more callers than we hold
                    _tell(futures, 0)
            try:
                grants, local = await self._ask_store(
                    [_ask(key, lease, len(futures)) for key, lease, futures in known]
                )
            except BaseException:
                for _, _, futures in known:
                    _tell(futures, 0)
                raise
            for (_, lease, futures), grant in zip(known, grants, strict=True):
                self._renewed(lease, grant, local=local)
                lease.units -= _tell(futures, lease.units)

    def _renewed(self, lease: _Lease, grant: Grant, *, local: bool) -> None:
        now = self._clock.monotonic()
        lease.units, lease.remaining, lease.window = grant.units, grant.remaining, grant.window
        lease.since, lease.local = now, local
        lease.wait_s = grant.wait / TICKS_PER_S
        lease.blocked_until = now + min(lease.wait_s, _BLOCKED_MAX_S)

    async def _ask_store(self, asks: list[Ask]) -> tuple[list[Grant], bool]:
        """Return the grants, and whether this process gave them to itself."""
        if not self.alone:
            try:
                async with asyncio.timeout(COUNTERS_TIMEOUT_S):
                    self.calls += 1
                    return await self._counters.take(asks), False
            except (StrongroomError, TimeoutError):
                self._alone_until = self._clock.monotonic() + COUNTERS_AWAY_S
        return await self._alone.take(asks), True


def _ask(key: bytes, lease: _Lease, least: int) -> Ask:
    returned = 0 if lease.local else lease.units
    lease.units = 0
    return Ask(key=key, rule=lease.rule, least=least, returned=returned, window=lease.window)


def _tell(futures: Sequence[asyncio.Future[bool]], units: int) -> int:
    """Give a unit to each waiter as far as they go; returns how many were given."""
    given = 0
    for future in futures:
        if future.done():
            continue
        future.set_result(given < units)
        given += given < units
    return given


def _share_left(lease: _Lease) -> float:
    return (lease.remaining + lease.units) / lease.rule.capacity

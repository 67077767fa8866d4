"""What is counted and how: the arithmetic that every store of counters does alike.

A rate is a token bucket kept as one number, the theoretical arrival time of the generic cell rate
algorithm (ITU-T I.371). A quota counts units in windows that begin at multiples of their length.
Times are ticks of 100 ns since 2026-01-01 UTC: whole numbers that Lua's doubles hold exactly too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

TICKS_PER_S = 10_000_000
EPOCH_S = 1_767_225_600
"""2026-01-01T00:00:00Z."""

LEASED_PART = 16
"""One part in sixteen of what is left may be taken ahead: near the limit that is one unit."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A limit: `units` in `per_s` seconds. A rate lets `burst` units through at once.

    Args:
        name: how callers and metrics see it, such as `key`.
        units: units granted in `per_s` seconds.
        per_s: length in seconds.
        burst: capacity of a rate's bucket; 0 makes it a quota in fixed windows.
    """

    name: str
    units: int
    per_s: int
    burst: int = 0

    @property
    def fixed(self) -> bool:
        """Whether this is a quota."""
        return self.burst == 0

    @property
    def interval(self) -> int:
        """Ticks between two units of a rate; of a quota, the window's length in ticks."""
        return self.per_s * TICKS_PER_S if self.fixed else self.per_s * TICKS_PER_S // self.units

    @property
    def capacity(self) -> int:
        """The most units that can ever be there at once."""
        return self.units if self.fixed else self.burst


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """Units wanted of one counter: at least `least`, after `returned` unused ones are put back.

    `key` has 16 bytes. `returned` counts only in the window it was taken in (`window`, a quota's).
    """

    key: bytes
    rule: Rule
    least: int = 1
    returned: int = 0
    window: int = 0


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted: `units` (fewer than asked, down to 0, when there are no more).

    `remaining` is what the counter holds after that; `wait` the ticks until a unit more may be
    there; `window` the number of a quota's window, 0 for a rate.
    """

    units: int
    remaining: int
    wait: int
    window: int = 0


class Counters(Protocol):
    """A store of counters."""

    async def take(self, asks: Sequence[Ask]) -> list[Grant]:
        """Grant units of several counters, each atomically.

        Raises:
            StrongroomError: `storage_unavailable`.
        """
        ...

    async def purge(self) -> int:
        """Forget counters that are full again; returns how many."""
        ...


def decide(level: int, window: int, ask: Ask, now: int) -> tuple[int, int, Grant]:
    """Return a counter's next level and window, and what it grants at `now` ticks.

    A rate's level is its theoretical arrival time, a quota's the units used in `window`.
    """
    rule = ask.rule
    if rule.fixed:
        current = now // rule.interval
        used = level if window == current else 0
        if ask.window == current:
            used = max(0, used - ask.returned)
        units = _granted(rule.units - used, ask.least)
        used += units
        wait = 0 if used < rule.units else (current + 1) * rule.interval - now
        left = max(0, rule.units - used)
        return used, current, Grant(units=units, remaining=left, wait=wait, window=current)
    level = max(level - ask.returned * rule.interval, now)
    room = now + rule.burst * rule.interval
    units = _granted((room - level) // rule.interval, ask.least)
    level += units * rule.interval
    left = max(0, (room - level) // rule.interval)
    wait = 0 if left else level + rule.interval - room
    return level, 0, Grant(units=units, remaining=left, wait=wait)


def _granted(available: int, least: int) -> int:
    """Return how many of the available units one ask gets; one for nothing only gives back."""
    if available <= 0 or least <= 0:
        return 0
    return min(available, max(least, available // LEASED_PART))

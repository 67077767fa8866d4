"""Refused callers as journal entries, added up while they flood.

The first refusal of a source is written at the next flush; what follows within a minute is counted
and written as one entry. Memory is bounded: past the limit, refusals are counted by reason only.
Addresses and parts of keys stand in the journal as keyed commitments, never in clear.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock, rfc3339_ms
from strongroom.kernel.errors import StrongroomError
from strongroom.storage import Change, Committer

WINDOW_S = 60.0
"""One entry at once and one a minute for each source say all there is to say."""

_COUNTED_MAX = 1_000
"""Sources counted apart: an attack from more of them is one event."""

_ENTRIES_PER_CHANGE = 100
_COMMITMENT_BYTES = 10
_LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
"""Commitments are spelled in letters, so that no digest is ever taken for a card number."""


Hasher = Callable[[bytes], bytes | Awaitable[bytes]]
"""The keyed hash under the pepper: at once where the pepper is, awaited where it is elsewhere."""


async def hashed(hasher: Hasher, data: bytes) -> bytes:
    """Return the keyed hash of `data`."""
    digest = hasher(data)
    return digest if isinstance(digest, bytes) else await digest


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted together. `facts` are pairs; `source` and `hint` are committed to.

    `hint` is the part of a key that its owner recognizes it by; it follows the subject.
    """

    action: str
    reason: str
    subject: str
    actor: str = "anonymous"
    merchant: str | None = None
    source: str = ""
    hint: str = ""
    facts: tuple[tuple[str, str], ...] = ()


class _Count:
    __slots__ = ("first", "last", "opened_s", "told", "unwritten")

    def __init__(self, opened_s: float, now: datetime) -> None:
        self.opened_s = opened_s
        self.first = self.last = now
        self.unwritten = 0
        self.told = False


class Refusals:
    """Counts refusals in memory and writes them to the journal when flushed."""

    def __init__(self, committer: Committer, *, clock: Clock, hasher: Hasher) -> None:
        self._committer = committer
        self._clock = clock
        self._hasher = hasher
        self._counts: dict[Refused, _Count] = {}
        self._lock = asyncio.Lock()

    def note(self, refused: Refused) -> None:
        """Count one refusal; no I/O."""
        now = self._clock.now()
        count = self._counts.get(refused)
        if count is None:
            if len(self._counts) >= _COUNTED_MAX:
                refused = Refused(action=refused.action, reason=refused.reason, subject="many")
            count = self._counts.setdefault(refused, _Count(self._clock.monotonic(), now))
        if count.unwritten == 0:
            count.first = now
        count.last = now
        count.unwritten += 1

    async def flush(self, *, final: bool = False) -> int:
        """Write what is due, or everything when `final`; return how many entries were written.

        Raises:
            StrongroomError: the store is unavailable; nothing that was counted is lost.
        """
        async with self._lock:
            now_s = self._clock.monotonic()
            due = [
                (refused, count)
                for refused, count in self._counts.items()
                if count.unwritten and (final or not count.told or _over(count, now_s))
            ]
            for start in range(0, len(due), _ENTRIES_PER_CHANGE):
                await self._write(due[start : start + _ENTRIES_PER_CHANGE])
            self._counts = {
                refused: count
                for refused, count in self._counts.items()
                if count.unwritten or not _over(count, now_s)
            }
            return len(due)

    async def _write(self, due: list[tuple[Refused, _Count]]) -> None:
        hidden = [await self._hidden(refused) for refused, _ in due]
        change = Change()
        now = self._clock.now()
        written = [(count, count.unwritten) for _, count in due]  # no await from here to the commit
        for (refused, count), (hint, source) in zip(due, hidden, strict=True):
            try:
                record(change, _entry(refused, count, hint, source), at=now)
            except StrongroomError:
                withheld = msgspec.structs.replace(refused, subject="withheld", facts=())
                record(change, _entry(withheld, count, "", source), at=now)
        await self._committer.submit(change)
        for count, number in written:
            count.unwritten -= number
            count.opened_s = count.opened_s if not count.told else self._clock.monotonic()
            count.told = True

    async def _hidden(self, refused: Refused) -> tuple[str, str]:
        """Return hint and source as they may stand in the journal."""
        hint = f"_{await self.commitment(refused.hint)}" if refused.hint else ""
        return hint, await self.commitment(refused.source) if refused.source else ""

    async def commitment(self, value: str) -> str:
        """Return the keyed commitment under which `value` stands in the journal."""
        digest = await hashed(self._hasher, b"commitment\x00" + value.encode())
        return digest[:_COMMITMENT_BYTES].hex().translate(_LETTERS)


def _entry(refused: Refused, count: _Count, hint: str, source: str) -> Entry:
    facts: dict[str, str | int | bool] = {
        "count": count.unwritten,
        "first_at": rfc3339_ms(count.first),
        "last_at": rfc3339_ms(count.last),
        **dict(refused.facts),
    }
    if source:
        facts["source"] = source
    return Entry(
        action=refused.action,
        subject=refused.subject + hint,
        outcome="refused",
        reason=refused.reason,
        facts=facts,
        merchant=refused.merchant,
        actor=refused.actor,
    )


def _over(count: _Count, now_s: float) -> bool:
    return now_s - count.opened_s >= WINDOW_S

"""Stored keys by their hash, remembered for half a second and read in batches.

Only keyed hashes are looked up and compared, so how long it takes tells nothing about any key. One
read at a time fetches every hash that waits, so a flood of unknown keys costs few reads and not one
each; a key in use costs one read each lifetime. What was read is trusted for `lifetime_s` from the
moment its read began, never longer: a revocation shows within a second in every process. Memories
and queue are bounded; when the store is down, nobody is let in.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import API_KEY_CACHE_S


class Hashed(Protocol):
    """What is found by its keyed hash."""

    @property
    def hash(self) -> bytes:
        """The keyed hash of the secret that a caller brings."""
        ...


R = TypeVar("R", bound=Hashed)
Read = Callable[[Sequence[bytes]], Awaitable[Sequence[R]]]

_KNOWN_MAX = 10_000
"""Keys remembered: more callers than one process serves in half a second."""

_UNKNOWN_MAX = 4_096
"""Misses remembered, apart from hits, so that a flood of inventions evicts no real key."""

_WAITING_MAX = 4_096
"""Hashes that may wait for a read, apart from keys known a moment ago: inventions crowd out no
caller."""

_BATCH_MAX = 512
"""Hashes in one read: a few milliseconds of index look-ups."""

_READ_TIMEOUT_S = 2.0
"""A look-up by index takes a millisecond; past this the store is in trouble."""


class Lookup(Generic[R]):
    """Finds keys by hash through `read`, with bounded memory and bounded staleness."""

    def __init__(self, read: Read[R], *, clock: Clock, lifetime_s: float = API_KEY_CACHE_S) -> None:
        self._read = read
        self._clock = clock
        self._lifetime_s = lifetime_s
        self._known: OrderedDict[bytes, tuple[float, R | None]] = OrderedDict()
        self._unknown: OrderedDict[bytes, tuple[float, R | None]] = OrderedDict()
        self._waiting: dict[bytes, asyncio.Future[R | None]] = {}
        self._reading: dict[bytes, asyncio.Future[R | None]] = {}
        self._reading_since = 0.0
        self._task: asyncio.Task[None] | None = None
        self.reads = 0

    def kept(self, digest: bytes) -> tuple[float, R | None] | None:
        """Return what is remembered of a hash and still trusted, without any I/O."""
        memory = self._known if digest in self._known else self._unknown
        entry = memory.get(digest)
        if entry is None or self._clock.monotonic() - entry[0] >= self._lifetime_s:
            return None
        memory.move_to_end(digest)
        return entry

    async def find(self, digest: bytes) -> R | None:
        """Return the key with this hash or None.

        Raises:
            StrongroomError: `storage_unavailable` or `overloaded`; the caller must not be let in.
        """
        entry = self.kept(digest)
        if entry is not None:
            return entry[1]
        return await asyncio.shield(self._join(digest))

    def forget(self, digest: bytes) -> None:
        """Drop what is remembered of a hash, so that this process sees its change at once."""
        self._known.pop(digest, None)
        self._unknown.pop(digest, None)

    async def close(self) -> None:
        """End the reader; waiting callers are told that the store is gone."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._fail([*self._waiting.values(), *self._reading.values()], _unavailable("closing"))

    def _join(self, digest: bytes) -> asyncio.Future[R | None]:
        """Return the future of a read under way, or of the next one."""
        under_way = self._reading.get(digest)
        age_s = self._clock.monotonic() - self._reading_since
        if under_way is not None and age_s < self._lifetime_s:
            return under_way
        future = self._waiting.get(digest)
        if future is None:
            if len(self._waiting) >= _WAITING_MAX and digest not in self._known:
                raise _overloaded()
            future = self._waiting[digest] = asyncio.get_running_loop().create_future()
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._read_all())
        return future

    async def _read_all(self) -> None:
        while self._waiting:
            batch = list(self._waiting)[:_BATCH_MAX]
            self._reading = {digest: self._waiting.pop(digest) for digest in batch}
            self._reading_since = self._clock.monotonic()
            try:
                async with asyncio.timeout(_READ_TIMEOUT_S):
                    found = await self._read(batch)
                self._answer(found)
            except StrongroomError as error:
                self._fail(self._reading.values(), error)
            except Exception as error:  # noqa: BLE001 - whoever waits must hear of any failure
                self._fail(self._reading.values(), _unavailable(type(error).__name__))
            self._reading = {}

    def _answer(self, found: Sequence[R]) -> None:
        self.reads += 1
        records = {record.hash: record for record in found}
        for digest, future in self._reading.items():
            record = records.get(digest)
            self._keep(digest, record)
            if not future.done():
                future.set_result(record)

    def _keep(self, digest: bytes, record: R | None) -> None:
        self.forget(digest)
        memory, limit = (
            (self._unknown, _UNKNOWN_MAX) if record is None else (self._known, _KNOWN_MAX)
        )
        memory[digest] = (self._reading_since, record)
        if len(memory) > limit:
            memory.popitem(last=False)

    def _fail(self, futures: Iterable[asyncio.Future[R | None]], error: StrongroomError) -> None:
        for future in futures:
            if not future.done():
                future.set_exception(error)
                future.exception()


def _unavailable(detail: str) -> StrongroomError:
    return StrongroomError(
        "storage_unavailable",
        "The service cannot check who calls right now. Try again shortly.",
        detail=detail,
        retryable=True,
        retry_after_s=2,
    )


def _overloaded() -> StrongroomError:
    return StrongroomError(
        "overloaded",
        "The service is busy. Try again shortly.",
        retryable=True,
        retry_after_s=1,
    )

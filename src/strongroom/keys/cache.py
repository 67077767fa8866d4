"""A bounded cache of clear key objects: least recently used out first, nothing older than its time.

Concurrent misses of one key share one load. A dropped key object is freed with its last user.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

from strongroom.kernel.clock import Clock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class KeyCache(Generic[K, V]):
    """Maps ids to key objects for at most `ttl_s` seconds each and `size` at once."""

    def __init__(self, *, size: int, ttl_s: float, clock: Clock) -> None:
        self._size = size
        self._ttl_s = ttl_s
        self._monotonic = clock.monotonic
        self._held: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._loading: dict[K, asyncio.Task[V]] = {}
        self._sweeping = False
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._held)

    def find(self, key: K) -> V | None:
        """Return what is held and still fresh."""
        held = self._held.get(key)
        if held is None:
            return None
        if held[0] <= self._monotonic():
            del self._held[key]
            return None
        self._held.move_to_end(key)
        return held[1]

    async def get(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        """Return what is held, or load it once for all who wait for it; counted as hit or miss."""
        found = self.find(key)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        task = self._loading.get(key)
        if task is None:
            task = asyncio.ensure_future(self._load(key, load))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._loaded(key, done))
        return await asyncio.shield(task)

    def put(self, key: K, value: V) -> None:
        """Hold a value; the oldest leaves when there are too many."""
        self._held[key] = (self._monotonic() + self._ttl_s, value)
        self._held.move_to_end(key)
        while len(self._held) > self._size:
            self._held.popitem(last=False)
        self._sweep_later()

    def drop(self, key: K) -> None:
        """Forget a value."""
        self._held.pop(key, None)

    def drop_where(self, chosen: Callable[[K], bool]) -> None:
        """Forget the values of all chosen keys."""
        for key in [key for key in self._held if chosen(key)]:
            del self._held[key]

    def sweep(self) -> None:
        """Forget what is past its time, asked for or not."""
        now = self._monotonic()
        for key in [key for key, (until, _) in self._held.items() if until <= now]:
            del self._held[key]

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()

    def _sweep_later(self) -> None:
        """Sweep when the oldest value's time is over, so that no key outstays it in memory."""
        if self._sweeping:
            return
        with contextlib.suppress(RuntimeError):  # outside an event loop `find` alone looks
            asyncio.get_running_loop().call_later(self._ttl_s, _sweep, weakref.ref(self))
            self._sweeping = True

    def swept(self) -> None:
        """Sweep now, and again when there will be something to sweep."""
        self._sweeping = False
        self.sweep()
        if self._held:
            self._sweep_later()

    async def _load(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        value = await load()
        self.put(key, value)
        return value

    def _loaded(self, key: K, task: asyncio.Task[V]) -> None:
        self._loading.pop(key, None)
        if not task.cancelled():
            task.exception()


def _sweep(held: weakref.ref[KeyCache[Any, Any]]) -> None:
    cache = held()
    if cache is not None:
        cache.swept()


def hit_rate(caches: Iterable[KeyCache[Any, Any]]) -> float:
    """Return the share of look-ups that caches answered, 0 before the first."""
    hits = misses = 0
    for cache in caches:
        hits, misses = hits + cache.hits, misses + cache.misses
    return hits / max(1, hits + misses)

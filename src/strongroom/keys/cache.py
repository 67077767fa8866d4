"""A bounded cache of clear key objects: least recently used out first, nothing older than its time.

Concurrent misses of one key share one load. A dropped key object is freed with its last user.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

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
        """Return what is held, or load it once for all who wait for it."""
        found = self.find(key)
        if found is not None:
            return found
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

    def drop(self, key: K) -> None:
        """Forget a value."""
        self._held.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._held.clear()

    async def _load(self, key: K, load: Callable[[], Awaitable[V]]) -> V:
        value = await load()
        self.put(key, value)
        return value

    def _loaded(self, key: K, task: asyncio.Task[V]) -> None:
        self._loading.pop(key, None)
        if not task.cancelled():
            task.exception()

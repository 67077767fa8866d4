"""A small pool of database connections: taking a free one waits for nothing and makes no task.

A connection that was interrupted or broke is dropped, never given out again. Measured in
docs/decisions/0009: the driver's own pool costs more than a primary-key read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from strongroom.storage.change import StorageUnavailable


class Pool:
    """Holds at most `size` connections; the one used last is given first."""

    def __init__(self, connect: Callable[[], Awaitable[Any]], *, size: int) -> None:
        self._connect = connect
        self._size = size
        self._count = 0
        self._idle: list[Any] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._closed = False

    async def take(self, *, within_s: float) -> Any:
        """Return a connection; waits for one at most `within_s` seconds.

        Raises:
            StorageUnavailable: the pool is closed.
            TimeoutError: none became free.
        """
        if self._closed:
            raise StorageUnavailable("not connected")
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._count -= 1
        if self._count < self._size:
            self._count += 1
            return await self._make()
        async with asyncio.timeout(within_s):
            given = await self._wait()
        return given if given is not None else await self._make()

    def give(self, connection: Any) -> None:
        """Take a connection back; a closed one makes room for another."""
        if self._closed and not connection.is_closed():
            connection.terminate()
        if connection.is_closed():
            self._free_room()
        elif not self._hand_on(connection):
            self._idle.append(connection)

    async def close(self) -> None:
        """Close every idle connection now, and the others when they come back."""
        self._closed = True
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(StorageUnavailable("shutting down"))
        idle, self._idle = self._idle, []
        try:
            closing = (connection.close() for connection in idle)
            await asyncio.gather(*closing, return_exceptions=True)
        finally:  # also when there is no time to part in order
            for connection in idle:
                connection.terminate()

    async def _make(self) -> Any:
        """Connect in room that is counted already."""
        try:
            return await self._connect()
        except BaseException:
            self._free_room()
            raise

    def _free_room(self) -> None:
        """Give room for a connection to who waits longest; it stays counted until then."""
        if not self._hand_on(None):
            self._count -= 1

    async def _wait(self) -> Any:
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._return(waiting.result())
            raise

    def _return(self, given: Any) -> None:
        """Pass on what came in the moment its taker gave up."""
        if given is None:
            self._free_room()
        else:
            self.give(given)

    def _hand_on(self, given: Any) -> bool:
        """Give a connection, or the room for one (None), to who waits longest."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(given)
                return True
        return False

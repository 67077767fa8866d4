"""Group commit: Changes of many requests share one statement, one round trip and one flush.

A stale guard, a lost claim or a violated constraint rejects exactly its own Change. The queue is
bounded; a Change is answered only after its transaction is durable.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import asyncpg

from strongroom.kernel.ids import new_uuid7
from strongroom.kernel.limits import COMMIT_BATCH_MAX, COMMIT_QUEUE_MAX, COMMIT_WAIT_MS
from strongroom.storage.change import (
    Bulk,
    Change,
    Insert,
    Overloaded,
    Row,
    Shape,
    StorageUnavailable,
    Verdict,
)
from strongroom.storage.database import Target, is_refusal, is_retryable, translate
from strongroom.storage.statement import Statement

_RETRIES = 5
_EXPIRY_CHECK_S = 0.25
_RECONNECT_S = (0.05, 0.1, 0.25, 0.5, 1.0)
_SETTINGS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "statement_timeout": "5000",
    "lock_timeout": "4000",
    "jit": "off",
}


class _Waiting:
    __slots__ = ("change", "future", "keys", "since")

    def __init__(self, change: Change, future: asyncio.Future[Verdict], since: float) -> None:
        self.change = change
        self.future = future
        self.since = since
        self.keys = change.conflict_keys()


class Committer:
    """Writes Changes in groups through a few dedicated connections under one database role.

    Args:
        target: the database and role to write as.
        marker: table and entry shape: one row `(id)` is added to the table in every batch that
            writes entries of that shape, so that readers find whole batches.
        writers: connections that may flush at the same time.

    `failing` tells whether the last transaction could not be written for a reason that lies with
    the database.
    """

    def __init__(
        self, target: Target, *, marker: tuple[str, Insert] | None = None, writers: int = 2
    ) -> None:
        self._target = target
        self._marker = marker
        self._count = writers
        self._queue: deque[_Waiting] = deque()
        self._busy: set[Row] = set()
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._statements: dict[frozenset[Shape], Statement] = {}
        self._closing = False
        self.failing = False
        self.batches = 0
        self.changes = 0

    async def open(self) -> Committer:
        """Start the writers; raises StorageUnavailable when the database cannot be reached."""
        connections = [await self._connect() for _ in range(self._count)]
        self._tasks = [asyncio.create_task(self._write_loop(c)) for c in connections]
        self._expiry = asyncio.create_task(self._expire_loop())
        return self

    async def close(self) -> None:
        """Write what is queued, then stop."""
        self._closing = True
        self._wake.set()
        if self._tasks:
            self._expiry.cancel()
            await asyncio.wait(self._tasks, timeout=10)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail(list(self._queue), StorageUnavailable("shutting down"))
        self._queue.clear()

    @property
    def depth(self) -> int:
        """How many Changes wait."""
        return len(self._queue)

    async def submit(self, change: Change) -> Verdict:
        """Write a Change and return what became of it, after it is durable.

        Raises:
            ConstraintViolated: the database refused this Change.
            Overloaded: the queue is full or the wait too long; nothing was written.
            StorageUnavailable: the database is gone; `unknown` when it may have been written.
        """
        if self._closing or not self._tasks:
            raise StorageUnavailable("committer is not running")
        if len(self._queue) >= COMMIT_QUEUE_MAX:
            raise Overloaded
        loop = asyncio.get_running_loop()
        waiting = _Waiting(change, loop.create_future(), loop.time())
        self._queue.append(waiting)
        self._wake.set()
        return await waiting.future

    async def _expire_loop(self) -> None:
        """Refuse Changes that have waited too long to be taken; the queue is in order of age."""
        while True:
            await asyncio.sleep(_EXPIRY_CHECK_S)
            oldest = asyncio.get_running_loop().time() - COMMIT_WAIT_MS / 1000
            late = [waiting for waiting in self._queue if waiting.since < oldest]
            if late:
                gone = set(map(id, late))
                self._queue = deque(w for w in self._queue if id(w) not in gone)
                self._fail(late, Overloaded())

    async def _connect(self) -> Any:
        try:
            return await asyncpg.connect(**self._target.arguments(_SETTINGS))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise translate(error) from None

    async def _write_loop(self, connection: Any) -> None:
        try:
            while True:
                batch = self._take()
                if not batch:
                    if self._closing and not self._queue:
                        return
                    self._wake.clear()
                    await self._wake.wait()
                    continue
                try:
                    await self._write(connection, batch)
                finally:
                    for waiting in batch:
                        self._busy.difference_update(waiting.keys)
                    if self._queue:
                        self._wake.set()
                if connection.is_closed():
                    connection = await self._reconnect()
        finally:
            connection.terminate()

    async def _reconnect(self) -> Any:
        attempt = 0
        while True:
            try:
                return await self._connect()
            except StorageUnavailable:
                await asyncio.sleep(_RECONNECT_S[min(attempt, len(_RECONNECT_S) - 1)])
                attempt += 1
                if self._closing:
                    raise

    def _take(self) -> list[_Waiting]:
        """Take Changes from the queue, leaving those whose guarded row or key is in flight."""
        batch: list[_Waiting] = []
        deferred: list[_Waiting] = []
        while self._queue and len(batch) < COMMIT_BATCH_MAX:
            waiting = self._queue.popleft()
            if self._busy.isdisjoint(waiting.keys):
                self._busy.update(waiting.keys)
                batch.append(waiting)
            else:
                deferred.append(waiting)
        self._queue.extendleft(reversed(deferred))
        return batch

    async def _write(self, connection: Any, batch: Sequence[_Waiting], attempt: int = 0) -> None:
        """Write a batch; on refusal halve it until the offending Change stands alone."""
        try:
            stale, lost = await self._run(connection, batch)
        except asyncio.CancelledError:
            self._fail(batch, StorageUnavailable("canceled", unknown=True))
            raise
        except Exception as error:  # noqa: BLE001 (each waiter gets its own error)
            if is_retryable(error) and attempt < _RETRIES:
                await self._write(connection, batch, attempt + 1)
            elif is_refusal(error) and len(batch) > 1:
                middle = len(batch) // 2
                await self._write(connection, batch[:middle])
                await self._write(connection, batch[middle:])
            else:
                failure = translate(error)
                self.failing = isinstance(failure, StorageUnavailable)
                self._fail(batch, failure)
            return
        self.failing = False
        self.batches += 1
        self.changes += len(batch)
        for number, waiting in enumerate(batch):
            if waiting.future.done():
                continue
            if number in stale:
                waiting.future.set_result(Verdict.STALE)
            elif number in lost:
                waiting.future.set_result(Verdict.CLAIM_LOST)
            else:
                waiting.future.set_result(Verdict.COMMITTED)

    async def _run(
        self, connection: Any, batch: Sequence[_Waiting]
    ) -> tuple[frozenset[int], frozenset[int]]:
        rows: dict[Shape, list[tuple[int, Row]]] = {}
        for number, waiting in enumerate(batch):
            change = waiting.change
            for shape, row in change.all_rows():
                rows.setdefault(shape, []).append((number, row))
        statement = self._statement(frozenset(rows))
        arguments: list[Any] = [
            list(range(len(batch))),
            [w.change.guard is not None for w in batch],
            new_uuid7(),
        ]
        for shape in statement.shapes:
            arguments += _columns(shape, rows[shape])
        result = await connection.fetchrow(statement.sql, *arguments)
        return frozenset(result["stale"]), frozenset(result["lost"])

    def _statement(self, shapes: frozenset[Shape]) -> Statement:
        found = self._statements.get(shapes)
        if found is None:
            ordered = sorted(shapes, key=lambda shape: shape.order)
            found = self._statements[shapes] = Statement(ordered, self._marker)
        return found

    def _fail(self, batch: Sequence[_Waiting], error: Exception) -> None:
        for waiting in batch:
            if not waiting.future.done():
                waiting.future.set_exception(error)
                waiting.future.exception()


def _columns(shape: Shape, rows: list[tuple[int, Row]]) -> list[Any]:
    """Turn rows into one array for each column, the Change numbers first."""
    numbers = [number for number, _ in rows]
    if isinstance(shape, Bulk):
        return [numbers, *rows[0][1]]
    columns: list[Any] = [numbers, *map(list, zip(*(row for _, row in rows), strict=True))]
    if isinstance(shape, Insert) and shape.ordinal_column:
        columns.append(list(range(len(rows))))
    return columns

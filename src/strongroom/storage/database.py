"""The PostgreSQL engine behind a small door: one pool per database role, bounded waits, own errors.

This room is the only one that imports the driver. Statements come from rooms' `records.py`;
values are always bound.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.storage.change import ConstraintViolated, StorageUnavailable
from strongroom.storage.pool import Pool

CONNECT_TIMEOUT_S = 5
ACQUIRE_TIMEOUT_S = 5
STATEMENT_TIMEOUT_MS = 10_000


class Target(msgspec.Struct, frozen=True):
    """Where a PostgreSQL is and as whom to use it.

    Either `url` (any libpq URL; `role` is then taken with SET ROLE semantics at session start), or
    the parts of a private instance reached through a socket directory.
    """

    database: str = "strongroom"
    url: Secret[str] | None = None
    host: str | None = None
    port: int = 5432
    user: str | None = None
    password: Secret[str] | None = None
    role: str | None = None

    def arguments(self, settings: dict[str, str]) -> dict[str, Any]:
        """Return the driver's connect arguments."""
        options = {"application_name": "strongroom", **settings}
        if self.role is not None:
            options["role"] = self.role
        common: dict[str, Any] = {"server_settings": options, "timeout": CONNECT_TIMEOUT_S}
        if self.url is not None:
            return {"dsn": self.url.reveal(), **common}
        return {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password.reveal() if self.password else None,
            "database": self.database,
            "ssl": False,
            **common,
        }


_REFUSALS = (
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DataError,
    asyncpg.RaiseError,
)
_RETRYABLE = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
_BROKEN = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    EOFError,
)


def translate(error: BaseException) -> Exception:
    """Return our error for a driver error; messages with row values are dropped on the way."""
    if isinstance(error, _REFUSALS):
        name = getattr(error, "constraint_name", None) or getattr(error, "message", "") or "?"
        return ConstraintViolated(str(name)[:80], str(error.sqlstate))
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, _BROKEN):
        return StorageUnavailable(f"sqlstate {error.sqlstate} {type(error).__name__}")
    return StorageUnavailable(type(error).__name__, unknown=True)


def is_refusal(error: BaseException) -> bool:
    """Return whether the database refused the data itself."""
    return isinstance(error, _REFUSALS)


def is_retryable(error: BaseException) -> bool:
    """Return whether the same statement may simply be run again (deadlock, serialization)."""
    return isinstance(error, _RETRYABLE)


class Session:
    """One connection, inside or outside a transaction."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        """Return all rows; columns by name or position."""
        with _translated():
            return list(await self._connection.fetch(sql, *args))

    async def fetchrow(self, sql: str, *args: Any) -> Any | None:
        """Return the first row or None."""
        with _translated():
            return await self._connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """Return the first column of the first row or None."""
        with _translated():
            return await self._connection.fetchval(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        """Run a statement and return its command tag."""
        with _translated():
            return str(await self._connection.execute(sql, *args))

    async def executemany(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        """Run a statement once for each row of arguments."""
        with _translated():
            await self._connection.executemany(sql, rows)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Run the block in a transaction; an exception rolls it back."""
        with _translated():
            async with self._connection.transaction():
                yield

    async def rows(self, sql: str, *args: Any, chunk: int = 2_000) -> AsyncIterator[Any]:
        """Stream rows through a server-side cursor; needs a transaction."""
        with _translated():
            async for row in self._connection.cursor(sql, *args, prefetch=chunk):
                yield row


class _translated:
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or not isinstance(error, (asyncpg.PostgresError, *_BROKEN)):
            return
        raise translate(error) from None


class Database:
    """A bounded pool of connections under one role."""

    def __init__(
        self, target: Target, *, size: int = 4, settings: dict[str, str] | None = None
    ) -> None:
        self._target = target
        self._size = size
        self._settings = {
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": "30000",
            "jit": "off",
            **(settings or {}),
        }
        self._pool: Pool | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> Database:
        """Connect; raises StorageUnavailable when the database cannot be reached."""
        async with self._lock:
            if self._pool is None:
                pool = Pool(self._connect, size=self._size)
                pool.give(await pool.take(within_s=ACQUIRE_TIMEOUT_S))
                self._pool = pool
        return self

    async def close(self) -> None:
        """Close all connections, waiting at most five seconds."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await pool.close()

    async def _connect(self) -> Any:
        with _translated():
            return await asyncpg.connect(**self._target.arguments(self._settings))

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Borrow a connection; waits at most five seconds for one.

        It is reset for the next borrower, or dropped after an interruption or a broken statement.
        """
        pool = self._opened()
        with _translated():
            connection = await pool.take(within_s=ACQUIRE_TIMEOUT_S)
        sound = False
        try:
            yield Session(connection)
            sound = True
        except StrongroomError as error:
            sound = not isinstance(error, StorageUnavailable)
            raise
        finally:
            if not (sound and await _reset(connection)):
                connection.terminate()
            pool.give(connection)

    def _opened(self) -> Pool:
        if self._pool is None:
            raise StorageUnavailable("not connected")
        return self._pool

    async def ping(self) -> None:
        """Raise StorageUnavailable unless the database answers."""
        await self.fetchval("SELECT 1")

    async def dedicated(self) -> tuple[Session, Callable[[], Coroutine[Any, Any, None]]]:
        """Open a connection outside the pool; returns it and the coroutine that closes it."""
        with _translated():
            connection = await asyncpg.connect(**self._target.arguments(self._settings))

        async def close() -> None:
            try:
                await asyncio.wait_for(connection.close(), timeout=2)
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection.terminate()

        return Session(connection), close

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Session]:
        """Borrow a connection and run the block in one transaction."""
        async with self.session() as session, session.transaction():
            yield session

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        """Return all rows."""
        async with self._statement() as session:
            return await session.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: Any) -> Any | None:
        """Return the first row or None."""
        async with self._statement() as session:
            return await session.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """Return the first column of the first row or None."""
        async with self._statement() as session:
            return await session.fetchval(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        """Run a statement and return its command tag."""
        async with self._statement() as session:
            return await session.execute(sql, *args)

    @asynccontextmanager
    async def _statement(self) -> AsyncIterator[Session]:
        """Borrow a connection for one statement, which leaves nothing behind in the session.

        What sets session state (locks, settings, LISTEN) uses `session`.
        """
        pool = self._opened()
        with _translated():
            connection = await pool.take(within_s=ACQUIRE_TIMEOUT_S)
        sound = False
        try:
            yield Session(connection)
            sound = True
        except ConstraintViolated:
            sound = True
            raise
        finally:
            if not sound:
                connection.terminate()
            pool.give(connection)


async def _reset(connection: Any) -> bool:
    """Undo what a session may have left behind; return whether the connection is good again."""
    try:
        await connection.reset(timeout=CONNECT_TIMEOUT_S)
    except (asyncpg.PostgresError, *_BROKEN):
        return False
    return True

"""Identity on a real PostgreSQL: a migrated database, doors as a process has them, its journal."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from strongroom.identity import Identity, KeyKind, KeySpec
from strongroom.journal import MARKER
from strongroom.kernel.clock import Clock, SystemClock
from strongroom.storage import Committer, Database
from tests.support.database import TestDatabase

SCOPES = frozenset({"payment:create", "payment:read", "metrics:read"})
_PEPPER = secrets.token_bytes(32)


def hasher(data: bytes) -> bytes:
    return hmac.digest(_PEPPER, data, hashlib.sha256)


class MovableClock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.wall = datetime(2030, 1, 1, tzinfo=UTC)
        self.mono = 1000.0

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def move(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.mono += seconds


class Process:
    """What one process of ours has: its own connections, committer and identity door."""

    def __init__(self, database: Database, committer: Committer, identity: Identity) -> None:
        self.database = database
        self.committer = committer
        self.identity = identity


class House:
    """One migrated database and as many processes on it as a test wants."""

    def __init__(self, pg: TestDatabase, owner: Database) -> None:
        self.pg = pg
        self.owner = owner

    @asynccontextmanager
    async def process(
        self, *, mode: str = "test", clock: Clock | None = None
    ) -> AsyncIterator[Process]:
        target = self.pg.target("strongroom_pay")
        async with AsyncExitStack() as stack:
            database = await Database(target).open()
            stack.push_async_callback(database.close)
            committer = await Committer(target, marker=MARKER).open()
            stack.push_async_callback(committer.close)
            identity = Identity(
                database,
                committer,
                mode=mode,  # type: ignore[arg-type]
                hasher=hasher,
                known_scopes=SCOPES,
                clock=clock or SystemClock(),
            )
            stack.push_async_callback(identity.close)
            yield Process(database, committer, identity)

    async def entries(self, action: str) -> list[dict[str, Any]]:
        rows = await self.owner.fetch(
            "SELECT body FROM journal.entry WHERE action = $1 ORDER BY at, batch_id, n", action
        )
        return [msgspec.json.decode(row["body"]) for row in rows]

    async def everything_stored(self) -> bytes:
        """Return every value of every row of every table, one after the other."""
        tables = await self.owner.fetch(
            "SELECT schemaname || '.' || tablename AS name FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        stored = []
        for table in tables:
            for row in await self.owner.fetch(f"SELECT * FROM {table['name']}"):
                stored += [_bytes_of(value) for value in row.values()]
        return b"\0".join(stored)


def _bytes_of(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def secret_key(of_merchant: str, /, **changes: Any) -> KeySpec:
    fields = {
        "merchant": of_merchant,
        "kind": KeyKind.SECRET,
        "role": "merchant-backend",
        "owner": "order service",
        **changes,
    }
    return KeySpec(**fields)


def operator_key(role: str = "operator-admin", **changes: Any) -> KeySpec:
    fields = {
        "merchant": None,
        "kind": KeyKind.RESTRICTED,
        "role": role,
        "owner": "Ada Example",
        **changes,
    }
    return KeySpec(**fields)


def bearer(secret: Any) -> str:
    return f"Bearer {secret.reveal()}"

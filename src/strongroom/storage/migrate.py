"""Numbered SQL migrations with checksums: forward only, one transaction each, one runner at a time.

An applied file that was edited, or one that disappeared, stops the start: the schema in the
database must be the schema in this release.
"""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.storage.database import Database, Session

ROOMS = (
    "storage", "journal", "keys", "identity", "access", "vault", "ledger", "payments", "detection",
)  # fmt: skip
"""Rooms that own tables, in the order their migrations run."""

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql\Z")
_LOCK = 0x5354524F4E47


class Migration(msgspec.Struct, frozen=True):
    """One numbered SQL file of a room."""

    room: str
    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(rooms: tuple[str, ...] = ROOMS) -> list[Migration]:
    """Return the migrations of this release in the order they run."""
    found = []
    for room in rooms:
        folder = resources.files(f"strongroom.{room}") / "schema"
        if not folder.is_dir():
            continue
        files = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
        for file in files:
            match = _FILE.match(file)
            if match is None:
                raise StrongroomError("bad_migration", f"{room}/schema/{file} is misnamed.")
            sql = (folder / file).read_text("utf-8")
            found.append(Migration(room, int(match[1]), match[2], sql))
    return found


async def migrate(database: Database, rooms: tuple[str, ...] = ROOMS) -> list[Migration]:
    """Apply what is missing and return it. Safe to run from many processes at once.

    Raises:
        StrongroomError: `schema_mismatch` when an applied file was changed or is unknown here.
    """
    applied = []
    async with database.session() as session:
        await session.execute("SELECT pg_advisory_lock($1)", _LOCK)
        try:
            await _prepare(session)
            known = await _applied(session)
            _compare(known, migrations(rooms))
            for migration in migrations(rooms):
                if (migration.room, migration.number) not in known:
                    await _apply(session, migration)
                    applied.append(migration)
        finally:
            await session.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return applied


async def pending(database: Database, rooms: tuple[str, ...] = ROOMS) -> list[Migration]:
    """Return the migrations that the database lacks; raises `schema_mismatch` like `migrate`."""
    async with database.session() as session:
        exists = await session.fetchval("SELECT to_regclass('meta.migration') IS NOT NULL")
        known = await _applied(session) if exists else {}
    _compare(known, migrations(rooms))
    return [m for m in migrations(rooms) if (m.room, m.number) not in known]


async def _prepare(session: Session) -> None:
    await session.execute("CREATE SCHEMA IF NOT EXISTS meta")
    await session.execute(
        "CREATE TABLE IF NOT EXISTS meta.migration ("
        "room text NOT NULL, number int NOT NULL, name text NOT NULL, checksum text NOT NULL, "
        "applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (room, number))"
    )


async def _applied(session: Session) -> dict[tuple[str, int], str]:
    rows = await session.fetch("SELECT room, number, checksum FROM meta.migration")
    return {(row["room"], row["number"]): row["checksum"] for row in rows}


def _compare(known: dict[tuple[str, int], str], ours: list[Migration]) -> None:
    expected = {(m.room, m.number): m.checksum for m in ours}
    for key, checksum in known.items():
        if expected.get(key) != checksum:
            raise StrongroomError(
                "schema_mismatch",
                "The database schema is not the one of this release. Install the release that "
                "last migrated it, or a newer one.",
                detail=f"migration {key[0]}/{key[1]:04d}",
            )


async def _apply(session: Session, migration: Migration) -> None:
    async with session.transaction():
        await session.execute(migration.sql)
        await session.execute(
            "INSERT INTO meta.migration (room, number, name, checksum) VALUES ($1, $2, $3, $4)",
            migration.room,
            migration.number,
            migration.name,
            migration.checksum,
        )

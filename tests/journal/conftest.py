"""Fixtures of the journal's tests: one migrated database, emptied before each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from strongroom.storage.database import Database
from strongroom.storage.embedded import EmbeddedPostgres
from strongroom.storage.migrate import migrate
from tests.journal.support import House
from tests.support.postgres import fresh_database


@pytest.fixture(scope="session")
def journal_database(postgres: EmbeddedPostgres) -> str:
    """A database with the journal's schema; it goes away with the server."""
    return asyncio.run(_made(postgres))


@pytest.fixture
async def house(postgres: EmbeddedPostgres, journal_database: str) -> AsyncIterator[House]:
    await _empty(postgres, journal_database)
    async with House(postgres, journal_database) as house:
        yield house


async def _made(server: EmbeddedPostgres) -> str:
    name = await fresh_database(server)
    owner = await Database(server.target("strongroom_owner", database=name)).open()
    await migrate(owner, ("storage", "journal"))
    await owner.close()
    return name


async def _empty(server: EmbeddedPostgres, name: str) -> None:
    """Cut every connection a test left behind, and empty the tables past their triggers."""
    connection = await asyncpg.connect(**server.connect_kwargs("postgres", database=name))
    try:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await connection.execute(
            "SET session_replication_role = replica; "
            "TRUNCATE journal.entry, journal.batch, journal.tile, journal.checkpoint"
        )
    finally:
        await connection.close()

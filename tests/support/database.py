"""A migrated database of its own for a test, with pools and committers for each role."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from strongroom.journal import MARKER
from strongroom.kernel.ids import new_uuid7
from strongroom.storage import Committer, Database, Target
from strongroom.storage.embedded import EmbeddedPostgres
from strongroom.storage.installation import claim_installation
from strongroom.storage.migrate import migrate
from tests.support.postgres import drop_database, fresh_database


class TestDatabase:
    """One migrated database; pools and committers opened on demand and closed with it."""

    __test__ = False

    def __init__(self, server: EmbeddedPostgres, name: str) -> None:
        self.server = server
        self.name = name
        self.installation = new_uuid7()
        self._stack = AsyncExitStack()

    def target(self, role: str) -> Target:
        """Return where a role connects."""
        return self.server.target(role, database=self.name)

    async def database(self, role: str, *, size: int = 4) -> Database:
        """Return an open pool under a role (`postgres` is the superuser)."""
        database = Database(self.target(role), size=size)
        await database.open()
        self._stack.push_async_callback(database.close)
        return database

    async def committer(self, role: str = "strongroom_pay", *, writers: int = 2) -> Committer:
        """Return an open committer under a role."""
        committer = Committer(self.target(role), marker=MARKER, writers=writers)
        await committer.open()
        self._stack.push_async_callback(committer.close)
        return committer

    async def close(self) -> None:
        """Close what was opened."""
        await self._stack.aclose()


_templates: dict[EmbeddedPostgres, str] = {}
"""A migrated database of each server: copying it is much cheaper than migrating anew."""


async def _template(server: EmbeddedPostgres) -> str:
    made = TestDatabase(server, await fresh_database(server))
    try:
        await migrate(await made.database("strongroom_owner", size=2))
    finally:
        await made.close()
    return made.name


@asynccontextmanager
async def migrated_database(server: EmbeddedPostgres) -> AsyncIterator[TestDatabase]:
    """Make, migrate and finally drop a database."""
    if server not in _templates:
        _templates[server] = await _template(server)
    made = TestDatabase(server, await fresh_database(server, template=_templates[server]))
    try:
        owner = await made.database("strongroom_owner", size=2)
        await claim_installation(owner, made.installation, "test")
        yield made
    finally:
        await made.close()
        await drop_database(server, made.name)

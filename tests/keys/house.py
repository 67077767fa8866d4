"""A real database with everything the keys and the vault need, for their tests."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import asyncpg

from strongroom.journal import MARKER
from strongroom.kernel.ids import new_id, new_uuid7
from strongroom.keys import Keyring, SealedFileRoot
from strongroom.keys.rotation import Job, Level, Rotation
from strongroom.storage import Committer, Database
from strongroom.storage.embedded import EmbeddedPostgres
from strongroom.storage.migrate import migrate
from strongroom.vault.rotation import CardRotation
from tests.support.postgres import drop_database, fresh_database


class MovableClock:
    """A clock that tests move; it starts at the real time."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)
        self._monotonic = 1_000.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def move(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        self._monotonic += seconds


@dataclass
class House:
    """One installation: its database, its root, and a committer of the vault's role."""

    server: EmbeddedPostgres
    name: str
    mode: Literal["test", "live"]
    installation: UUID
    root: SealedFileRoot
    database: Database
    committer: Committer
    root_file: Path
    key_file: Path
    clock: MovableClock = field(default_factory=MovableClock)
    spoiled: bool = False

    async def keyring(self, **options: Any) -> Keyring:
        options.setdefault("clock", self.clock)
        return await Keyring.open(self.database, self.committer, self.root, **options)

    def rotation(self, keyring: Keyring, **options: Any) -> Rotation:
        options.setdefault("settle_s", 0)
        return Rotation(keyring, CardRotation(self.database, keyring), **options)

    async def rotated(self, keyring: Keyring, level: Level, **options: Any) -> Job:
        """Rotate a level from beginning to end."""
        self.clock.move(1)
        rotation = self.rotation(keyring)
        await rotation.start(level, rate=0, **options)
        done = await rotation.work()
        assert done is not None and (done.state, done.problem) == ("done", None)
        await keyring.refresh()
        return done

    async def as_role(self, role: str) -> asyncpg.Connection[Any]:
        return await asyncpg.connect(**self.server.connect_kwargs(role, database=self.name))

    async def sql(self, text: str, *args: Any) -> list[Any]:
        """Run a statement as the owner of everything, who no trigger stops: an attacker's best.

        The database is not reused if it is DDL.
        """
        self.spoiled = self.spoiled or text.split()[0] in _DDL
        connection = await self.as_role("postgres")
        try:
            await connection.execute("SET session_replication_role = replica")
            return list(await connection.fetch(text, *args))
        finally:
            await connection.close()

    async def entries(self, action: str) -> list[Any]:
        return await self.sql(
            "SELECT subject, convert_from(body, 'UTF8') AS body FROM journal.entry "
            "WHERE action = $1 ORDER BY id",
            action,
        )


@asynccontextmanager
async def house(
    server: EmbeddedPostgres, tmp: Path, *, mode: Literal["test", "live"] = "test"
) -> AsyncIterator[House]:
    """Build an installation in an empty database for the length of the block."""
    name = _used.pop(server, None) or await _migrated_database(server)
    installation = new_uuid7()
    await _run(
        server,
        name,
        f"INSERT INTO meta.installation (id, mode, created_at) "
        f"VALUES ('{installation}', '{mode}', now())",
    )
    target = server.target("strongroom_vault", database=name)
    database = await Database(target).open()
    committer = await Committer(target, marker=MARKER).open()
    root_file, key_file = tmp / f"root-{name}", tmp / f"key-{name}"
    root = SealedFileRoot.create(root_file, mode=mode, installation=installation, key_file=key_file)
    built = House(server, name, mode, installation, root, database, committer, root_file, key_file)
    try:
        yield built
    finally:
        await committer.close()
        await database.close()
        if built.spoiled or server in _used:
            await drop_database(server, name)
        else:
            await _run(server, name, _EMPTY)
            _used[server] = name


async def _run(server: EmbeddedPostgres, name: str, statements: str) -> None:
    connection = await asyncpg.connect(**server.connect_kwargs("postgres", database=name))
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


_DDL = {"ALTER", "REVOKE", "GRANT", "COMMENT"}
_EMPTY = "SET session_replication_role = replica;" + "".join(
    f"DELETE FROM {table};"
    for table in (
        "vault.alias",
        "vault.import_job",
        "vault.reveal_hour",
        "vault.reveal_grant",
        "vault.card",
        "vault.client_message",
        "keys.client_key",
        "keys.rotation_job",
        "keys.manifest",
        "keys.revocation",
        "keys.redemption",
        "keys.approval_signature",
        "keys.approval",
        "keys.custodian_revocation",
        "keys.custodian",
        "keys.certificate_revocation",
        "keys.service_revocation",
        "keys.join_use",
        "keys.join_token",
        "keys.certificate",
        "keys.shred",
        "keys.subject_key",
        "keys.dek",
        "keys.index_key",
        "keys.visible_key",
        "keys.service_key",
        "keys.kek",
        "journal.entry",
        "journal.batch",
        "meta.installation",
    )
)
_used: dict[EmbeddedPostgres, str] = {}
"""One emptied database for each server, for the next test: making one takes a second."""

_templates: dict[EmbeddedPostgres, str] = {}


async def _migrated_database(server: EmbeddedPostgres) -> str:
    """Copy a database that was migrated once for each server: a tenth of the time."""
    if server not in _templates:
        template = await fresh_database(server)
        owner = await Database(server.target("strongroom_owner", database=template)).open()
        await migrate(owner, ("storage", "journal", "keys", "identity", "vault"))
        await owner.close()
        _templates[server] = template
    name = f"{_templates[server]}_{secrets.token_hex(4)}"
    connection = await asyncpg.connect(**server.connect_kwargs("postgres"))
    try:
        await connection.execute(
            f"CREATE DATABASE {name} TEMPLATE {_templates[server]} OWNER strongroom_owner"
        )
        await connection.execute(f"GRANT CONNECT ON DATABASE {name} TO strongroom_vault")
    finally:
        await connection.close()
    return name


def new_merchant() -> str:
    return new_id("mer")

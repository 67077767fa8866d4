"""Row-level security: a reading login sees one merchant at a time, or nothing.

Real logins of a real PostgreSQL; the setting, the login's own name, and the auditor's role.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import pytest

from strongroom.journal import Entry, record
from strongroom.kernel.ids import NIL_UUID, id_from, new_uuid7
from strongroom.storage import Change
from tests.support.database import TestDatabase

MINE, THEIRS = (id_from("mer", new_uuid7()) for _ in range(2))
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@asynccontextmanager
async def login(
    pg: TestDatabase, role: str = "strongroom_read", **changes: str
) -> AsyncIterator[asyncpg.Connection]:
    given = {**pg.server.connect_kwargs(role if role in LOGINS else "postgres"), **changes}
    connection = await asyncpg.connect(**{**given, "database": pg.name})
    try:
        yield connection
    finally:
        await connection.close()


LOGINS = ("strongroom_read", "strongroom_pay", "postgres")
PEOPLE = "SELECT count(*) FROM detection.scan_run"
SEEN = "SELECT DISTINCT merchant_id FROM journal.entry"


async def fill(pg: TestDatabase) -> None:
    committer = await pg.committer()
    for merchant in (MINE, THEIRS, None):
        change = Change()
        entry = Entry(
            action="test:thing:make", subject="x", outcome="done", merchant=merchant, actor="t"
        )
        record(change, entry, at=NOW)
        await committer.submit(change)


async def seen(connection: asyncpg.Connection) -> set[str]:
    rows = await connection.fetch(SEEN)
    return {"installation" if row[0] == NIL_UUID else id_from("mer", row[0]) for row in rows}


async def test_a_reading_login_sees_the_merchant_it_names_and_nothing_else(
    pg: TestDatabase,
) -> None:
    await fill(pg)
    async with login(pg) as reader:
        assert await seen(reader) == set(), "no setting, no rows"
        for name in (MINE, THEIRS, "installation"):
            await reader.execute("SELECT set_config('strongroom.merchant', $1, false)", name)
            assert await seen(reader) == {name}
        hostile = ("", "*", "%", "mer_", MINE.upper(), f"{MINE} ", f"{MINE}0", "mer_%", "NULL",
                   "' OR true --", str(NIL_UUID), f"{MINE},{THEIRS}", "Installation")  # fmt: skip
        for name in hostile:
            await reader.execute("SELECT set_config('strongroom.merchant', $1, false)", name)
            assert await seen(reader) == set(), name
        for statement in (
            "SET row_security = off; SELECT * FROM journal.entry",
            "ALTER TABLE journal.entry DISABLE ROW LEVEL SECURITY",
            "DROP POLICY readers ON journal.entry",
            "CREATE POLICY mine ON journal.entry TO strongroom_read USING (true)",
            "SELECT journal.isolate_readers('journal.entry')",
            "SET ROLE strongroom_pay",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await reader.execute(statement)
            await reader.execute("RESET row_security")
    async with login(pg, "strongroom_pay") as serving:
        assert await seen(serving) == {MINE, THEIRS, "installation"}


async def test_a_login_named_after_a_merchant_cannot_name_another(pg: TestDatabase) -> None:
    await fill(pg)
    password = secrets.token_hex(16)
    name = f"strongroom_{MINE}"
    async with login(pg, "postgres") as server:
        await server.execute(
            f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE strongroom_read"
        )
        await server.execute(f"GRANT CONNECT ON DATABASE {pg.name} TO {name}")
        await server.execute(
            "INSERT INTO detection.scan_run VALUES ('logs', now(), now(), 1, 1, 0)"
        )
        try:
            async with login(pg, name, user=name, password=password) as reader:
                assert await seen(reader) == {MINE}
                for other in (THEIRS, "installation", ""):
                    await reader.execute(
                        "SELECT set_config('strongroom.merchant', $1, false)", other
                    )
                    assert await seen(reader) == {MINE}
                await reader.execute("SET ROLE strongroom_read")
                assert await seen(reader) == {MINE}
                assert await reader.fetchval(PEOPLE) == 0, "nor who runs the installation"
            async with login(pg) as report:
                assert await report.fetchval(PEOPLE) == 1
        finally:
            await server.execute(f"REVOKE CONNECT ON DATABASE {pg.name} FROM {name}")
            await server.execute(f"DROP ROLE {name}")


async def test_an_auditor_sees_the_whole_installation(pg: TestDatabase) -> None:
    await fill(pg)
    password, name = secrets.token_hex(16), f"auditor_{secrets.token_hex(4)}"
    async with login(pg, "postgres") as server:
        await server.execute("CREATE ROLE strongroom_auditor NOLOGIN IN ROLE strongroom_read")
        await server.execute(
            f"CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE strongroom_auditor"
        )
        await server.execute(f"GRANT CONNECT ON DATABASE {pg.name} TO {name}")
        try:
            async with login(pg, name, user=name, password=password) as auditor:
                assert await seen(auditor) == {MINE, THEIRS, "installation"}
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await auditor.execute("DELETE FROM journal.entry")
            async with login(pg) as reader:
                assert await seen(reader) == set(), "other readers are as they were"
        finally:
            await server.execute(f"REVOKE CONNECT ON DATABASE {pg.name} FROM {name}")
            await server.execute(f"DROP ROLE {name}")
            await server.execute("DROP ROLE strongroom_auditor")


async def test_every_tenant_table_that_readers_may_see_is_isolated(pg: TestDatabase) -> None:
    """A table that a room adds and forgets to isolate is named here."""
    async with login(pg, "postgres") as server:
        rows = await server.fetch(
            "SELECT n.nspname || '.' || c.relname AS name, c.relrowsecurity AS on, "
            "(SELECT pg_get_expr(polqual, polrelid) FROM pg_policy "
            "WHERE polrelid = c.oid AND polname = 'readers') AS condition "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'merchant_id' "
            "WHERE c.relkind IN ('r', 'p') AND has_any_column_privilege("
            "'strongroom_read', c.oid, 'SELECT') ORDER BY 1"
        )
        names = {row["name"] for row in rows}
        assert {"journal.entry", "pay.payment", "ledger.posting", "iam.api_key"} <= names
        assert [row["name"] for row in rows if not row["on"]] == []
        for row in rows:
            assert re.search(r"merchant_id = .*reader_merchant\(\)", row["condition"]), row["name"]


async def test_the_installations_own_tables_are_hidden_from_merchants(pg: TestDatabase) -> None:
    """All that readers may see and that belongs to no merchant, but what tells nothing of anybody.

    Of the journal without its entries a merchant checks proofs; the schema's versions are public.
    """
    async with login(pg, "postgres") as server:
        rows = await server.fetch(
            "SELECT n.nspname || '.' || c.relname AS name, "
            "(SELECT pg_get_expr(polqual, polrelid) FROM pg_policy "
            "WHERE polrelid = c.oid AND polname = 'readers' AND c.relrowsecurity) AS condition "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind IN ('r', 'p') AND has_any_column_privilege("
            "'strongroom_read', c.oid, 'SELECT') AND n.nspname NOT IN "
            "('pg_catalog', 'information_schema', 'meta', 'journal') AND NOT EXISTS ("
            "SELECT 1 FROM pg_attribute WHERE attrelid = c.oid AND attname = 'merchant_id')"
        )
    assert {"iam.operator", "iam.break_glass", "detection.finding"} <= {r["name"] for r in rows}
    for row in rows:
        assert "reader_is_merchant" in (row["condition"] or ""), row["name"]


async def test_ids_are_read_as_the_program_writes_them(pg: TestDatabase) -> None:
    async with login(pg) as reader:
        for value in (NIL_UUID, *(new_uuid7() for _ in range(20))):
            digits = id_from("mer", value).removeprefix("mer_")
            assert await reader.fetchval("SELECT journal.uuid_of($1)", digits) == value
        for wrong in ("", "8" + "0" * 25, "0" * 25, "0" * 27, "0" * 25 + "u", "0" * 25 + "I"):
            assert await reader.fetchval("SELECT journal.uuid_of($1)", wrong) is None

"""The live catalogue: every column on the data map, roles apart, migrations guarded."""

from __future__ import annotations

import asyncio

import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_uuid7
from strongroom.storage import datamap, migrate
from strongroom.storage.change import StorageUnavailable
from strongroom.storage.embedded import EmbeddedPostgres
from strongroom.storage.installation import claim_installation
from tests.support.database import TestDatabase
from tests.support.postgres import drop_database, fresh_database


async def test_every_column_is_on_the_data_map(pg: TestDatabase) -> None:
    columns = await datamap.read(await pg.database("postgres"))
    assert len(columns) > 50
    missing = [f"{c.schema}.{c.table}.{c.name}" for c in datamap.undeclared(columns)]
    assert missing == []


async def test_sensitive_authentication_data_has_no_column(pg: TestDatabase) -> None:
    columns = await datamap.read(await pg.database("postgres"))
    assert [c for c in columns if c.data_class == "sad"] == []


async def test_a_column_without_a_class_is_found(pg: TestDatabase) -> None:
    owner = await pg.database("strongroom_owner")
    await owner.execute("CREATE TABLE pay.unclassed (secret_thing text)")
    found = datamap.undeclared(await datamap.read(owner))
    assert [(c.table, c.name) for c in found] == [("unclassed", "secret_thing")]


async def test_tenant_tables_begin_their_key_with_the_merchant(pg: TestDatabase) -> None:
    owner = await pg.database("strongroom_owner")
    rows = await owner.fetch(
        "SELECT c.relname, (SELECT attname FROM pg_attribute WHERE attrelid = c.oid "
        "AND attnum = i.indkey[0]) AS first FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE i.indisprimary "
        "AND EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid "
        "AND a.attname = 'merchant_id') AND n.nspname NOT LIKE 'pg_%'"
    )
    assert rows
    assert {row["relname"]: row["first"] for row in rows if row["first"] != "merchant_id"} == {}


@pytest.mark.parametrize("role", ["strongroom_pay", "strongroom_journal", "strongroom_read"])
async def test_only_the_vault_role_reads_vault_and_keys(pg: TestDatabase, role: str) -> None:
    owner = await pg.database("strongroom_owner")
    tables = await owner.fetch(
        "SELECT schemaname || '.' || tablename AS name FROM pg_tables "
        "WHERE schemaname IN ('vault', 'keys')"
    )
    assert tables
    database = await pg.database(role)
    for table in tables:
        with pytest.raises(StorageUnavailable) as denied:
            await database.fetch(f"SELECT * FROM {table['name']}")
        assert "42501" in denied.value.detail


async def test_many_processes_may_migrate_at_once(postgres: EmbeddedPostgres) -> None:
    name = await fresh_database(postgres)
    made = [TestDatabase(postgres, name) for _ in range(3)]
    try:
        owners = [await one.database("strongroom_owner", size=2) for one in made]
        applied = await asyncio.gather(*(migrate.migrate(owner) for owner in owners))
        assert sorted(map(len, applied)) == [0, 0, len(migrate.migrations())]
        assert await migrate.pending(owners[0]) == []
    finally:
        for one in made:
            await one.close()
        await drop_database(postgres, name)


async def test_an_edited_migration_stops_the_start(pg: TestDatabase) -> None:
    owner = await pg.database("strongroom_owner")
    await owner.execute("UPDATE meta.migration SET checksum = 'x' WHERE room = 'payments'")
    with pytest.raises(StrongroomError) as caught:
        await migrate.migrate(owner)
    assert caught.value.code == "schema_mismatch"


async def test_a_database_belongs_to_one_installation_and_mode(pg: TestDatabase) -> None:
    owner = await pg.database("strongroom_owner")
    await claim_installation(owner, pg.installation, "test")
    for installation, mode in ((new_uuid7(), "test"), (pg.installation, "live")):
        with pytest.raises(StrongroomError) as caught:
            await claim_installation(owner, installation, mode)
        assert caught.value.code == "installation_mismatch"


async def test_no_secondary_index_can_stand_in_for_a_primary_key(pg: TestDatabase) -> None:
    """A young generic plan would take it for updates by key and read all rows of a merchant."""
    owner = await pg.database("strongroom_owner")
    rows = await owner.fetch(
        "SELECT i.indexrelid::regclass::text AS name FROM pg_index i "
        "JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] "
        "WHERE a.attname = 'merchant_id' AND NOT i.indisprimary AND i.indpred IS NULL "
        "AND n.nspname NOT LIKE 'pg_%'"
    )
    assert [row["name"] for row in rows] == []

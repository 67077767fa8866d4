"""What `doctor` asks the database about itself: settings, roles and rights, no data."""

from __future__ import annotations

from datetime import datetime

from strongroom.storage import Database

SETTINGS = (
    "server_version",
    "server_version_num",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "data_checksums",
)


async def settings(database: Database) -> dict[str, str]:
    """Return the engine's settings that durability depends on."""
    rows = await database.fetch(
        "SELECT name, current_setting(name) AS value FROM unnest($1::text[]) AS name",
        list(SETTINGS),
    )
    return {row["name"]: row["value"] for row in rows}


async def now(database: Database) -> datetime:
    """Return the database's wall clock."""
    moment: datetime = await database.fetchval("SELECT clock_timestamp()")
    return moment


async def installed_at(database: Database) -> datetime:
    """Return when this installation was made."""
    moment: datetime = await database.fetchval("SELECT created_at FROM meta.installation")
    return moment


async def intrusions(database: Database) -> list[str]:
    """Return what roles can do in the schemas of vault and keys that is not theirs to do."""
    rows = await database.fetch(
        "SELECT r.rolname || ' may use ' || n.nspname || '.' || c.relname AS told "
        "FROM pg_roles r CROSS JOIN pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE r.rolname IN ('strongroom_pay', 'strongroom_journal', 'strongroom_read') "
        "AND n.nspname IN ('vault', 'keys') AND c.relkind IN ('r', 'p', 'v', 'm') "
        "AND has_schema_privilege(r.oid, n.oid, 'USAGE') "
        "AND has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE') "
        "ORDER BY 1 LIMIT 10"
    )
    return [row["told"] for row in rows]


async def overpowered(database: Database) -> list[str]:
    """Return our roles that are superusers, bypass row security, or can become the vault's."""
    rows = await database.fetch(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'strongroom\\_%' "
        "AND (rolsuper OR rolbypassrls OR rolcreaterole OR (rolname <> 'strongroom_owner' "
        "AND rolname <> 'strongroom_vault' AND EXISTS (SELECT 1 FROM pg_roles v "
        "WHERE v.rolname = 'strongroom_vault' AND pg_has_role(pg_roles.oid, v.oid, 'MEMBER')))) "
        "ORDER BY rolname"
    )
    return [row["rolname"] for row in rows]

"""What commands ask the database: about itself, its roles and rights, and who somebody is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

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


Row = Mapping[str, Any]
"""One row by column."""


async def api_key(database: Database, key: UUID) -> Row | None:
    """Return what decides about a key, and the status of its merchant."""
    return await database.fetchrow(
        "SELECT k.merchant_id, k.kind, k.role, k.scopes::text AS scopes, m.status "
        "FROM iam.api_key k LEFT JOIN iam.merchant m ON m.merchant_id = k.merchant_id "
        "WHERE k.id = $1",
        key,
    )


async def operator(database: Database, operator_id: UUID) -> Row | None:
    """Return an operator's role."""
    return await database.fetchrow(
        "SELECT role FROM iam.operator WHERE operator_id = $1", operator_id
    )


async def workload(database: Database, spiffe_id: str) -> Row | None:
    """Return what decides about a service, and the status of its merchant."""
    return await database.fetchrow(
        "SELECT w.merchant_id, w.role, w.scopes::text AS scopes, m.status "
        "FROM iam.workload w LEFT JOIN iam.merchant m ON m.merchant_id = w.merchant_id "
        "WHERE w.spiffe_id = $1 AND w.revoked_at IS NULL",
        spiffe_id,
    )


async def payment(database: Database, payment_id: UUID) -> Row | None:
    """Return whose a payment is and how it stands; found by key, one look for each merchant."""
    return await database.fetchrow(
        "SELECT p.merchant_id, p.status, p.currency FROM iam.merchant m JOIN pay.payment p "
        "ON p.merchant_id = m.merchant_id AND p.id = $1",
        payment_id,
    )


async def owner_of_token(database: Database, token: UUID) -> UUID | None:
    """Return whose a token is; nothing of its card is read."""
    found = await database.fetchval(
        "SELECT c.merchant_id FROM iam.merchant m JOIN vault.card c "
        "ON c.merchant_id = m.merchant_id AND c.id = $1",
        token,
    )
    return found if isinstance(found, UUID) else None


async def grants(database: Database) -> list[dict[str, Any]]:
    """Return each role's rights on each table: whole, by column, and whether rows are narrowed."""
    rows = await database.fetch(
        "WITH granted AS ("
        "SELECT grantee, table_schema || '.' || table_name AS name, "
        "string_agg(privilege_type, ' ' ORDER BY privilege_type) AS rights, "
        "NULL::text AS columns FROM information_schema.role_table_grants "
        "WHERE grantee LIKE 'strongroom\\_%' AND grantee <> 'strongroom_owner' GROUP BY 1, 2 "
        "UNION ALL "
        "SELECT c.grantee, c.table_schema || '.' || c.table_name, NULL, "
        "string_agg(c.privilege_type || ' ' || c.column_name, ', ' "
        "ORDER BY c.privilege_type, c.column_name) FROM information_schema.role_column_grants c "
        "WHERE c.grantee LIKE 'strongroom\\_%' AND c.grantee <> 'strongroom_owner' "
        "AND NOT EXISTS (SELECT 1 FROM information_schema.role_table_grants t "
        "WHERE t.grantee = c.grantee AND t.table_schema = c.table_schema "
        "AND t.table_name = c.table_name AND t.privilege_type = c.privilege_type) GROUP BY 1, 2) "
        "SELECT g.grantee, g.name, string_agg(g.rights, ' ') AS rights, "
        "string_agg(g.columns, ' ') AS columns, "
        "(SELECT pg_get_expr(p.polqual, p.polrelid) FROM pg_policy p "
        "WHERE p.polrelid = to_regclass(g.name) AND p.polname = 'readers' "
        "AND g.grantee = 'strongroom_read') AS narrowed "
        "FROM granted g GROUP BY 1, 2 ORDER BY 1, 2"
    )
    return [
        {
            "role": row["grantee"],
            "table": row["name"],
            "rights": row["rights"] or "",
            "columns": row["columns"] or "",
            "rows": _rows_of(row["narrowed"]),
        }
        for row in rows
    ]


def _rows_of(condition: str | None) -> str:
    """Return in words which rows a policy leaves to readers."""
    if condition is None:
        return "all"
    return "no merchant's login" if "reader_is_merchant" in condition else "one merchant's"

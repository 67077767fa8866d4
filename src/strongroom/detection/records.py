"""The SQL of detection, and nobody else's: findings, runs, and reading every column there is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from strongroom.detection.model import Finding
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.storage import Change, Claim, Database, Guard, Session

_CHANGING = {
    "severity": "text",
    "state": "text",
    "detail": "text",
    "confidence": "text",
    "count": "int4",
    "last_seen_at": "timestamptz",
    "changed_at": "timestamptz",
    "changed_by": "text",
    "reason": "text",
    "disposition": "text",
    "sad_checked": "bool",
    "source": "text",
    "fix": "text",
}
_FIXED = {
    "id": "uuid",
    "identity": "bytea",
    "kind": "text",
    "place": "text",
    "last4": "text",
    "brand": "text",
    "opened_at": "timestamptz",
    "version": "int4",
}
FINDING = Claim("detection.finding", {**_FIXED, **_CHANGING}, key=("identity",), id_column="id")
FINDING_CHANGED = Guard("detection.finding", keys={"id": "uuid"}, sets=_CHANGING)

_FINDING = """
SELECT id, identity, kind, severity, state, place, detail, last4, brand, confidence, count,
       opened_at, last_seen_at, changed_at, changed_by, reason, disposition, sad_checked, source,
       fix, version
FROM detection.finding
"""
_BY_ID = _FINDING + "WHERE id = $1"
_BY_IDENTITY = _FINDING + "WHERE identity = ANY ($1::bytea[])"
_PAGE = _FINDING + "WHERE id > $1 AND state = ANY ($2::text[]) ORDER BY id LIMIT $3"
_OPEN = "SELECT count(*) FROM detection.finding WHERE state = 'open' AND kind <> 'test_pan'"

_CLAIM_RUN = """
INSERT INTO detection.scan_run (what, started_at, looked_at_bytes, hits, unread)
VALUES ($1, now(), 0, 0, 0)
ON CONFLICT (what) DO UPDATE SET started_at = now(), finished_at = NULL
WHERE detection.scan_run.started_at < now() - $2::interval
RETURNING what
"""
_RUN_DUE = """
SELECT count(*) < 2 FROM detection.scan_run WHERE started_at >= now() - $1::interval
"""
_END_RUN = """
UPDATE detection.scan_run
SET finished_at = now(), looked_at_bytes = $2, hits = $3, unread = $4 WHERE what = $1
"""

_TABLES = """
SELECT n.nspname AS schema, c.relname AS table, c.reltuples::bigint AS rows,
       array_agg(a.attname::text ORDER BY a.attnum) AS columns,
       format('SELECT ctid::text AS row, %s FROM ONLY %I.%I',
              string_agg(CASE WHEN a.atttypid = 'bytea'::regtype THEN format('%I', a.attname)
                              ELSE format('%I::text', a.attname) END, ', ' ORDER BY a.attnum),
              n.nspname, c.relname) AS reading
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'm')
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_toast%'
  AND n.nspname NOT LIKE 'pg\\_temp%'
  AND a.atttypid NOT IN ('bool'::regtype, 'int2'::regtype, 'int4'::regtype, 'uuid'::regtype,
                         'timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype)
GROUP BY n.nspname, c.relname, c.reltuples
ORDER BY n.nspname, c.relname
"""


class Stored(msgspec.Struct, frozen=True):
    """A finding with what makes it one."""

    finding: Finding
    identity: bytes


class Table(msgspec.Struct, frozen=True):
    """A table with the columns that can hold a card number, and the statement that reads them."""

    name: str
    columns: list[str]
    rows: int
    reading: str


def add_finding(change: Change, stored: Stored) -> None:
    """Add a new finding to a Change; a twin that came first wins."""
    one = stored.finding
    head = (uuid_of(one.id, "fnd"), stored.identity, one.kind, one.place, one.last4, one.brand)
    change.add(FINDING, (*head, one.opened_at, 1, *_changing(one)))


def set_finding(change: Change, finding: Finding) -> None:
    """Add a finding's next state to a Change, guarded by the version it had."""
    key = (uuid_of(finding.id, "fnd"), finding.version)
    change.add(FINDING_CHANGED, (*key, *_changing(finding)))


async def finding(database: Database, finding_id: UUID) -> Stored | None:
    """Return one finding."""
    row = await database.fetchrow(_BY_ID, finding_id)
    return None if row is None else _stored(row)


async def known(database: Database, identities: Sequence[bytes]) -> dict[bytes, Finding]:
    """Return the findings that stand already for what was found."""
    rows = [_stored(row) for row in await database.fetch(_BY_IDENTITY, list(identities))]
    return {row.identity: row.finding for row in rows}


async def page(
    database: Database, *, states: Sequence[str], after: UUID, limit: int
) -> list[Finding]:
    """Return findings in these states, oldest first."""
    rows = await database.fetch(_PAGE, after, list(states), limit)
    return [_stored(row).finding for row in rows]


async def count_open(database: Database) -> int:
    """Return how many findings wait for somebody."""
    return int(await database.fetchval(_OPEN))


async def run_is_due(database: Database, *, every: timedelta) -> bool:
    """Return whether one of the two periodic scans did not start for so long."""
    return bool(await database.fetchval(_RUN_DUE, every))


async def claim_run(database: Database, what: str, *, every: timedelta) -> bool:
    """Return whether this process is the one to run a periodic scan now."""
    return await database.fetchval(_CLAIM_RUN, what, every) is not None


async def end_run(database: Database, what: str, *, size: int, hits: int, unread: int) -> None:
    """Note what a periodic scan did."""
    await database.execute(_END_RUN, what, size, hits, unread)


async def tables(session: Session) -> list[Table]:
    """Return every table with the columns to look into."""
    return [
        Table(
            f"{row['schema']}.{row['table']}", row["columns"], max(0, row["rows"]), row["reading"]
        )
        for row in await session.fetch(_TABLES)
    ]


async def values(session: Session, table: Table) -> AsyncIterator[Any]:
    """Stream a table's rows through a server-side cursor; needs a transaction."""
    async for row in session.rows(table.reading, chunk=500):
        yield row


def _changing(one: Finding) -> tuple[Any, ...]:
    return (
        one.severity,
        one.state,
        one.detail,
        one.confidence,
        one.count,
        one.last_seen_at,
        one.changed_at,
        one.changed_by,
        one.reason,
        one.disposition,
        one.sad_checked,
        one.source,
        one.fix,
    )


def _stored(row: Any) -> Stored:
    at: dict[str, datetime] = {
        name: row[name] for name in ("opened_at", "last_seen_at", "changed_at")
    }
    return Stored(
        Finding(
            id=id_from("fnd", row["id"]),
            kind=row["kind"],
            severity=row["severity"],
            state=row["state"],
            place=row["place"],
            detail=row["detail"],
            last4=row["last4"],
            brand=row["brand"],
            confidence=row["confidence"],
            count=row["count"],
            changed_by=row["changed_by"],
            reason=row["reason"],
            disposition=row["disposition"],
            sad_checked=row["sad_checked"],
            source=row["source"],
            fix=row["fix"],
            version=row["version"],
            **at,
        ),
        row["identity"],
    )

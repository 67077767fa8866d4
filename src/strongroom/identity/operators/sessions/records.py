"""The SQL of sessions, and nobody else's. Tokens and devices get here as keyed hashes only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from strongroom.identity.operators.model import Method, SessionRecord, SessionView
from strongroom.kernel.ids import id_from
from strongroom.storage import Change, Database, Guard, Insert

_WHEN = "timestamptz"
SESSION = Insert(
    "iam.operator_session",
    {
        "id": "uuid",
        "operator_id": "uuid",
        "hash": "bytea",
        "device": "bytea",
        "method": "text",
        "aal": "int4",
        "mfa_at": _WHEN,
        "started_at": _WHEN,
        "seen_at": _WHEN,
        "role": "text",
        "version": "int4",
    },
)
SESSION_RENEWED = Guard(
    "iam.operator_session",
    keys={"id": "uuid"},
    sets={"hash": "bytea", "aal": "int4", "mfa_at": _WHEN, "seen_at": _WHEN},
)
SESSION_ENDED = Guard("iam.operator_session", keys={"id": "uuid"}, sets={"ended_at": _WHEN})
_SESSION = """
SELECT s.hash, s.id AS uuid, s.operator_id,
       CASE WHEN s.role = 'operator-read' THEN s.role ELSE o.role END AS role,
       o.status, s.device, s.aal, s.mfa_at, s.started_at, s.seen_at, s.ended_at,
       o.sessions_from, s.version, s.method
FROM iam.operator_session s JOIN iam.operator o ON o.operator_id = s.operator_id
WHERE """
_SEEN_MANY = """
UPDATE iam.operator_session s SET seen_at = used.at
FROM unnest($1::uuid[], $2::timestamptz[]) AS used(id, at)
WHERE s.id = used.id AND s.seen_at < used.at
"""


def add(
    change: Change,
    uuid: UUID,
    operator: UUID,
    digest: bytes,
    *,
    device: bytes,
    method: Method,
    aal: int,
    at: datetime,
    mfa_at: datetime | None,
    role: str | None,
) -> None:
    """Add a new session to a Change; `role` is what it may be worth at most."""
    change.add(SESSION, (uuid, operator, digest, device, method, aal, mfa_at, at, at, role, 1))


def set_renewed(
    change: Change,
    session: SessionRecord,
    digest: bytes,
    *,
    aal: int,
    mfa_at: datetime,
    at: datetime,
) -> None:
    """Add a session's next token to a Change, guarded by its version."""
    change.add(SESSION_RENEWED, (session.uuid, session.version, digest, aal, mfa_at, at))


def set_ended(change: Change, session: SessionRecord, *, at: datetime) -> None:
    """Add a session's end to a Change, guarded by its version."""
    change.add(SESSION_ENDED, (session.uuid, session.version, at))


async def sessions_by_hash(database: Database, digests: Sequence[bytes]) -> list[SessionRecord]:
    """Return the sessions that have one of these hashes, with what their accounts say now."""
    rows = await database.fetch(_SESSION + "s.hash = ANY ($1::bytea[])", list(digests))
    return [_session(row) for row in rows]


async def session(database: Database, uuid: UUID) -> SessionRecord | None:
    """Return one session."""
    row = await database.fetchrow(_SESSION + "s.id = $1", uuid)
    return None if row is None else _session(row)


async def sessions_of(
    database: Database, operator: UUID, *, since: datetime, idle: datetime, limit: int
) -> list[SessionView]:
    """Return a person's newest sessions since a moment."""
    rows = await database.fetch(
        _SESSION + "s.operator_id = $1 AND s.started_at > $2 ORDER BY s.id DESC LIMIT $3",
        operator,
        since,
        limit,
    )
    return [_session_view(row, since=since, idle=idle) for row in rows]


async def knows_device(database: Database, operator: UUID, device: bytes, since: datetime) -> bool:
    """Return whether a person signed in from a device since their sessions last ended."""
    return bool(
        await database.fetchval(
            "SELECT EXISTS (SELECT 1 FROM iam.operator_session "
            "WHERE operator_id = $1 AND device = $2 AND started_at > $3)",
            operator,
            device,
            since,
        )
    )


async def devices_of(database: Database, operator: UUID) -> list[bytes]:
    """Return the devices that a person signed in from."""
    rows = await database.fetch(
        "SELECT DISTINCT device FROM iam.operator_session WHERE operator_id = $1 LIMIT 1000",
        operator,
    )
    return [row["device"] for row in rows]


async def note_seen(database: Database, used: Sequence[tuple[UUID, datetime]]) -> None:
    """Move the last use of many sessions forward."""
    ids, times = zip(*used, strict=True)
    await database.execute(_SEEN_MANY, list(ids), list(times))


def _session(row: Any) -> SessionRecord:
    fields = {name: row[name] for name in SessionRecord.__struct_fields__ if name != "operator"}
    return SessionRecord(operator=id_from("opr", row["operator_id"]), **fields)


def _session_view(row: Any, *, since: datetime, idle: datetime) -> SessionView:
    ended = row["ended_at"] is not None or row["started_at"] <= row["sessions_from"]
    return SessionView(
        id=id_from("ses", row["uuid"]),
        operator=id_from("opr", row["operator_id"]),
        method=row["method"],
        aal=row["aal"],
        started_at=row["started_at"],
        seen_at=row["seen_at"],
        status="ended" if ended else "idle" if row["seen_at"] <= idle else "active",
    )


async def hashes_of(database: Database, operator: UUID) -> list[bytes]:
    """Return the hashes of a person's newest sessions."""
    rows = await database.fetch(
        "SELECT hash FROM iam.operator_session WHERE operator_id = $1 ORDER BY id DESC LIMIT 1000",
        operator,
    )
    return [row["hash"] for row in rows]


async def purge(database: Database, *, before: datetime) -> None:
    """Delete sessions that started long ago."""
    await database.execute("DELETE FROM iam.operator_session WHERE started_at < $1", before)

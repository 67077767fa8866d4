"""The SQL of gateway events: kept once each, and what they make due."""

from __future__ import annotations

from datetime import datetime, timedelta

from strongroom.kernel.ids import uuid_of
from strongroom.storage import Database

RETENTION = timedelta(days=90)


async def hurry(
    database: Database,
    now: datetime,
    *,
    operation_id: str | None,
    gateway: str,
    reference: str | None,
) -> int:
    """Make pending operations that a gateway event speaks of due at once; return how many."""
    tag = await database.execute(
        "UPDATE pay.operation SET next_check_at = $1 WHERE status = 'pending' AND ("
        "(id = $2 AND checks > 0) OR (merchant_id, payment_id) IN ("
        "SELECT merchant_id, id FROM pay.payment "
        "WHERE gateway = $3 AND gateway_reference = $4 AND status = 'requires_action'))",
        now,
        uuid_of(operation_id, "op") if operation_id else None,
        gateway,
        reference,
    )
    return int(tag.rsplit(" ", 1)[-1])


async def note_event(
    database: Database,
    *,
    gateway: str,
    event_id: str,
    kind: str,
    reference: str | None,
    operation_id: str | None,
    now: datetime,
) -> bool:
    """Store a verified gateway event; False when it was stored before."""
    tag = await database.execute(
        "INSERT INTO pay.gateway_event (gateway, event_id, type, gateway_reference, operation_id, "
        "received_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        gateway,
        event_id,
        kind,
        reference,
        uuid_of(operation_id, "op") if operation_id else None,
        now,
    )
    return tag.endswith(" 1")


async def purge_events(database: Database, now: datetime) -> int:
    """Delete gateway events past their retention; return how many."""
    tag = await database.execute(
        "DELETE FROM pay.gateway_event WHERE received_at < $1", now - RETENTION
    )
    return int(tag.rsplit(" ", 1)[-1])

"""The SQL of recoveries, and nobody else's."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from strongroom.identity.operators.model import RecoveryView
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.storage import Change, Database, Insert, Update

_WHEN = "timestamptz"
RECOVERY = Insert(
    "iam.operator_recovery",
    {
        "id": "uuid",
        "operator_id": "uuid",
        "asked_by": "text",
        "asked_at": _WHEN,
        "reason": "text",
        "until": _WHEN,
    },
)
RECOVERY_APPROVED = Update(
    "iam.operator_recovery", keys={"id": "uuid"}, sets={"approved_by": "text", "approved_at": _WHEN}
)
_OPEN_RECOVERIES = (
    "SELECT id, operator_id, asked_by, asked_at, reason, until, approved_by, approved_at "
    "FROM iam.operator_recovery WHERE approved_at IS NULL AND until > $1 "
)


def ask(change: Change, recovery: RecoveryView) -> None:
    """Add a recovery that waits for a second person."""
    change.add(
        RECOVERY,
        (
            uuid_of(recovery.id, "rcv"),
            uuid_of(recovery.operator, "opr"),
            recovery.asked_by,
            recovery.asked_at,
            recovery.reason,
            recovery.until,
        ),
    )


def approve(change: Change, recovery: RecoveryView, approver: str, *, at: datetime) -> None:
    """Add the second person's word; the account's guard lets one of several count."""
    change.add(RECOVERY_APPROVED, (uuid_of(recovery.id, "rcv"), approver, at))


async def open_recoveries(database: Database, *, now: datetime) -> list[RecoveryView]:
    """Return the recoveries that wait for a second person."""
    rows = await database.fetch(_OPEN_RECOVERIES + "ORDER BY id LIMIT 100", now)
    return [_recovery(row) for row in rows]


async def open_recovery(
    database: Database, operator: UUID, *, now: datetime
) -> RecoveryView | None:
    """Return the newest recovery of an account that waits for a second person."""
    row = await database.fetchrow(
        _OPEN_RECOVERIES + "AND operator_id = $2 ORDER BY id DESC LIMIT 1", now, operator
    )
    return None if row is None else _recovery(row)


def _recovery(row: Any) -> RecoveryView:
    return RecoveryView(
        id=id_from("rcv", row["id"]),
        operator=id_from("opr", row["operator_id"]),
        asked_by=row["asked_by"],
        asked_at=row["asked_at"],
        reason=row["reason"],
        until=row["until"],
        approved_by=row["approved_by"],
        approved_at=row["approved_at"],
    )

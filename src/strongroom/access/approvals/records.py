"""The SQL of four eyes, and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from strongroom.access.approvals.model import Approval, Decided, End, Parameter, Statement
from strongroom.kernel.ids import NIL_UUID, id_from, new_uuid7, uuid_of
from strongroom.storage import Change, Claim, Database

APPROVAL = Claim(
    "iam.approval",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "action": "text",
        "resource": "text",
        "parameters": "bytea",
        "action_sha256": "bytea",
        "nonce": "bytea",
        "policy_set": "text",
        "requester": "text",
        "person": "text",
        "needed": "int4",
        "reason": "text",
        "created_at": "timestamptz",
        "expires_at": "timestamptz",
        "mac": "bytea",
    },
    key=("merchant_id", "id"),
    id_column="id",
)
DECISION = Claim(
    "iam.approval_decision",
    {
        "merchant_id": "uuid",
        "approval_id": "uuid",
        "operator": "text",
        "id": "uuid",
        "aal": "int4",
        "proved_at": "timestamptz",
        "decided_at": "timestamptz",
        "reason": "text",
        "mac": "bytea",
    },
    key=("merchant_id", "approval_id", "operator"),
    id_column="id",
)
END = Claim(
    "iam.approval_end",
    {
        "merchant_id": "uuid",
        "approval_id": "uuid",
        "id": "uuid",
        "how": "text",
        "ended_at": "timestamptz",
        "ended_by": "text",
        "reason": "text",
        "used_for": "bytea",
    },
    key=("merchant_id", "approval_id"),
    id_column="id",
)

_APPROVAL = (
    "SELECT a.merchant_id, a.id, a.action, a.resource, a.parameters, a.action_sha256, a.nonce, "
    "a.policy_set, a.requester, a.person, a.needed, a.reason, a.created_at, a.expires_at, a.mac, "
    "e.how, e.ended_at, e.ended_by, e.reason AS end_reason, e.used_for "
    "FROM iam.approval a LEFT JOIN iam.approval_end e "
    "ON e.merchant_id = a.merchant_id AND e.approval_id = a.id "
)
_BY_ID = _APPROVAL + "WHERE a.id = $1"
_PAGE = (
    _APPROVAL + "WHERE a.id < $1 AND ($2::uuid IS NULL OR a.merchant_id = $2) "
    "AND (NOT $3 OR (e.how IS NULL AND a.expires_at > $4)) ORDER BY a.id DESC LIMIT $5"
)
_LATE = _APPROVAL + "WHERE e.how IS NULL AND a.expires_at <= $1 ORDER BY a.expires_at LIMIT $2"
_APPROVED_BY = (
    "SELECT d.approval_id FROM iam.approval_decision d WHERE d.merchant_id = a.merchant_id "
    "AND d.approval_id = a.id AND d.operator = $1"
)
_OF_PERSON = (
    f"{_APPROVAL} WHERE e.how IS NULL AND (a.requester = $1 OR a.person = $1 "
    f"OR EXISTS ({_APPROVED_BY})) ORDER BY a.id LIMIT $2"
)
_DECISIONS = (
    "SELECT operator, aal, proved_at, decided_at, reason, mac FROM iam.approval_decision "
    "WHERE merchant_id = $1 AND approval_id = $2 ORDER BY id"
)
_OPEN = (
    "SELECT count(*) AS everybody, count(*) FILTER (WHERE a.requester = $2) AS own "
    "FROM iam.approval a WHERE a.expires_at > $1 AND NOT EXISTS (SELECT 1 FROM iam.approval_end e "
    "WHERE e.merchant_id = a.merchant_id AND e.approval_id = a.id)"
)
_LAST = UUID(int=2**128 - 1)


class Stored(msgspec.Struct, frozen=True):
    """A request with the mac over it."""

    approval: Approval
    mac: bytes


def tenant(merchant: str | None) -> UUID:
    """Return the column value for a merchant; None is the installation."""
    return NIL_UUID if merchant is None else uuid_of(merchant, "mer")


def add(change: Change, approval: Approval, *, parameters: bytes, mac: bytes) -> None:
    """Add a request."""
    asked = approval.statement
    change.add(
        APPROVAL,
        (
            tenant(asked.merchant),
            uuid_of(approval.id, "apr"),
            asked.action,
            asked.resource,
            parameters,
            approval.action_sha256,
            asked.nonce,
            asked.policy_set,
            asked.requester,
            approval.person,
            approval.needed,
            approval.reason,
            approval.created_at,
            approval.expires_at,
            mac,
        ),
    )


def add_decision(change: Change, approval: Approval, decided: Decided, *, mac: bytes) -> None:
    """Claim a person's one approval of a request."""
    change.add(
        DECISION,
        (
            tenant(approval.merchant),
            uuid_of(approval.id, "apr"),
            decided.operator,
            new_uuid7(),
            decided.aal,
            decided.proved_at,
            decided.decided_at,
            decided.reason,
            mac,
        ),
    )


def add_end(change: Change, approval: Approval, end: End) -> None:
    """Claim the one end of a request."""
    change.add(
        END,
        (
            tenant(approval.merchant),
            uuid_of(approval.id, "apr"),
            new_uuid7(),
            end.how,
            end.at,
            end.by,
            end.reason,
            end.used_for,
        ),
    )


async def find(database: Database, approval_id: str) -> Stored | None:
    """Return a request; of its state only the end is filled in."""
    row = await database.fetchrow(_BY_ID, uuid_of(approval_id, "apr"))
    return None if row is None else _stored(row)


async def page(
    database: Database,
    *,
    merchant: str | None,
    waiting: bool,
    now: datetime,
    before: str | None,
    limit: int,
) -> list[Stored]:
    """Return requests, the newest first: of one merchant, or of all."""
    rows = await database.fetch(
        _PAGE,
        _LAST if before is None else uuid_of(before, "apr"),
        None if merchant is None else tenant(merchant),
        waiting,
        now,
        limit,
    )
    return [_stored(row) for row in rows]


async def late(database: Database, *, now: datetime, limit: int) -> list[Stored]:
    """Return requests whose time is over and whose end is not written yet."""
    return [_stored(row) for row in await database.fetch(_LATE, now, limit)]


async def of_person(database: Database, person: str, *, limit: int) -> list[Stored]:
    """Return open requests that a person made or approved."""
    return [_stored(row) for row in await database.fetch(_OF_PERSON, person, limit)]


async def decisions(database: Database, approval: Approval) -> list[tuple[Decided, bytes]]:
    """Return who approved a request, with the mac over each."""
    rows = await database.fetch(_DECISIONS, tenant(approval.merchant), uuid_of(approval.id, "apr"))
    return [(_decided(row), row["mac"]) for row in rows]


async def open_counts(database: Database, *, now: datetime, requester: str) -> Sequence[int]:
    """Return how many requests wait, of everybody and of this requester."""
    row = await database.fetchrow(_OPEN, now, requester)
    return (0, 0) if row is None else (row["everybody"], row["own"])


def _stored(row: Any) -> Stored:
    parameters = msgspec.json.decode(row["parameters"], type=dict[str, Parameter])
    merchant = None if row["merchant_id"] == NIL_UUID else id_from("mer", row["merchant_id"])
    end = None
    if row["how"] is not None:
        end = End(
            how=row["how"],
            at=row["ended_at"],
            by=row["ended_by"],
            reason=row["end_reason"],
            used_for=row["used_for"],
        )
    statement = Statement(
        action=row["action"],
        merchant=merchant,
        resource=row["resource"],
        parameters=parameters,
        requester=row["requester"],
        policy_set=row["policy_set"],
        nonce=row["nonce"],
    )
    approval = Approval(
        id=id_from("apr", row["id"]),
        statement=statement,
        action_sha256=row["action_sha256"],
        person=row["person"],
        needed=row["needed"],
        reason=row["reason"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        end=end,
    )
    return Stored(approval, row["mac"])


def _decided(row: Any) -> Decided:
    return Decided(
        operator=row["operator"],
        aal=row["aal"],
        proved_at=row["proved_at"],
        decided_at=row["decided_at"],
        reason=row["reason"],
    )

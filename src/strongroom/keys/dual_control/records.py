"""The SQL of dual control, and nobody else's."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from strongroom.kernel.ids import id_from, new_uuid7, uuid_of
from strongroom.keys.dual_control.model import Approval, Custodian, Signed
from strongroom.storage import Change, Claim, Database

_CUSTODIAN = {
    "id": "uuid",
    "number": "int4",
    "name": "text",
    "signing_key": "bytea",
    "exchange_key": "bytea",
    "acknowledged_at": "timestamptz",
    "acknowledgement": "bytea",
    "enrolled_at": "timestamptz",
    "enrolled_by": "text",
    "mac": "bytea",
}
CUSTODIAN = Claim("keys.custodian", _CUSTODIAN, key=("number",), id_column="id")
REVOCATION = Claim(
    "keys.custodian_revocation",
    {
        "custodian_id": "uuid",
        "number": "int4",
        "revoked_at": "timestamptz",
        "revoked_by": "text",
        "reason": "text",
    },
    key=("number",),
    id_column="custodian_id",
)
APPROVAL = Claim(
    "keys.approval",
    {
        "id": "uuid",
        "action": "text",
        "payload": "bytea",
        "requester": "text",
        "asked_by": "text",
        "reason": "text",
        "created_at": "timestamptz",
        "expires_at": "timestamptz",
        "mac": "bytea",
    },
    key=("id",),
    id_column="id",
)
SIGNATURE = Claim(
    "keys.approval_signature",
    {
        "approval_id": "uuid",
        "custodian_id": "uuid",
        "id": "uuid",
        "decision": "text",
        "proof": "text",
        "signed_at": "timestamptz",
        "received_at": "timestamptz",
        "signature": "bytea",
    },
    key=("approval_id", "custodian_id"),
    id_column="id",
)
REDEMPTION = Claim(
    "keys.redemption",
    {"approval_id": "uuid", "redeemed_at": "timestamptz", "redeemed_by": "text"},
    key=("approval_id",),
    id_column="approval_id",
)


def add_custodian(change: Change, custodian: Custodian, *, mac: bytes) -> None:
    """Claim the next number for a new custodian."""
    change.add(
        CUSTODIAN,
        (
            uuid_of(custodian.id, "cus"),
            custodian.number,
            custodian.name,
            custodian.signing_key,
            custodian.exchange_key,
            custodian.acknowledged_at,
            custodian.acknowledgement,
            custodian.enrolled_at,
            custodian.enrolled_by,
            mac,
        ),
    )


def add_revocation(
    change: Change, custodian: str, *, number: int, at: datetime, actor: str, why: str
) -> None:
    """Claim the next number for the leaving of a custodian."""
    change.add(REVOCATION, (uuid_of(custodian, "cus"), number, at, actor, why))


def add_approval(change: Change, approval: Approval, *, payload: bytes, mac: bytes) -> None:
    """Add a request."""
    change.add(
        APPROVAL,
        (
            uuid_of(approval.id, "apr"),
            approval.action,
            payload,
            approval.requester,
            approval.asked_by,
            approval.reason,
            approval.created_at,
            approval.expires_at,
            mac,
        ),
    )


def add_signature(change: Change, approval: str, signed: Signed) -> None:
    """Claim a custodian's one decision about a request."""
    change.add(
        SIGNATURE,
        (
            uuid_of(approval, "apr"),
            uuid_of(signed.custodian, "cus"),
            new_uuid7(),
            signed.decision,
            signed.proof,
            signed.signed_at,
            signed.received_at,
            signed.signature,
        ),
    )


def add_redemption(change: Change, approval: str, *, at: datetime, actor: str) -> None:
    """Claim the one use of an approval."""
    change.add(REDEMPTION, (uuid_of(approval, "apr"), at, actor))


async def custodians(database: Database) -> list[tuple[Custodian, bytes]]:
    """Return all custodians ever enrolled with their MACs, in order of enrollment."""
    rows = await database.fetch(
        "SELECT c.id, c.number, c.name, c.signing_key, c.exchange_key, c.acknowledged_at, "
        "c.acknowledgement, c.enrolled_at, c.enrolled_by, c.mac, r.revoked_at "
        "FROM keys.custodian c LEFT JOIN keys.custodian_revocation r ON r.custodian_id = c.id "
        "ORDER BY c.number"
    )
    return [(_custodian(row), row["mac"]) for row in rows]


_APPROVAL = (
    "SELECT a.id, a.action, a.payload, a.requester, a.asked_by, a.reason, a.created_at, "
    "a.expires_at, a.mac, r.redeemed_at "
    "FROM keys.approval a LEFT JOIN keys.redemption r ON r.approval_id = a.id "
)


async def approval(database: Database, approval_id: str) -> tuple[Approval, bytes] | None:
    """Return a request with its MAC; its state says only whether it was used."""
    row = await database.fetchrow(_APPROVAL + "WHERE a.id = $1", uuid_of(approval_id, "apr"))
    return None if row is None else (_approval(row), row["mac"])


async def approvals(database: Database, *, limit: int) -> list[tuple[Approval, bytes]]:
    """Return the newest requests with their MACs, newest first."""
    rows = await database.fetch(_APPROVAL + "ORDER BY a.id DESC LIMIT $1", limit)
    return [(_approval(row), row["mac"]) for row in rows]


async def open_count(database: Database, *, now: datetime) -> int:
    """Return how many requests are neither used nor expired."""
    return int(
        await database.fetchval(
            "SELECT count(*) FROM keys.approval a WHERE a.expires_at > $1 AND NOT EXISTS "
            "(SELECT 1 FROM keys.redemption r WHERE r.approval_id = a.id)",
            now,
        )
    )


async def signatures(database: Database, approval_id: str) -> list[Signed]:
    """Return all decisions about a request, in the order they arrived."""
    rows = await database.fetch(
        "SELECT custodian_id, decision, proof, signed_at, received_at, signature "
        "FROM keys.approval_signature WHERE approval_id = $1 ORDER BY id",
        uuid_of(approval_id, "apr"),
    )
    return [
        Signed(
            custodian=id_from("cus", row["custodian_id"]),
            decision="approve" if row["decision"] == "approve" else "reject",
            proof=row["proof"],
            signed_at=row["signed_at"],
            received_at=row["received_at"],
            signature=row["signature"],
        )
        for row in rows
    ]


def _custodian(row: Any) -> Custodian:
    return Custodian(
        id=_id("cus", row["id"]),
        number=row["number"],
        name=row["name"],
        signing_key=row["signing_key"],
        exchange_key=row["exchange_key"],
        acknowledged_at=row["acknowledged_at"],
        acknowledgement=row["acknowledgement"],
        enrolled_at=row["enrolled_at"],
        enrolled_by=row["enrolled_by"],
        revoked_at=row["revoked_at"],
    )


def _approval(row: Any) -> Approval:
    return Approval(
        id=_id("apr", row["id"]),
        action=row["action"],
        payload=msgspec.json.decode(row["payload"], type=dict[str, str | int | bool | None]),
        payload_sha256="",
        requester=row["requester"],
        asked_by=row["asked_by"],
        reason=row["reason"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        state="open" if row["redeemed_at"] is None else "redeemed",
    )


def _id(prefix: str, value: UUID) -> str:
    return id_from(prefix, value)

"""The SQL of subject keys and receipts, and nobody else's. Only wrapped keys pass through here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from strongroom.keys.model import StoredKey
from strongroom.keys.records import select
from strongroom.keys.subjects.model import SubjectKey
from strongroom.keys.tables import SUBJECT
from strongroom.storage import Change, Claim, Database, Guard

_PLACE = {"merchant_id": "uuid", "subject": "uuid", "version": "int4"}
DESTROY = Guard(
    "keys.subject_key",
    keys=_PLACE,
    sets={
        "state": "text",
        "wrapped": "bytea",
        "state_at": "timestamptz",
        "signature": "bytea",
        "destroyed_by": "text",
        "destroyed_reason": "text",
        "destroyed_request": "text",
    },
    version="revision",
)
SHRED = Claim(
    "keys.shred",
    {
        **_PLACE,
        "id": "uuid",
        "receipt": "bytea",
        "signature": "bytea",
        "created_at": "timestamptz",
    },
    key=tuple(_PLACE),
    id_column="id",
)


def owner_of(merchant: UUID, subject: UUID) -> str:
    """Return the owner in a subject key's record."""
    return f"{merchant}/{subject}"


def destroy(
    change: Change, found: SubjectKey, gone: StoredKey, *, by: str, reason: str, request: str | None
) -> None:
    """Destroy a key, if nobody changed it meanwhile; its cards go in the same statement.

    `gone` is its next and last revision, signed.
    """
    place = (found.merchant, found.subject, found.version, found.key.revision)
    change.add(
        DESTROY, (*place, gone.state, None, gone.state_at, gone.signature, by, reason, request)
    )


def add_receipt(
    change: Change, last: SubjectKey, shred_id: UUID, receipt: bytes, signature: bytes, at: datetime
) -> None:
    """Claim the place of the receipt for everything up to the last destroyed version."""
    place = (last.merchant, last.subject, last.version)
    change.add(SHRED, (*place, shred_id, receipt, signature, at))


_TAKE = (
    "WITH taken AS (UPDATE keys.subject_key s SET reserved = s.reserved + $3 "
    "WHERE s.merchant_id = $1 AND s.subject = $2 AND s.state = 'active' "
    "AND s.reserved + $3 <= $4 AND s.version = (SELECT max(version) FROM keys.subject_key "
    "WHERE merchant_id = $1 AND subject = $2) RETURNING s.id) "
)
_CUT_SHORT = (
    "WHERE t.state = 'destroyed' AND NOT EXISTS (SELECT 1 FROM keys.shred r "
    "WHERE r.merchant_id = t.merchant_id AND r.subject = t.subject "
    "AND r.version >= t.version) ORDER BY t.state_at LIMIT $1"
)


async def take(
    database: Database, merchant: UUID, subject: UUID, *, count: int, limit: int
) -> SubjectKey | None:
    """Set uses of the newest key aside, durably, and return it; None if it takes no more."""
    row = await database.fetchrow(
        _TAKE + select(SUBJECT) + "WHERE t.id = (SELECT id FROM taken)",  # noqa: S608 (our own)
        merchant,
        subject,
        count,
        limit,
    )
    return None if row is None else _key(row)


async def versions(database: Database, merchant: UUID, subject: UUID) -> list[SubjectKey]:
    """Return every key of a data subject, oldest version first."""
    rows = await database.fetch(
        select(SUBJECT) + "WHERE t.merchant_id = $1 AND t.subject = $2 ORDER BY t.version",
        merchant,
        subject,
    )
    return [_key(row) for row in rows]


async def version(
    database: Database, merchant: UUID, subject: UUID, number: int
) -> SubjectKey | None:
    """Return one version of a data subject's key."""
    row = await database.fetchrow(
        select(SUBJECT) + "WHERE t.merchant_id = $1 AND t.subject = $2 AND t.version = $3",
        merchant,
        subject,
        number,
    )
    return None if row is None else _key(row)


async def living(database: Database, key_ids: Sequence[UUID]) -> list[SubjectKey]:
    """Return those of the named keys that are not destroyed."""
    rows = await database.fetch(
        select(SUBJECT) + "WHERE t.id = ANY ($1::uuid[]) AND t.state <> 'destroyed' "
        "ORDER BY t.merchant_id, t.subject, t.version",
        list(key_ids),
    )
    return [_key(row) for row in rows]


async def unreceipted(database: Database, *, limit: int) -> list[SubjectKey]:
    """Return the last destroyed keys of those whose shredding was cut short before its receipt."""
    rows = await database.fetch(select(SUBJECT) + _CUT_SHORT, limit)
    return [_key(row) for row in rows]


async def receipt_of(
    database: Database, merchant: UUID, subject: UUID
) -> tuple[int, bytes, bytes] | None:
    """Return version, receipt and signature of a data subject's last shredding."""
    row = await database.fetchrow(
        "SELECT version, receipt, signature FROM keys.shred WHERE merchant_id = $1 "
        "AND subject = $2 ORDER BY version DESC LIMIT 1",
        merchant,
        subject,
    )
    return None if row is None else (row["version"], row["receipt"], row["signature"])


async def receipts(
    database: Database, *, after: UUID, limit: int
) -> list[tuple[UUID, bytes, bytes]]:
    """Return a page of all receipts, oldest first."""
    rows = await database.fetch(
        "SELECT id, receipt, signature FROM keys.shred WHERE id > $1 ORDER BY id LIMIT $2",
        after,
        limit,
    )
    return [(row["id"], row["receipt"], row["signature"]) for row in rows]


def _key(row: Any) -> SubjectKey:
    return SubjectKey(
        merchant=row["merchant_id"],
        subject=row["subject"],
        key=SUBJECT.stored(row),
        destroyed_by=row["destroyed_by"],
        destroyed_reason=row["destroyed_reason"],
        destroyed_request=row["destroyed_request"],
        cards_removed=row["cards_removed"],
    )

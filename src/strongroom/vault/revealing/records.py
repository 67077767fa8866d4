"""The SQL of reveal: the budgets it is paid from and the cards it is about, read in one query."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from strongroom.kernel.ids import id_from, uuid_of
from strongroom.storage import Add, Change, Database, Insert, Spend
from strongroom.vault.model import RevealGrant
from strongroom.vault.records import CARD_COLUMNS, StoredCard, card_of

HOUR = Add(
    "vault.reveal_hour", keys={"caller": "text", "hour": "timestamptz"}, sums={"seen": "int4"}
)
GRANT = Insert(
    "vault.reveal_grant",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "caller": "text",
        "purpose": "text",
        "granted": "int4",
        "remaining": "int4",
        "valid_until": "timestamptz",
        "created_at": "timestamptz",
        "created_by": "text",
    },
)
SPENT = Spend(
    "vault.reveal_grant", keys={"merchant_id": "uuid", "id": "uuid"}, sums={"remaining": "int4"}
)

EXHAUSTED = frozenset({"reveal_hour_limit", "reveal_grant_spent"})
"""Constraints that refuse a reveal beyond its budget, whoever was faster."""

_CARD = ", ".join(f"c.{name}" for name in CARD_COLUMNS)
_FACTS = (
    f"SELECT w.grant_id, w.seen, {_CARD} FROM "  # noqa: S608 (names of ours)
    "(SELECT (SELECT g.id FROM vault.reveal_grant g WHERE g.merchant_id = $1 "
    "AND g.caller = $3 AND g.purpose = $4 AND g.valid_until > $5 AND g.remaining >= $7 "
    "ORDER BY g.valid_until LIMIT 1) AS grant_id, "
    "(SELECT h.seen FROM vault.reveal_hour h WHERE h.caller = $3 AND h.hour = $6) AS seen) w "
    "LEFT JOIN vault.card c ON c.merchant_id = $1 AND c.id = ANY($2::uuid[])"
)


class Facts(msgspec.Struct, frozen=True):
    """What is known before a reveal: an open grant with room, the hour's count, the cards."""

    grant: UUID | None
    seen: int
    cards: dict[UUID, StoredCard]


async def facts(
    database: Database,
    merchant: UUID,
    cards: Sequence[UUID],
    *,
    caller: str,
    purpose: str,
    now: datetime,
    hour: datetime,
) -> Facts:
    """Return a caller's budgets and the cards that are there, tombstones included."""
    rows = await database.fetch(
        _FACTS, merchant, list(cards), caller, purpose, now, hour, len(cards)
    )
    first = rows[0]
    found = {row["id"]: card_of(row[2:]) for row in rows if row["id"] is not None}
    return Facts(first["grant_id"], first["seen"] or 0, found)


def add_grant(change: Change, grant: RevealGrant) -> None:
    """Insert a grant."""
    change.add(
        GRANT,
        (
            uuid_of(grant.merchant, "mer"),
            uuid_of(grant.id, "grant"),
            grant.principal,
            grant.purpose,
            grant.granted,
            grant.remaining,
            grant.valid_until,
            grant.created_at,
            grant.created_by,
        ),
    )


async def grants(database: Database, merchant: UUID, *, limit: int) -> list[RevealGrant]:
    """Return a merchant's newest grants, newest first."""
    rows = await database.fetch(
        "SELECT id, caller, purpose, granted, remaining, valid_until, created_at, created_by "
        "FROM vault.reveal_grant WHERE merchant_id = $1 ORDER BY id DESC LIMIT $2",
        merchant,
        limit,
    )
    return [
        RevealGrant(
            id=id_from("grant", row["id"]),
            merchant=id_from("mer", merchant),
            principal=row["caller"],
            purpose=row["purpose"],
            granted=row["granted"],
            remaining=row["remaining"],
            valid_until=row["valid_until"],
            created_at=row["created_at"],
            created_by=row["created_by"],
        )
        for row in rows
    ]


def spend_hour(change: Change, caller: str, hour: datetime, count: int) -> None:
    """Count reveals of a caller's hour; the table refuses more than its limit."""
    change.add(HOUR, (caller, hour, count))


def spend_grant(change: Change, merchant: UUID, grant: UUID, count: int) -> None:
    """Take from a grant; the table refuses more than is left."""
    change.add(SPENT, (merchant, grant, count))


async def drop_hours(database: Database, before: datetime) -> None:
    """Forget the counts of hours that are over."""
    await database.execute("DELETE FROM vault.reveal_hour WHERE hour < $1", before)

"""The SQL of emergencies, and nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from strongroom.access.break_glass.model import Emergency, Review
from strongroom.kernel.ids import id_from, new_uuid7, uuid_of
from strongroom.storage import Change, Claim, Database, Insert

EMERGENCY = Insert(
    "iam.break_glass",
    {
        "id": "uuid",
        "actor": "text",
        "person": "text",
        "reason": "text",
        "opened_at": "timestamptz",
        "ends_at": "timestamptz",
        "mac": "bytea",
    },
)
REVIEW = Claim(
    "iam.break_glass_review",
    {
        "break_glass_id": "uuid",
        "reviewer": "text",
        "id": "uuid",
        "verdict": "text",
        "note": "text",
        "reviewed_at": "timestamptz",
    },
    key=("break_glass_id", "reviewer"),
    id_column="id",
)
_EMERGENCY = (
    "SELECT b.id, b.actor, b.person, b.reason, b.opened_at, b.ends_at, b.mac "
    "FROM iam.break_glass b "
)
_BY_ID = _EMERGENCY + "WHERE b.id = $1"
_ACTIVE = _EMERGENCY + "WHERE b.ends_at > $1 ORDER BY b.id LIMIT 100"
_NEWEST = _EMERGENCY + "ORDER BY b.id DESC LIMIT $1"
_REVIEWS = (
    "SELECT reviewer, verdict, note, reviewed_at FROM iam.break_glass_review "
    "WHERE break_glass_id = $1 ORDER BY id"
)
_TOO_FEW = (
    "WHERE b.ends_at < $1 AND (SELECT count(*) FROM iam.break_glass_review r "
    "WHERE r.break_glass_id = b.id) < CASE WHEN b.person IS NULL THEN 2 ELSE 1 END "
    "ORDER BY b.id LIMIT $2"
)
_UNREVIEWED = _EMERGENCY + _TOO_FEW
_TAKEN = "SELECT count(*) FROM iam.break_glass WHERE (actor = $1 OR person = $2) AND opened_at > $3"


class Stored(msgspec.Struct, frozen=True):
    """An emergency with the mac over it."""

    emergency: Emergency
    mac: bytes


def add(change: Change, made: Emergency, *, mac: bytes) -> None:
    """Add an emergency."""
    change.add(
        EMERGENCY,
        (
            uuid_of(made.id, "brk"),
            made.actor,
            made.person,
            made.reason,
            made.opened_at,
            made.ends_at,
            mac,
        ),
    )


def add_review(change: Change, emergency: Emergency, review: Review) -> None:
    """Claim a person's one review of an emergency."""
    change.add(
        REVIEW,
        (
            uuid_of(emergency.id, "brk"),
            review.reviewer,
            new_uuid7(),
            review.verdict,
            review.note,
            review.reviewed_at,
        ),
    )


async def find(database: Database, emergency: str) -> Stored | None:
    """Return an emergency without its reviews."""
    row = await database.fetchrow(_BY_ID, uuid_of(emergency, "brk"))
    return None if row is None else _stored(row)


async def active(database: Database, *, now: datetime) -> list[Stored]:
    """Return the emergencies that are open."""
    return [_stored(row) for row in await database.fetch(_ACTIVE, now)]


async def newest(database: Database, *, limit: int) -> list[Stored]:
    """Return emergencies, the newest first."""
    return [_stored(row) for row in await database.fetch(_NEWEST, limit)]


async def unreviewed(database: Database, *, ended_before: datetime, limit: int) -> list[Stored]:
    """Return emergencies that ended before a time and that too few others have reviewed."""
    return [_stored(row) for row in await database.fetch(_UNREVIEWED, ended_before, limit)]


async def taken(database: Database, actor: str, *, person: str | None, since: datetime) -> int:
    """Return how many emergencies somebody took since a time, by whichever credential."""
    return int(await database.fetchval(_TAKEN, actor, person, since))


async def reviews(database: Database, emergency: Emergency) -> Sequence[Review]:
    """Return the reviews of an emergency."""
    rows = await database.fetch(_REVIEWS, uuid_of(emergency.id, "brk"))
    return [
        Review(
            reviewer=row["reviewer"],
            verdict=row["verdict"],
            note=row["note"],
            reviewed_at=row["reviewed_at"],
        )
        for row in rows
    ]


def _stored(row: Any) -> Stored:
    return Stored(
        Emergency(
            id=id_from("brk", row["id"]),
            actor=row["actor"],
            person=row["person"],
            reason=row["reason"],
            opened_at=row["opened_at"],
            ends_at=row["ends_at"],
            needed=2 if row["person"] is None else 1,
        ),
        row["mac"],
    )

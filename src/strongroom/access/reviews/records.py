"""The SQL of access reviews, and nobody else's."""

from __future__ import annotations

from typing import Any

import msgspec

from strongroom.access.reviews.model import AccessReview, Decision, Line
from strongroom.kernel.ids import id_from, new_uuid7, uuid_of
from strongroom.storage import Change, Claim, Database

REVIEW = Claim(
    "iam.access_review",
    {
        "id": "uuid",
        "started_at": "timestamptz",
        "started_by": "text",
        "due_at": "timestamptz",
        "lines": "bytea",
        "number": "int4",
    },
    key=("number",),
    id_column="id",
)
DECISION = Claim(
    "iam.access_review_decision",
    {
        "review_id": "uuid",
        "line": "int4",
        "id": "uuid",
        "verdict": "text",
        "reviewer": "text",
        "reason": "text",
        "decided_at": "timestamptz",
    },
    key=("review_id", "line"),
    id_column="id",
)
END = Claim(
    "iam.access_review_end",
    {
        "review_id": "uuid",
        "id": "uuid",
        "closed_at": "timestamptz",
        "closed_by": "text",
        "result_sha256": "bytea",
    },
    key=("review_id",),
    id_column="id",
)
_REVIEW = (
    "SELECT r.id, r.number, r.started_at, r.started_by, r.due_at, r.lines, e.closed_at, "
    "e.closed_by, e.result_sha256 "
    "FROM iam.access_review r LEFT JOIN iam.access_review_end e ON e.review_id = r.id "
)
_BY_ID = _REVIEW + "WHERE r.id = $1"
_NEWEST = _REVIEW + "ORDER BY r.number DESC LIMIT $1"
_DECISIONS = (
    "SELECT line, verdict, reviewer, reason, decided_at FROM iam.access_review_decision "
    "WHERE review_id = $1 ORDER BY line"
)


def add(change: Change, made: AccessReview) -> None:
    """Claim the next number for a review."""
    change.add(
        REVIEW,
        (
            uuid_of(made.id, "arv"),
            made.started_at,
            made.started_by,
            made.due_at,
            msgspec.json.encode(made.lines),
            made.number,
        ),
    )


def add_decision(change: Change, review: AccessReview, decision: Decision) -> None:
    """Claim the one decision about a line."""
    change.add(
        DECISION,
        (
            uuid_of(review.id, "arv"),
            decision.line,
            new_uuid7(),
            decision.verdict,
            decision.reviewer,
            decision.reason,
            decision.decided_at,
        ),
    )


def add_end(change: Change, closed: AccessReview, *, digest: bytes) -> None:
    """Claim the end of a review."""
    change.add(
        END, (uuid_of(closed.id, "arv"), new_uuid7(), closed.closed_at, closed.closed_by, digest)
    )


async def find(database: Database, review: str) -> AccessReview | None:
    """Return a review with its decisions."""
    row = await database.fetchrow(_BY_ID, uuid_of(review, "arv"))
    return None if row is None else await _review(database, row)


async def newest(database: Database, *, limit: int) -> list[AccessReview]:
    """Return reviews with their decisions, the newest first."""
    return [await _review(database, row) for row in await database.fetch(_NEWEST, limit)]


async def _review(database: Database, row: Any) -> AccessReview:
    decisions = await database.fetch(_DECISIONS, row["id"])
    digest = row["result_sha256"]
    return AccessReview(
        id=id_from("arv", row["id"]),
        number=row["number"],
        started_at=row["started_at"],
        started_by=row["started_by"],
        due_at=row["due_at"],
        lines=msgspec.json.decode(row["lines"], type=tuple[Line, ...]),
        decisions=tuple(
            Decision(
                line=found["line"],
                verdict=found["verdict"],
                reviewer=found["reviewer"],
                reason=found["reason"],
                decided_at=found["decided_at"],
            )
            for found in decisions
        ),
        closed_at=row["closed_at"],
        closed_by=row["closed_by"],
        result_sha256=None if digest is None else digest.hex(),
    )

"""The SQL of idempotency keys: claimed with a request's first Change, answered with its last."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from strongroom.kernel.ids import uuid_of
from strongroom.kernel.limits import IDEMPOTENCY_RETENTION_S
from strongroom.payments.model import Answer
from strongroom.storage import Change, Claim, Database, Update

IDEMPOTENCY = Claim(
    "pay.idempotency",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "request_hash": "bytea",
        "state": "text",
        "status": "int2",
        "body": "bytea",
        "created_at": "timestamptz",
        "expires_at": "timestamptz",
    },
    key=("merchant_id", "id"),
    id_column="id",
)
IDEMPOTENCY_ANSWER = Update(
    "pay.idempotency",
    keys={"merchant_id": "uuid", "id": "uuid"},
    sets={"state": "text", "status": "int2", "body": "bytea"},
)


class Claimed(msgspec.Struct, frozen=True):
    """An idempotency key as stored."""

    request_hash: bytes
    state: str
    status: int | None
    body: bytes | None


def add_claim(
    change: Change,
    merchant: str,
    claim: UUID,
    request_hash: bytes,
    now: datetime,
    *,
    answer: Answer | None = None,
) -> None:
    """Add the claim of an idempotency key to a Change, with its answer when it is known already."""
    expires = now + timedelta(seconds=IDEMPOTENCY_RETENTION_S)
    state, status, body = (
        ("running", None, None) if answer is None else ("done", answer.status, answer.body)
    )
    change.add(
        IDEMPOTENCY,
        (uuid_of(merchant, "mer"), claim, request_hash, state, status, body, now, expires),
    )


def add_answer(change: Change, merchant: str, claim: UUID, status: int, body: bytes) -> None:
    """Add the answer that replays of a claimed key will get."""
    change.add(IDEMPOTENCY_ANSWER, (uuid_of(merchant, "mer"), claim, "done", status, body))


def add_release(change: Change, merchant: str, claim: UUID) -> None:
    """Give a claimed key free again: its request had no effect and may be sent again."""
    change.add(IDEMPOTENCY_ANSWER, (uuid_of(merchant, "mer"), claim, "released", None, None))


async def claimed(database: Database, merchant: str, claim: UUID) -> Claimed | None:
    """Return what is stored under a claimed key."""
    row = await database.fetchrow(
        "SELECT request_hash, state, status, body FROM pay.idempotency "
        "WHERE merchant_id = $1 AND id = $2",
        uuid_of(merchant, "mer"),
        claim,
    )
    if row is None:
        return None
    return Claimed(row["request_hash"], row["state"], row["status"], row["body"])


async def purge(database: Database, now: datetime) -> int:
    """Delete keys past their retention; return how many."""
    tag = await database.execute("DELETE FROM pay.idempotency WHERE expires_at < $1", now)
    return int(tag.rsplit(" ", 1)[-1])

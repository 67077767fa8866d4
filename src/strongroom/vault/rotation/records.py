"""The SQL that moves cards to another key. Card data passes through here sealed only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from strongroom.storage import Database, Session

BEHIND = {"dek": "key_version", "index": "index_version"}
"""What rotates → the column that says under which version a card stands."""

_OF_LEVEL = {"dek": "AND subject IS NULL ", "index": ""}
"""Cards of data subjects are under keys of their own, but their fingerprints are not."""


class Moving(NamedTuple):
    """A card on its way to another key; the versions are those it was read with.

    A tuple, because a million of them are made in a minute.
    """

    id: UUID
    key_version: int
    index_version: int
    sealed_card: bytes
    sealed_display: bytes
    new_key_version: int
    fingerprint: bytes
    subject: UUID | None


async def count_cards(session: Session) -> int:
    """Return how many cards there are."""
    return int(await session.fetchval("SELECT count(*) FROM vault.card WHERE ended_at IS NULL"))


async def count_behind(session: Session, level: str, merchant: UUID, version: int) -> int:
    """Return how many cards of a merchant stand under a version below this one."""
    return int(
        await session.fetchval(
            f"SELECT count(*) FROM vault.card WHERE merchant_id = $1 AND {BEHIND[level]} < $2 "  # noqa: S608 (our own column)
            + _OF_LEVEL[level],
            merchant,
            version,
        )
    )


async def count_under(session: Session, level: str, merchant: UUID) -> dict[int, int]:
    """Return how many cards of a merchant stand under each version."""
    column = BEHIND[level]
    rows = await session.fetch(
        f"SELECT {column}, count(*) FROM vault.card WHERE merchant_id = $1 "  # noqa: S608 (our own column)
        f"AND ended_at IS NULL {_OF_LEVEL[level]}GROUP BY {column}",
        merchant,
    )
    return {row[0]: row[1] for row in rows}


async def behind(
    session: Session, level: str, merchant: UUID, version: int, *, after: UUID, limit: int
) -> list[Moving]:
    """Return a page of the cards that stand under a version below this one, in order."""
    rows = await session.fetch(
        "SELECT id, key_version, index_version, sealed_card, sealed_display, key_version, "  # noqa: S608 (our own column)
        "fingerprint, subject FROM vault.card WHERE merchant_id = $1 AND id > $2 "
        f"AND {BEHIND[level]} < $3 {_OF_LEVEL[level]}ORDER BY id LIMIT $4",
        merchant,
        after,
        version,
        limit,
    )
    return [Moving(*row) for row in rows]


_MOVE_TO_KEY = (
    "UPDATE vault.card t SET sealed_card = u.sealed, sealed_display = u.shown, "
    "key_version = u.new_key FROM unnest($2::uuid[], $3::int4[], $4::int4[], $5::bytea[], "
    "$6::bytea[], $7::int4[]) AS u(id, key, index, sealed, shown, new_key) "
    "WHERE t.merchant_id = $1 AND t.id = u.id AND t.key_version = u.key "
    "AND t.index_version = u.index"
)
_MOVE_TO_INDEX = (
    "UPDATE vault.card t SET sealed_card = u.sealed, sealed_display = u.shown, "
    "key_version = u.new_key, fingerprint = u.fingerprint, index_version = $9 "
    "FROM unnest($2::uuid[], $3::int4[], $4::int4[], $5::bytea[], $6::bytea[], $7::int4[], "
    "$8::bytea[]) AS u(id, key, index, sealed, shown, new_key, fingerprint) "
    "WHERE t.merchant_id = $1 AND t.id = u.id AND t.key_version = u.key "
    "AND t.index_version = u.index"
)


async def move(
    session: Session, level: str, merchant: UUID, version: int, cards: Sequence[Moving]
) -> int:
    """Store cards under another key, each only if nobody changed it meanwhile; return how many.

    The commit is not waited for: what a crash takes back stands under the old key, which lives
    until no row refers to it, and is moved again.
    """
    columns = [list(column) for column in zip(*cards, strict=True)]
    async with session.transaction():
        await session.execute("SET LOCAL synchronous_commit = off")
        if level == "dek":
            done = await session.execute(_MOVE_TO_KEY, merchant, *columns[:6])
        else:
            done = await session.execute(_MOVE_TO_INDEX, merchant, *columns[:7], version)
    return int(done.rpartition(" ")[2])


async def with_fingerprint(
    database: Database, merchant: UUID, fingerprints: Sequence[bytes], *, limit: int
) -> list[UUID]:
    """Return the saved cards of a merchant that have one of these fingerprints."""
    rows = await database.fetch(
        "SELECT id FROM vault.card WHERE merchant_id = $1 AND fingerprint = ANY($2::bytea[]) "
        "AND saved AND ended_at IS NULL ORDER BY id LIMIT $3",
        merchant,
        fingerprints,
        limit,
    )
    return [row["id"] for row in rows]

"""The SQL of aliases and of the export. An alias stays taken for as long as its card is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from strongroom.storage import Change, Database, Insert
from strongroom.vault.records import CARD_COLUMNS, StoredCard, card_of

ALIAS = Insert("vault.alias", {"merchant_id": "uuid", "alias": "text", "card_id": "uuid"})
TAKEN = "alias_pkey"
"""The constraint that refuses an alias which another token of the merchant has."""


def add_aliases(change: Change, merchant: UUID, rows: Iterable[tuple[str, UUID]]) -> None:
    """Give cards their aliases, as they are stored."""
    for alias, card in rows:
        change.add(ALIAS, (merchant, alias, card))


async def find(database: Database, merchant: UUID, stored: Sequence[str]) -> list[UUID]:
    """Return the cards that have one of these aliases: at most one for each."""
    rows = await database.fetch(
        "SELECT card_id FROM vault.alias WHERE merchant_id = $1 AND alias = ANY($2::text[])",
        merchant,
        list(stored),
    )
    return [row["card_id"] for row in rows]


_SAVED = "FROM vault.card WHERE merchant_id = $1 AND saved AND ended_at IS NULL"


async def saved_after(
    database: Database, merchant: UUID, after: UUID, *, limit: int
) -> list[StoredCard]:
    """Return a merchant's saved cards in the order of their ids."""
    columns = ", ".join(CARD_COLUMNS)
    rows = await database.fetch(
        f"SELECT {columns} {_SAVED} AND id > $2 ORDER BY id LIMIT $3", merchant, after, limit
    )
    return [card_of(row) for row in rows]


async def count_saved(database: Database, merchant: UUID) -> int:
    """Return how many saved cards a merchant has."""
    return int(await database.fetchval(f"SELECT count(*) {_SAVED}", merchant))

"""The SQL of the vault, and nobody else's. Card data passes through here sealed only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from strongroom.storage import Bulk, Change, Database, Guard, Insert, Update

CARD = Insert(
    "vault.card",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "fingerprint": "bytea",
        "index_version": "int4",
        "sealed_card": "bytea",
        "sealed_display": "bytea",
        "key_version": "int4",
        "saved": "bool",
        "expires_at": "timestamptz",
        "purge_after": "timestamptz",
        "created_at": "timestamptz",
        "single_use": "bool",
        "subject": "uuid",
    },
)

CARDS = Bulk(
    "vault.card",
    shared={
        "merchant_id": "uuid",
        "index_version": "int4",
        "key_version": "int4",
        "saved": "bool",
        "expires_at": "timestamptz",
        "purge_after": "timestamptz",
        "created_at": "timestamptz",
        "single_use": "bool",
    },
    each={
        "id": "uuid",
        "fingerprint": "bytea",
        "sealed_card": "bytea",
        "sealed_display": "bytea",
    },
)

_KEYS = {"merchant_id": "uuid", "id": "uuid"}
KEEP = Guard(
    "vault.card",
    keys=_KEYS,
    sets={"saved": "bool", "expires_at": "timestamptz", "purge_after": "timestamptz"},
)

TAKE = Guard("vault.card", keys=_KEYS, sets={"used_at": "timestamptz", "used_by": "bytea"})

_GONE = {
    "fingerprint": "bytea",
    "index_version": "int4",
    "sealed_card": "bytea",
    "sealed_display": "bytea",
    "key_version": "int4",
    "subject": "uuid",
    "ended_at": "timestamptz",
    "ended": "text",
}
END = Guard("vault.card", keys=_KEYS, sets=_GONE)
PURGE = Update(
    "vault.card",
    keys={**_KEYS, "purge_after": "timestamptz"},
    sets={"version": "int4", **_GONE},
)
_NOTHING = (None, None, None, None, None, None)


class StoredCard(msgspec.Struct, frozen=True):
    """A row of vault.card; the sealed values are None on a tombstone."""

    merchant_id: UUID
    id: UUID
    version: int
    fingerprint: bytes | None
    index_version: int | None
    sealed_card: bytes | None
    sealed_display: bytes | None
    key_version: int | None
    saved: bool
    expires_at: datetime | None
    purge_after: datetime | None
    created_at: datetime
    ended_at: datetime | None = None
    ended: str | None = None
    single_use: bool = False
    used_at: datetime | None = None
    used_by: bytes | None = None
    subject: UUID | None = None


class Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """Cards sealed together: what they share, and a list in one order of what each has.

    `subject` is the person whose key it is, if it is one's.
    `ids` are 128-bit numbers, the uuids of the rows. `aliases` are empty when the cards have none.
    """

    merchant_id: UUID
    index_version: int
    key_version: int
    saved: bool
    expires_at: datetime | None
    purge_after: datetime | None
    created_at: datetime
    single_use: bool
    ids: list[int]
    fingerprints: list[bytes]
    sealed_cards: list[bytes]
    sealed_displays: list[bytes]
    aliases: list[str]
    subject: UUID | None = None

    def card(self, at: int) -> StoredCard:
        """Return one of the cards as its row."""
        return StoredCard(
            merchant_id=self.merchant_id,
            id=UUID(int=self.ids[at]),
            version=1,
            fingerprint=self.fingerprints[at],
            index_version=self.index_version,
            sealed_card=self.sealed_cards[at],
            sealed_display=self.sealed_displays[at],
            key_version=self.key_version,
            saved=self.saved,
            expires_at=self.expires_at,
            purge_after=self.purge_after,
            created_at=self.created_at,
            single_use=self.single_use,
            subject=self.subject,
        )


def add_cards(change: Change, cards: Sealed) -> None:
    """Insert cards that were sealed together; those of a person one by one."""
    if cards.subject is not None:
        for at in range(len(cards.ids)):
            add_card(change, cards.card(at))
        return
    change.add(
        CARDS,
        (
            cards.merchant_id,
            cards.index_version,
            cards.key_version,
            cards.saved,
            cards.expires_at,
            cards.purge_after,
            cards.created_at,
            cards.single_use,
            [f"{number:032x}" for number in cards.ids],
            cards.fingerprints,
            cards.sealed_cards,
            cards.sealed_displays,
        ),
    )


def add_card(change: Change, card: StoredCard) -> None:
    """Insert a new card."""
    change.add(
        CARD,
        (
            card.merchant_id,
            card.id,
            card.fingerprint,
            card.index_version,
            card.sealed_card,
            card.sealed_display,
            card.key_version,
            card.saved,
            card.expires_at,
            card.purge_after,
            card.created_at,
            card.single_use,
            card.subject,
        ),
    )


def keep_card(
    change: Change,
    card: StoredCard,
    *,
    saved: bool,
    expires_at: datetime | None,
    purge_after: datetime | None,
) -> None:
    """Change how long a card stays, if nobody changed it meanwhile."""
    change.add(KEEP, (card.merchant_id, card.id, card.version, saved, expires_at, purge_after))


def take_card(change: Change, card: StoredCard, *, at: datetime, use: bytes) -> None:
    """Mark a single-use card as used, if nobody changed it meanwhile."""
    change.add(TAKE, (card.merchant_id, card.id, card.version, at, use))


def end_card(change: Change, card: StoredCard, *, at: datetime, reason: str) -> None:
    """Turn a card into a tombstone, if nobody changed it meanwhile."""
    change.add(END, (card.merchant_id, card.id, card.version, *_NOTHING, at, reason))


def purge_cards(change: Change, cards: Iterable[StoredCard], *, at: datetime) -> None:
    """Turn due cards into tombstones; one whose time was extended meanwhile stays."""
    for card in cards:
        change.add(
            PURGE,
            (
                card.merchant_id,
                card.id,
                card.purge_after,
                card.version + 1,
                *_NOTHING,
                at,
                "expired",
            ),
        )


CARD_COLUMNS = StoredCard.__struct_fields__
_SELECT = f"SELECT {', '.join(CARD_COLUMNS)} FROM vault.card "  # noqa: S608 (names of ours)


async def find(database: Database, merchant: UUID, card: UUID) -> StoredCard | None:
    """Return a card or its tombstone."""
    row = await database.fetchrow(_SELECT + "WHERE merchant_id = $1 AND id = $2", merchant, card)
    return None if row is None else card_of(row)


async def of_subject(
    database: Database, merchant: UUID, subject: UUID, *, limit: int
) -> list[UUID]:
    """Return the cards of a data subject."""
    rows = await database.fetch(
        "SELECT id FROM vault.card WHERE subject = $1 AND merchant_id = $2 LIMIT $3",
        subject,
        merchant,
        limit,
    )
    return [row["id"] for row in rows]


async def due(database: Database, now: datetime, *, limit: int) -> Sequence[StoredCard]:
    """Return cards whose time is over, the longest due first."""
    rows = await database.fetch(
        _SELECT + "WHERE purge_after <= $1 AND ended_at IS NULL ORDER BY purge_after LIMIT $2",
        now,
        limit,
    )
    return [card_of(row) for row in rows]


async def past_due(database: Database, now: datetime) -> int:
    """Return how many cards are past their time: the purge's proof (PCI DSS 3.2.1)."""
    return int(
        await database.fetchval(
            "SELECT count(*) FROM vault.card WHERE purge_after <= $1 AND ended_at IS NULL", now
        )
    )


async def drop_tombstones(database: Database, before: datetime, *, limit: int) -> int:
    """Delete the oldest tombstones."""
    done = await database.execute(
        "DELETE FROM vault.card WHERE (merchant_id, id) IN (SELECT merchant_id, id "
        "FROM vault.card WHERE ended_at < $1 ORDER BY ended_at LIMIT $2)",
        before,
        limit,
    )
    return int(done.rpartition(" ")[2])


def card_of(row: Any) -> StoredCard:
    """Return the card of the values of `CARD_COLUMNS`."""
    return StoredCard(*row)

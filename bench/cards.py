"""Many sealed cards at once, and how fast they move from one data key to the next."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from strongroom.app import House
from strongroom.kernel.ids import uuid_of
from strongroom.kernel.secret import Pan
from strongroom.keys import Keyring
from strongroom.vault import CardInput
from strongroom.vault.model import PLAIN_TOKEN
from strongroom.vault.records import CARD_COLUMNS
from strongroom.vault.rotation import CardRotation
from strongroom.vault.tokens import seal_cards

_CHUNK = 5_000


async def fill(
    connection: asyncpg.Connection[Any], keyring: Keyring, merchant: str, count: int
) -> Sequence[str]:
    """Store `count` saved cards of a merchant; return the tokens of the first and the last.

    `connection` needs the vault's role. About 25,000 cards a second.
    """
    card = CardInput(number=Pan("4242424242424242"), exp_month=12, exp_year=2031)
    index = await keyring.index_key(merchant)
    ends: list[str] = []
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        key = await keyring.data_key(merchant, uses=2 * size)
        sealed, views = seal_cards(
            merchant,
            [card] * size,
            ["visa"] * size,
            key=key,
            index=index,
            saved=True,
            now=datetime.now(UTC),
            kind=PLAIN_TOKEN,
        )
        await connection.copy_records_to_table(
            "card",
            schema_name="vault",
            columns=CARD_COLUMNS,
            records=[
                tuple(getattr(row, name) for name in CARD_COLUMNS)
                for row in map(sealed.card, range(size))
            ],
        )
        ends = [ends[0] if ends else views[0].token, views[-1].token]
    return ends


async def rotation_rate(house: House, merchant: str) -> float:
    """Give the merchant a new data key, move all its cards to it; return the cards per second."""
    keyring, database = house.keyring, house.vault_database
    cards = CardRotation(database, keyring)
    newest = max((await cards.versions("dek", merchant)), default=0)
    await keyring.custody.make_merchant_key("dek", uuid_of(merchant, "mer"), newest + 1)
    await keyring.refresh()
    moved = 0

    async def report(last: UUID, count: int, failed: int) -> bool:
        nonlocal moved
        moved += count
        return not failed

    started = time.monotonic()
    if not await cards.move("dek", merchant, report=report):
        raise SystemExit("a card could not be opened")
    return moved / (time.monotonic() - started)

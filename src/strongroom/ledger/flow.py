"""Reading the books and proving that they balance."""

from __future__ import annotations

import os
from datetime import datetime

from strongroom.kernel.ids import uuid_of
from strongroom.ledger import records
from strongroom.ledger.model import Balance, Movement, Posting
from strongroom.storage import Change, Database

SHARDS = 16


class Ledger:
    """Double-entry books of every merchant.

    Args:
        database: pool under the role that serves payments.
        shard: which balance rows this process adds to; by default chosen from the process id.
    """

    def __init__(self, database: Database, *, shard: int | None = None) -> None:
        self._database = database
        self._shard = (os.getpid() if shard is None else shard) % SHARDS

    def post(
        self,
        change: Change,
        movement: Movement,
        *,
        merchant: str,
        payment: str,
        operation: str,
        at: datetime,
    ) -> None:
        """Add a movement to a Change, so that it is written with the state it belongs to."""
        records.add_movement(
            change,
            movement,
            merchant=uuid_of(merchant, "mer"),
            payment=uuid_of(payment, "pay"),
            operation=uuid_of(operation, "op"),
            at=at,
            shard=self._shard,
        )

    async def postings(self, merchant: str, payment: str) -> list[Posting]:
        """Return the postings of a payment, oldest first."""
        return await records.postings(
            self._database, uuid_of(merchant, "mer"), uuid_of(payment, "pay")
        )

    async def balances(self, merchant: str) -> list[Balance]:
        """Return the totals of a merchant's accounts."""
        return await records.balances(self._database, uuid_of(merchant, "mer"))

    async def proof(self) -> tuple[int, list[tuple[str, str, str, int]]]:
        """Return the sum of all postings (must be 0) and accounts that drifted (must be none).

        Reads every posting: for audits and tests, not for requests.
        """
        return await records.total(self._database), await records.drift(self._database)

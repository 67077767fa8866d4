"""Removes what the vault must no longer hold: cards whose time is over, and old tombstones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from uuid import UUID

from strongroom.journal import record
from strongroom.kernel import limits
from strongroom.storage import Change, Committer, Database
from strongroom.vault import records
from strongroom.vault.entries import purge_entry
from strongroom.vault.records import StoredCard

_TOMBSTONES = timedelta(seconds=limits.TOMBSTONE_RETENTION_S)


async def purge_expired(database: Database, committer: Committer, now: datetime) -> int:
    """Remove unsaved cards whose time is over, and the oldest tombstones; return how many cards."""
    purged = 0
    due: Sequence[StoredCard] = ()
    while not due or len(due) == limits.PURGE_BATCH:
        due = await records.due(database, now, limit=limits.PURGE_BATCH)
        if not due:
            break
        in_order = sorted(due, key=lambda card: card.merchant_id.bytes)
        for merchant, group in groupby(in_order, key=lambda card: card.merchant_id):
            purged += await _purge(committer, merchant, list(group), now)
    await records.drop_tombstones(database, now - _TOMBSTONES, limit=limits.PURGE_BATCH)
    return purged


async def _purge(
    committer: Committer, merchant: UUID, cards: list[StoredCard], now: datetime
) -> int:
    change = Change()
    records.purge_cards(change, cards, at=now)
    record(change, purge_entry(merchant, len(cards)), at=now)
    await committer.submit(change)
    return len(cards)

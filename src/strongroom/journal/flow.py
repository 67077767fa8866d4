"""The journal's verbs: record an entry with a Change, read entries, prove them.

Readers see only what was committed. A proof is given against a checkpoint that was signed and
committed, never against a tree in memory.
"""

from __future__ import annotations

import asyncio
import base64
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import msgspec

from strongroom.journal import errors, records
from strongroom.journal.decide import body_of
from strongroom.journal.model import Checkpoint, Entry, Proof, Recorded
from strongroom.journal.tree import (
    Prover,
    Range,
    consistency_ranges,
    inclusion_ranges,
    tiles_under,
)
from strongroom.kernel.clock import Clock
from strongroom.kernel.conditions import EVERYWHERE, Condition
from strongroom.kernel.decided import decided
from strongroom.kernel.ids import NIL_UUID, id_from, new_uuid7, unix_ms_of, uuid_of
from strongroom.kernel.limits import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX
from strongroom.storage import Change, Database, Session

SEQUENCING_WAIT_S = 1.5
"""How long `proof` waits for an entry's checkpoint: one is signed at least each second."""

_POLL_S = 0.05
_decoder = msgspec.json.Decoder(Recorded)


def record(change: Change, entry: Entry, *, at: datetime) -> str:
    """Add an entry to a Change and return its id.

    The entry names the decision of access that its maker runs under, if there is one.

    Raises:
        StrongroomError: `journal_refused` when the entry holds what looks like a card number.
    """
    entry_uuid = new_uuid7()
    entry_id = id_from("ent", entry_uuid)
    body = body_of(entry, entry_id=entry_id, at=at, under=decided())
    merchant = tenant_of(entry.merchant)
    change.add(records.ENTRY, (merchant, entry_uuid, at, entry.action, entry.subject, body))
    return entry_id


@lru_cache(maxsize=4096)
def tenant_of(merchant: str | None) -> UUID:
    """Return the column value for a merchant; None, the installation itself, is all zero."""
    return NIL_UUID if merchant is None else uuid_of(merchant, "mer")


class Journal:
    """Reads the journal: entries, proofs, checkpoints, and how far sequencing lags behind."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def entries(
        self,
        merchant: str | None,
        *,
        subject: str | None = None,
        after: str | None = None,
        limit: int = PAGE_LIMIT_DEFAULT,
        within: Condition = EVERYWHERE,
    ) -> list[Recorded]:
        """Return a merchant's entries that their reader may see, oldest first."""
        start = NIL_UUID if after is None else uuid_of(after, "ent")
        async with self._database.session() as session:
            bodies = await records.entries(
                session,
                tenant_of(merchant),
                subject=subject,
                after=start,
                limit=max(1, min(limit, PAGE_LIMIT_MAX)),
                within=within,
            )
        return [_decoder.decode(body) for body in bodies]

    async def entry(self, merchant: str | None, entry_id: str) -> Recorded:
        """Return one entry of a merchant.

        Raises:
            StrongroomError: `entry_not_found`, also for another merchant's entry.
        """
        async with self._database.session() as session:
            body, _ = await _placed(session, merchant, entry_id)
        return _decoder.decode(body)

    async def proof(self, merchant: str | None, entry_id: str) -> Proof:
        """Return the proof that an entry is in the journal under the last signed checkpoint.

        Waits up to `SEQUENCING_WAIT_S` for an entry that was committed just now.

        Raises:
            StrongroomError: `entry_not_found`, or `not_yet_sequenced` (retryable).
        """
        deadline = self._clock.monotonic() + SEQUENCING_WAIT_S
        while True:
            async with self._database.session() as session:
                body, index = await _placed(session, merchant, entry_id)
                checkpoint = await records.last_checkpoint(session)
                if index is not None and checkpoint is not None and index < checkpoint.size:
                    hashes = await _roots(session, inclusion_ranges(index, checkpoint.size))
                    return _proof(body, index, checkpoint, hashes)
            if self._clock.monotonic() >= deadline:
                raise errors.not_yet_sequenced()
            await asyncio.sleep(_POLL_S)

    async def checkpoint(self) -> Checkpoint:
        """Return the last signed checkpoint.

        Raises:
            StrongroomError: `no_checkpoint` before the first one is signed.
        """
        async with self._database.session() as session:
            found = await records.last_checkpoint(session)
        if found is None:
            raise errors.no_checkpoint()
        return found

    async def consistency(self, old_size: int, new_size: int) -> list[bytes]:
        """Return the proof that the journal of `new_size` entries begins with the `old_size` ones.

        Raises:
            StrongroomError: `journal_note_invalid` when the sizes are not of this journal.
        """
        checkpoint = await self.checkpoint()
        if not 0 <= old_size <= new_size <= checkpoint.size:
            raise errors.note_invalid("The sizes are not of this journal.")
        async with self._database.session() as session:
            return await _roots(session, consistency_ranges(old_size, new_size))

    async def probe(self) -> None:
        """Raise unless the journal takes entries: writes one and takes it back, at most 0.5 s.

        Raises:
            StrongroomError: `storage_unavailable` when it is locked, full or forbidden.
        """
        async with self._database.session() as session:
            await records.probe(session, at=self._clock.now())

    async def lag(self) -> float:
        """Return for how many seconds the oldest committed entry has waited for its checkpoint."""
        async with self._database.session() as session:
            oldest = await records.oldest_unsequenced(session)
        if oldest is None:
            return 0.0
        return max(0.0, self._clock.now().timestamp() - unix_ms_of(oldest) / 1000)


async def _placed(
    session: Session, merchant: str | None, entry_id: str
) -> tuple[bytes, int | None]:
    found = await records.placed_entry(session, tenant_of(merchant), uuid_of(entry_id, "ent"))
    if found is None:
        raise errors.entry_not_found()
    return found


async def _roots(session: Session, spans: list[Range]) -> list[bytes]:
    tiles = await records.read_tiles(session, tiles_under(spans))
    prover = Prover(lambda tile: tiles.get(tile, b""))
    try:
        return [prover.root(span) for span in spans]
    except ValueError as error:
        raise errors.damaged(f"A proof cannot be made: {error}.") from None


def _proof(body: bytes, index: int, checkpoint: Checkpoint, hashes: list[bytes]) -> Proof:
    return Proof(
        entry=body.decode(),
        index=index,
        size=checkpoint.size,
        hashes=[base64.b64encode(step).decode() for step in hashes],
        checkpoint=checkpoint.note,
    )

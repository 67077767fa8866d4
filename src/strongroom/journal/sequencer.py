"""The sequencer: gives committed batches their place, extends the tree, signs checkpoints.

One process leads, by an advisory lock on a connection of its own; others wait. It refuses to sign
whatever could fork the journal: it starts only from a state that fits the last checkpoint, and a
new checkpoint commits only as the single successor of the one it was made from.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any
from uuid import UUID

from strongroom.journal import decide, errors, records
from strongroom.journal.model import Batch, Checkpoint
from strongroom.journal.note import VerifierKey, parse_key, sign_checkpoint, verifier_key
from strongroom.journal.tree import HASH_BYTES, Edge, Tile, edge_tiles, tiles_under
from strongroom.journal.witness import Witness
from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ports import Signer
from strongroom.storage import ConstraintViolated, Database, Session

INTERVAL_S = 0.2
"""Time between steps: a checkpoint well within a second of the commit."""

MAX_ENTRIES_PER_STEP = 5_000
"""About ten milliseconds of hashing: the event loop serves payments in between."""

MAX_BATCHES_PER_STEP = 500
RETRY_S = 1.0
"""Pause after a failure, and between tries to become the leader."""

WITNESS_INTERVAL_S = 1.0
"""How often the witness file is written: each time costs a flush to disk."""

_log = logging.getLogger("strongroom.journal")


class Sequencer:
    """Run one in every worker process; at most one of them leads at a time.

    Args:
        database: as role `strongroom_journal`.
        signer: the journal's key; its name is the journal's origin.
        retired_keys: keys (`name+id+base64`) that signed earlier checkpoints.
        witness: where the last signed checkpoint is remembered outside the database.
    """

    def __init__(
        self,
        database: Database,
        signer: Signer,
        *,
        clock: Clock,
        witness: Witness | None = None,
        retired_keys: Iterable[str] = (),
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock
        self.witness = witness
        self._keys: list[VerifierKey] = [verifier_key(signer), *map(parse_key, retired_keys)]
        self._interval_s = interval_s
        self._session: Session | None = None
        self._hang_up: Callable[[], Coroutine[Any, Any, None]] | None = None
        self._edge: Edge | None = None
        self._witnessed_at = float("-inf")
        self._stopping = asyncio.Event()
        self.checkpoint: Checkpoint | None = None
        self.failure: StrongroomError | None = None

    @property
    def public_keys(self) -> list[str]:
        """The keys (`name+id+base64`) that may have signed checkpoints, the present one first."""
        return [key.text() for key in self._keys]

    @property
    def leading(self) -> bool:
        """Whether this process holds the lock and has checked the stored tree."""
        return self._edge is not None

    async def run(self) -> None:
        """Sequence until `stop`; a failure is kept in `failure`, logged once, and tried again."""
        while not self._stopping.is_set():
            try:
                moved = await self.step()
                self.failure = None
            except StrongroomError as error:
                self._note_failure(error)
                moved = 0
            if moved < MAX_ENTRIES_PER_STEP:
                await self._pause(self._interval_s if self.leading else RETRY_S)
            else:
                await asyncio.sleep(0)
        await self.close()

    def stop(self) -> None:
        """Ask `run` to finish its step and return."""
        self._stopping.set()

    async def step(self) -> int:
        """Lead if nobody does, sequence one bounded chunk, return how many entries it had.

        Raises:
            StrongroomError: `journal_fork` or `journal_damaged` when signing is refused,
                `storage_unavailable` when the database is gone.
        """
        try:
            if not await self._lead():
                return 0
            return await self._sequence()
        except BaseException:
            await self._step_down()
            raise

    async def close(self) -> None:
        """Give up the lock and write the witness file a last time."""
        if self.leading:
            await self._remember(force=True)
        await self._step_down()

    async def _lead(self) -> bool:
        if self._edge is not None:
            return True
        if self._session is None:
            self._session, self._hang_up = await self._database.dedicated()
        if not await records.try_lead(self._session):
            return False
        stored = await self._read(self._session)
        self._edge = decide.start(stored, self._keys)
        self.checkpoint = stored.checkpoint
        if self.checkpoint is None:
            await self._commit([], self._edge, {})
        await self._remember(force=True)
        _log.info("journal sequencer leads from entry %d", self._edge.size)
        return True

    async def _read(self, session: Session) -> decide.Stored:
        witness = None if self.witness is None else self.witness.read()
        checkpoint = await records.last_checkpoint(session)
        size = 0 if checkpoint is None else checkpoint.size
        wanted: set[Tile] = set(edge_tiles(size))
        if witness is not None and witness.size <= size:
            wanted |= tiles_under([(0, witness.size)])
        return decide.Stored(
            checkpoint=checkpoint,
            tiles=await records.read_tiles(session, wanted),
            last_tiles=await records.last_tiles(session),
            sequenced_end=await records.sequenced_end(session),
            witness=witness,
        )

    async def _sequence(self) -> int:
        session, edge = self._state()
        waiting = await records.unsequenced(session, limit=MAX_BATCHES_PER_STEP)
        if not waiting:
            await self._remember()
            return 0
        chosen = _bounded(waiting)
        batches = _placed(chosen, edge.size)
        leaves = await self._leaves(session, batches)
        tiles = edge.append(leaves)  # a step that fails drops the edge and reads it again
        await self._commit(batches, edge, tiles)
        await self._remember()
        return len(leaves)

    async def _leaves(self, session: Session, batches: Sequence[Batch]) -> list[bytes]:
        joined = await records.leaf_hashes(session, [b.id for b in batches if b.size])
        leaves: list[bytes] = []
        for batch in batches:
            held = joined.get(batch.id, b"")
            if len(held) != batch.size * HASH_BYTES:
                raise errors.damaged(f"Entries of batch {batch.id} changed while being sequenced.")
            leaves += [held[at : at + HASH_BYTES] for at in range(0, len(held), HASH_BYTES)]
        return leaves

    async def _commit(self, batches: Sequence[Batch], edge: Edge, tiles: dict[Tile, bytes]) -> None:
        """Write places, tiles and checkpoint in one transaction, or nothing of them."""
        session, _ = self._state()
        previous, signed = self.checkpoint, self.checkpoint
        try:
            async with session.transaction():
                if previous is None or edge.size != previous.size:
                    signed = sign_checkpoint(edge.size, edge.root(), self._signer)
                    at = self._clock.now()
                    if not await records.add_checkpoint(session, signed, previous=previous, at=at):
                        raise errors.overtaken("the last checkpoint is another")
                if not await records.place_batches(session, batches):
                    raise errors.overtaken("a batch has its place already")
                await records.write_tiles(session, tiles)
        except ConstraintViolated as error:
            raise errors.overtaken(error.constraint) from None
        self.checkpoint = signed

    async def _remember(self, *, force: bool = False) -> None:
        now = self._clock.monotonic()
        if self.witness is None or self.checkpoint is None:
            return
        if not force and now - self._witnessed_at < WITNESS_INTERVAL_S:
            return
        self._witnessed_at = now
        try:
            await asyncio.to_thread(self.witness.write, self.checkpoint)
        except OSError as error:
            _log.warning("journal witness file not written: %s", type(error).__name__)

    async def _step_down(self) -> None:
        hang_up, self._hang_up = self._hang_up, None
        self._session = self._edge = self.checkpoint = None
        if hang_up is not None:
            await hang_up()

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    def _state(self) -> tuple[Session, Edge]:
        if self._session is None or self._edge is None:
            raise errors.damaged("The sequencer does not lead.")
        return self._session, self._edge

    def _note_failure(self, error: StrongroomError) -> None:
        if self.failure is None or self.failure.code != error.code:
            _log.error("journal sequencer stopped: %s %s", error, error.detail)
        self.failure = error


def _bounded(waiting: Sequence[tuple[UUID, int]]) -> list[tuple[UUID, int]]:
    """Return the first batches that together stay within a step, at least one."""
    chosen: list[tuple[UUID, int]] = []
    total = 0
    for batch, size in waiting:
        if chosen and total + size > MAX_ENTRIES_PER_STEP:
            break
        chosen.append((batch, size))
        total += size
    return chosen


def _placed(chosen: Sequence[tuple[UUID, int]], start: int) -> list[Batch]:
    batches = []
    for batch, size in chosen:
        batches.append(Batch(batch, start, size))
        start += size
    return batches

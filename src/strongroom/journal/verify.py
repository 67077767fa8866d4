"""Checks the whole live store against its signed checkpoints, in pages of bounded memory.

Every entry is hashed and laid beside its stored leaf, every checkpoint's signature and root, every
tile and every batch is checked. It needs read access only and holds no long transaction, so it may
run beside a working installation; it checks up to the checkpoint that is the last when it starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from uuid import UUID

from strongroom.journal import records
from strongroom.journal.audit import Audit, Leaf, check_columns, match_batch
from strongroom.journal.model import Batch, Checkpoint, StoreReport
from strongroom.journal.note import parse_key
from strongroom.journal.tree import (
    HASH_BYTES,
    TILE_BYTES,
    TILE_WIDTH,
    Prover,
    Tile,
    edge_tiles,
    full_tiles,
    tile_rows,
    tiles_under,
)
from strongroom.journal.witness import Witness
from strongroom.kernel.ids import NIL_UUID
from strongroom.storage import Database, Session

Progress = Callable[[str, int, int], None]

PAGE_ENTRIES = 5_000
_PAGE_BATCHES = 500
_PAGE_SUMS = 2_000


async def verify_store(
    database: Database,
    *,
    public_keys: Iterable[str],
    witness: Witness | None = None,
    progress: Progress | None = None,
) -> StoreReport:
    """Check the whole journal and explain every problem.

    Args:
        public_keys: keys (`name+id+base64`) that may have signed checkpoints, kept elsewhere.
        witness: where the last signed checkpoint is remembered outside the database.
        progress: called with a stage's name, how much is done, and of how much.
    """
    keys = [parse_key(text) for text in public_keys]
    report = StoreReport()
    audit = Audit(keys, report)
    told = progress or _silent
    remembered = None if witness is None else witness.read()
    async with database.session() as session:
        checkpoint, widths = await records.snapshot(session)
        if checkpoint is not None:
            report.size, report.root = checkpoint.size, checkpoint.root
            _check_ends(audit, checkpoint.size, widths)
            await _check_entries(session, audit, checkpoint.size, report, told)
            await _check_tiles(session, audit, checkpoint.size, report, told)
        await _check_batches(session, audit, report, told)
        if remembered is not None:
            await _check_witness(session, audit, checkpoint, remembered)
    return report


async def _check_entries(
    session: Session, audit: Audit, target: int, report: StoreReport, progress: Progress
) -> None:
    await _advance(session, audit, [], [])
    while audit.size < target:
        start = audit.size
        batches = await records.placed_batches(
            session, start=start, end=target, limit=_PAGE_BATCHES
        )
        run = _run_from(audit, start, batches)
        if run:
            await _check_run(session, audit, run, report)
        else:
            await _check_gap(session, audit, batches[0].first_index if batches else target)
        progress("entries", audit.size, target)
        await asyncio.sleep(0)


def _run_from(audit: Audit, start: int, batches: list[Batch]) -> list[Batch]:
    """Return the batches that follow each other without a gap from `start`, up to a page."""
    run: list[Batch] = []
    for batch in batches:
        if batch.first_index < start:
            audit.problem(
                "batch_overlap",
                f"batch {batch.id}",
                f"It claims index {batch.first_index}, which belongs to another batch.",
            )
            continue
        if batch.first_index > start or (run and start - run[0].first_index >= PAGE_ENTRIES):
            break
        run.append(batch)
        start += batch.size
    return run


async def _check_run(session: Session, audit: Audit, run: list[Batch], report: StoreReport) -> None:
    start, end = run[0].first_index, run[-1].first_index + run[-1].size
    stored = await _stored_leaves(session, start, end)
    entries = await records.batch_entries(session, run)
    found: list[Leaf] = []
    for batch in run:
        low = batch.first_index - start
        held = entries[batch.id]
        leaves, doubts, extra = match_batch(batch, stored[low : low + batch.size], held)
        audit.suspect(doubts)
        for problem in extra:
            audit.problem(problem.code, problem.where, problem.message)
        for place, entry in enumerate(held):
            if wrong := check_columns(entry, batch.first_index + place):
                audit.problem(wrong.code, wrong.where, wrong.message)
        found += leaves
        report.entries += len(held)
    report.batches += len(run)
    await _advance(session, audit, stored, found)


async def _check_gap(session: Session, audit: Audit, end: int) -> None:
    start = audit.size
    audit.problem(
        "entries_missing",
        f"indexes {start} to {end - 1}",
        "Signed entries are gone: no batch has these indexes.",
    )
    while start < end:
        upto = min(end, start + PAGE_ENTRIES)
        stored = await _stored_leaves(session, start, upto)
        await _advance(session, audit, stored, [None] * len(stored))
        start = upto


async def _stored_leaves(session: Session, start: int, end: int) -> list[Leaf]:
    first, last = start // TILE_WIDTH, (end - 1) // TILE_WIDTH
    tiles = await records.read_tiles(session, [(0, index) for index in range(first, last + 1)])
    leaves: list[Leaf] = []
    for index in range(start, end):
        tile, at = tiles.get((0, index // TILE_WIDTH), b""), index % TILE_WIDTH * HASH_BYTES
        leaves.append(tile[at : at + HASH_BYTES] or None)
    return leaves


async def _advance(session: Session, audit: Audit, stored: list[Leaf], found: list[Leaf]) -> None:
    """Follow leaves, stopping at each checkpoint on the way."""
    start = at = audit.size
    end = start + len(stored)
    after = start if stored else -1
    page = await records.checkpoints(session, after=after, upto=end, limit=len(stored) + 1)
    for checkpoint, previous in page:
        audit.extend(
            stored[at - start : checkpoint.size - start],
            found[at - start : checkpoint.size - start],
        )
        at = checkpoint.size
        audit.check(checkpoint, previous)
    audit.extend(stored[at - start :], found[at - start :])


def _check_ends(audit: Audit, size: int, widths: dict[Tile, int]) -> None:
    expected: dict[Tile, int] = {tile: w * HASH_BYTES for tile, w in edge_tiles(size).items()}
    for level, count in enumerate(full_tiles(size)):
        expected.update({(level, index): TILE_BYTES for index in range(max(0, count - 2), count)})
    for level, index in sorted(set(widths) | set(expected)):
        has, needs = widths.get((level, index), 0), expected.get((level, index), 0)
        if has == needs or (has == 0 and needs == TILE_BYTES):
            continue
        audit.problem(
            "tile_width",
            f"tile {level}/{index}",
            f"It has {has // HASH_BYTES} hashes where a journal of {size} entries has "
            f"{needs // HASH_BYTES}.",
        )


async def _check_tiles(
    session: Session, audit: Audit, size: int, report: StoreReport, progress: Progress
) -> None:
    """Compare every hash of the upper levels with the tile beneath it."""
    report.tiles = sum(full_tiles(size)) + len(edge_tiles(size))
    counts = full_tiles(size)
    for level, children in enumerate(counts, start=1):
        for index in range((children + TILE_WIDTH - 1) // TILE_WIDTH):
            width = min(TILE_WIDTH, children - index * TILE_WIDTH)
            await _check_parent(session, audit, (level, index), width)
            progress(f"tiles of level {level}", index * TILE_WIDTH + width, children)


async def _check_parent(session: Session, audit: Audit, tile: Tile, width: int) -> None:
    level, index = tile
    parent = (await records.read_tiles(session, [tile])).get(tile, b"")
    below = await records.tile_page(session, level - 1, start=index * TILE_WIDTH, limit=TILE_WIDTH)
    for place in range(width):
        child = index * TILE_WIDTH + place
        hashes = below.get(child, b"")
        if len(hashes) != TILE_BYTES:
            audit.problem(
                "tile_missing",
                f"tile {level - 1}/{child}",
                f"It has {len(hashes) // HASH_BYTES} hashes where it must have {TILE_WIDTH}.",
            )
            continue
        told = parent[place * HASH_BYTES : (place + 1) * HASH_BYTES]
        known_bad = level == 1 and child in audit.bad_tiles
        if told != tile_rows(hashes)[-1][0] and not known_bad:
            audit.problem(
                "tile_changed",
                f"tile {level}/{index}",
                f"Its hash number {place} is not that of tile {level - 1}/{child}.",
            )


async def _check_batches(
    session: Session, audit: Audit, report: StoreReport, progress: Progress
) -> None:
    """Find entries that no batch accounts for."""
    after, done = NIL_UUID, 0
    while sums := await records.batch_sums(session, after=after, limit=_PAGE_SUMS):
        for batch, entries, first_index, size, beyond in sums:
            _check_batch(audit, report, batch, (entries, first_index, size, beyond))
        after, done = sums[-1][0], done + len(sums)
        progress("batches", done, max(done, report.batches))
        await asyncio.sleep(0)


def _check_batch(
    audit: Audit,
    report: StoreReport,
    batch: UUID,
    found: tuple[int, int | None, int | None, bool],
) -> None:
    entries, first_index, size, beyond = found
    if first_index is None:
        report.unsequenced += entries
    elif first_index < 0:
        audit.problem(
            "entry_orphan",
            f"batch {batch}",
            f"{entries} entries name this batch, but it does not exist: they are under no "
            "checkpoint.",
        )
    elif size == 0 or beyond:
        audit.problem(
            "batch_unsigned",
            f"batch {batch}",
            f"Its {entries} entries are marked as sequenced but are under no checkpoint.",
        )


async def _check_witness(
    session: Session, audit: Audit, checkpoint: Checkpoint | None, remembered: Checkpoint
) -> None:
    size = 0 if checkpoint is None else checkpoint.size
    if remembered.size > size:
        audit.problem(
            "rolled_back",
            "witness file",
            f"{remembered.size} entries were signed once, the database has only {size}.",
        )
        return
    span = (0, remembered.size)
    tiles = await records.read_tiles(session, tiles_under([span]))
    try:
        root = Prover(lambda tile: tiles.get(tile, b"")).root(span)
    except ValueError:
        root = b""
    if root != remembered.root:
        audit.problem(
            "other_history",
            "witness file",
            f"The first {remembered.size} entries are not the ones that were signed once.",
        )


def _silent(stage: str, done: int, total: int) -> None:
    """Take progress and tell nobody."""

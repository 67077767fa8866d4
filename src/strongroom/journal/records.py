"""The journal's SQL, and nobody else's.

Nothing here updates or deletes an entry, a checkpoint or a sequenced batch: the schema refuses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from strongroom.journal.model import Batch, Checkpoint, StoredEntry
from strongroom.journal.tree import Tile
from strongroom.kernel.conditions import EVERYWHERE, Condition
from strongroom.kernel.ids import NIL_UUID, new_uuid7, uuid_of
from strongroom.storage import Column, Insert, Session, where

ENTRY = Insert(
    "journal.entry",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "at": "timestamptz",
        "action": "text",
        "subject": "text",
        "body": "bytea",
    },
    batch_column="batch_id",
    ordinal_column="n",
)

VISIBLE_BY = {"merchant": Column("merchant_id", "uuid", str, lambda text: uuid_of(text, "mer"))}
"""The attributes by which policies may tell entries apart, and their columns."""

MARKER = ("journal.batch", ENTRY)
"""What a committer needs to add one row to journal.batch for each batch that has entries."""

LEADER_LOCK = 0x6A6F75726E616C
"""Advisory lock of the one sequencer ("journal" in ASCII)."""


class _TakenBack(Exception):
    """Ends the probe's transaction without writing."""


async def probe(session: Session, *, at: datetime) -> None:
    """Insert an entry and roll it back; raises StorageUnavailable when that is not possible."""
    try:
        async with session.transaction():
            await session.execute("SET LOCAL lock_timeout = '500ms'")
            await session.execute(
                "INSERT INTO journal.entry (merchant_id, id, batch_id, n, at, action, subject, "
                "body) VALUES ($1, $2, $2, 0, $3, 'journal:entry:probe', 'journal', '\\x7b7d')",
                NIL_UUID,
                new_uuid7(),
                at,
            )
            raise _TakenBack
    except _TakenBack:
        return


# --- the sequencer -------------------------------------------------------------------------------


async def try_lead(session: Session) -> bool:
    """Take the sequencer's lock for as long as the connection lives, if nobody has it."""
    return bool(await session.fetchval("SELECT pg_try_advisory_lock($1)", LEADER_LOCK))


async def last_checkpoint(session: Session) -> Checkpoint | None:
    """Return the checkpoint of the largest size."""
    row = await session.fetchrow(
        "SELECT size, root, note, at FROM journal.checkpoint ORDER BY size DESC LIMIT 1"
    )
    return None if row is None else _checkpoint(row)


async def sequenced_end(session: Session) -> int:
    """Return the index after the last sequenced entry, as the batches tell it."""
    return int(
        await session.fetchval(
            "SELECT coalesce((SELECT first_index + size FROM journal.batch WHERE size > 0 "
            "ORDER BY first_index DESC LIMIT 1), 0)"
        )
    )


async def last_tiles(session: Session) -> dict[int, tuple[int, int]]:
    """Return for each level the index and the width in bytes of its last tile."""
    rows = await session.fetch(
        "SELECT l.level, t.tile_index, octet_length(t.hashes) AS bytes "
        "FROM generate_series(0, 7) AS l(level) CROSS JOIN LATERAL ("
        "SELECT tile_index, hashes FROM journal.tile WHERE level = l.level "
        "ORDER BY tile_index DESC LIMIT 1) AS t"
    )
    return {row["level"]: (row["tile_index"], row["bytes"]) for row in rows}


async def unsequenced(session: Session, *, limit: int) -> list[tuple[UUID, int]]:
    """Return the oldest batches without a place, and how many entries each has."""
    rows = await session.fetch(
        "SELECT b.id, (SELECT count(*) FROM journal.entry e WHERE e.batch_id = b.id)::int AS size "
        "FROM journal.batch b WHERE b.first_index IS NULL ORDER BY b.id LIMIT $1",
        limit,
    )
    return [(row["id"], row["size"]) for row in rows]


async def leaf_hashes(session: Session, batches: Sequence[UUID]) -> dict[UUID, bytes]:
    """Return the joined leaf hashes of each batch, made by the database from the stored bytes."""
    rows = await session.fetch(
        r"SELECT batch_id, "
        r"string_agg(sha256('\x00'::bytea || body), ''::bytea ORDER BY n) AS leaves "
        "FROM journal.entry WHERE batch_id = ANY($1::uuid[]) GROUP BY batch_id",
        list(batches),
    )
    return {row["batch_id"]: row["leaves"] for row in rows}


async def add_checkpoint(
    session: Session, checkpoint: Checkpoint, *, previous: Checkpoint | None, at: datetime
) -> bool:
    """Add a checkpoint that follows `previous`, if that is still the last one signed."""
    tag = await session.execute(
        "INSERT INTO journal.checkpoint (size, previous, root, note, at) "
        "SELECT $1, $2, $3, $4, $5 WHERE CASE WHEN $2::bigint IS NULL "
        "THEN NOT EXISTS (SELECT 1 FROM journal.checkpoint) "
        "ELSE EXISTS (SELECT 1 FROM journal.checkpoint WHERE size = $2 AND root = $6) END",
        checkpoint.size,
        None if previous is None else previous.size,
        checkpoint.root,
        checkpoint.note,
        at,
        b"" if previous is None else previous.root,
    )
    return tag == "INSERT 0 1"


async def place_batches(session: Session, batches: Sequence[Batch]) -> bool:
    """Give batches their place; False when one of them had a place already."""
    tag = await session.execute(
        "UPDATE journal.batch b SET first_index = u.first_index, size = u.size "
        "FROM unnest($1::uuid[], $2::int8[], $3::int4[]) AS u(id, first_index, size) "
        "WHERE b.id = u.id AND b.first_index IS NULL",
        [batch.id for batch in batches],
        [batch.first_index for batch in batches],
        [batch.size for batch in batches],
    )
    return tag == f"UPDATE {len(batches)}"


async def write_tiles(session: Session, tiles: dict[Tile, bytes]) -> None:
    """Write new tiles and grow partial ones."""
    await session.execute(
        "INSERT INTO journal.tile (level, tile_index, hashes) "
        "SELECT * FROM unnest($1::int2[], $2::int8[], $3::bytea[]) "
        "ON CONFLICT (level, tile_index) DO UPDATE SET hashes = EXCLUDED.hashes",
        [level for level, _ in tiles],
        [index for _, index in tiles],
        list(tiles.values()),
    )


# --- readers -------------------------------------------------------------------------------------


async def read_tiles(session: Session, tiles: Iterable[Tile]) -> dict[Tile, bytes]:
    """Return the stored bytes of tiles; missing ones are left out."""
    wanted = list(tiles)
    rows = await session.fetch(
        "SELECT t.level, t.tile_index, t.hashes "
        "FROM unnest($1::int2[], $2::int8[]) AS u(level, tile_index) "
        "JOIN journal.tile t ON t.level = u.level AND t.tile_index = u.tile_index",
        [level for level, _ in wanted],
        [index for _, index in wanted],
    )
    return {(row["level"], row["tile_index"]): row["hashes"] for row in rows}


async def entries(
    session: Session,
    merchant: UUID,
    *,
    subject: str | None,
    after: UUID,
    limit: int,
    within: Condition = EVERYWHERE,
) -> list[bytes]:
    """Return the bodies of a merchant's entries in order of id, within what may be seen."""
    values: list[Any] = [merchant, after, limit]
    terms = ["merchant_id = $1", "id > $2", where(within, VISIBLE_BY, values)]
    if subject is not None:
        values.append(subject)
        terms.append(f"subject = ${len(values)}")
    rows = await session.fetch(
        "SELECT body FROM journal.entry "  # noqa: S608 (constant columns, bound values)
        f"WHERE {' AND '.join(terms)} ORDER BY id LIMIT $3",
        *values,
    )
    return [row["body"] for row in rows]


async def placed_entry(
    session: Session, merchant: UUID, entry: UUID
) -> tuple[bytes, int | None] | None:
    """Return the body of a merchant's entry and its index, None while it has no index."""
    row = await session.fetchrow(
        "SELECT e.body, b.first_index + (SELECT count(*) FROM journal.entry p "
        "WHERE p.batch_id = e.batch_id AND p.n < e.n) AS index "
        "FROM journal.entry e LEFT JOIN journal.batch b ON b.id = e.batch_id "
        "WHERE e.merchant_id = $1 AND e.id = $2",
        merchant,
        entry,
    )
    return None if row is None else (row["body"], row["index"])


async def oldest_unsequenced(session: Session) -> UUID | None:
    """Return the oldest batch without a place."""
    found = await session.fetchval(
        "SELECT id FROM journal.batch WHERE first_index IS NULL ORDER BY id LIMIT 1"
    )
    return found if isinstance(found, UUID) else None


# --- verification and export ---------------------------------------------------------------------


async def placed_batches(session: Session, *, start: int, end: int, limit: int) -> list[Batch]:
    """Return batches whose first index lies in `[start, end)`, in order."""
    rows = await session.fetch(
        "SELECT id, first_index, size FROM journal.batch "
        "WHERE size > 0 AND first_index >= $1 AND first_index < $2 ORDER BY first_index LIMIT $3",
        start,
        end,
        limit,
    )
    return [Batch(row["id"], row["first_index"], row["size"]) for row in rows]


async def batch_entries(
    session: Session, batches: Sequence[Batch]
) -> dict[UUID, list[StoredEntry]]:
    """Return the entries of batches, each batch in its order."""
    rows = await session.fetch(
        "SELECT merchant_id, id, batch_id, n, at, action, subject, body FROM journal.entry "
        "WHERE batch_id = ANY($1::uuid[]) ORDER BY batch_id, n",
        [batch.id for batch in batches],
    )
    found: dict[UUID, list[StoredEntry]] = {batch.id: [] for batch in batches}
    for row in rows:
        found[row["batch_id"]].append(StoredEntry(*row))
    return found


async def checkpoints(
    session: Session, *, after: int, upto: int, limit: int
) -> list[tuple[Checkpoint, int | None]]:
    """Return checkpoints of sizes in `(after, upto]` and the size each follows."""
    rows = await session.fetch(
        "SELECT size, previous, root, note, at FROM journal.checkpoint "
        "WHERE size > $1 AND size <= $2 ORDER BY size LIMIT $3",
        after,
        upto,
        limit,
    )
    return [(_checkpoint(row), row["previous"]) for row in rows]


async def snapshot(session: Session) -> tuple[Checkpoint | None, dict[Tile, int]]:
    """Return, of one moment, the last checkpoint and the widths in bytes of the last tiles.

    The last two tiles of each level are told, so that a tile too many shows.
    """
    rows = await session.fetch(
        "SELECT c.size, c.root, c.note, c.at, t.level, t.tile_index, t.bytes "
        "FROM (SELECT size, root, note, at FROM journal.checkpoint ORDER BY size DESC LIMIT 1) c "
        "LEFT JOIN LATERAL (SELECT l.level, x.tile_index, octet_length(x.hashes) AS bytes "
        "FROM generate_series(0, 63) AS l(level) CROSS JOIN LATERAL ("
        "SELECT tile_index, hashes FROM journal.tile WHERE level = l.level "
        "ORDER BY tile_index DESC LIMIT 2) AS x) AS t ON true"
    )
    if not rows:
        return None, {}
    widths = {
        (row["level"], row["tile_index"]): row["bytes"] for row in rows if row["level"] is not None
    }
    return _checkpoint(rows[0]), widths


async def tile_page(session: Session, level: int, *, start: int, limit: int) -> dict[int, bytes]:
    """Return the tiles of a level from index `start` on."""
    rows = await session.fetch(
        "SELECT tile_index, hashes FROM journal.tile "
        "WHERE level = $1 AND tile_index >= $2 ORDER BY tile_index LIMIT $3",
        level,
        start,
        limit,
    )
    return {row["tile_index"]: row["hashes"] for row in rows}


async def batch_sums(
    session: Session, *, after: UUID, limit: int
) -> list[tuple[UUID, int, int | None, int | None, bool]]:
    """Return, by batch id, how many entries name it and what its row says (None: no row).

    The last value tells whether the batch lies beyond the last checkpoint.
    """
    rows = await session.fetch(
        "SELECT g.batch_id, g.entries, b.first_index, b.size, b.id IS NULL AS orphan, "
        "coalesce(b.first_index + b.size > (SELECT max(size) FROM journal.checkpoint), false) "
        "AS beyond FROM (SELECT batch_id, count(*)::int AS entries FROM journal.entry "
        "WHERE batch_id > $1 GROUP BY batch_id ORDER BY batch_id LIMIT $2) g "
        "LEFT JOIN journal.batch b ON b.id = g.batch_id ORDER BY g.batch_id",
        after,
        limit,
    )
    return [
        (
            row["batch_id"],
            row["entries"],
            -1 if row["orphan"] else row["first_index"],
            row["size"],
            row["beyond"],
        )
        for row in rows
    ]


async def index_range(session: Session, *, low: UUID, high: UUID, size: int) -> tuple[int, int]:
    """Return the indexes `[first, end)` of the batches with ids in `[low, high]`, within `size`."""
    row = await session.fetchrow(
        "SELECT min(first_index) AS first, max(first_index + size) AS end FROM journal.batch "
        "WHERE id >= $1 AND id <= $2 AND size > 0 AND first_index < $3",
        low,
        high,
        size,
    )
    if row is None or row["first"] is None:
        return 0, 0
    return row["first"], min(row["end"], size)


async def batch_start(session: Session, index: int) -> int:
    """Return the first index of the batch that holds an index."""
    found = await session.fetchval(
        "SELECT first_index FROM journal.batch WHERE size > 0 AND first_index <= $1 "
        "ORDER BY first_index DESC LIMIT 1",
        index,
    )
    return 0 if found is None else int(found)


async def selection_page(
    session: Session,
    merchant: UUID,
    *,
    after: UUID,
    since: datetime,
    until: datetime,
    size: int,
    limit: int,
) -> list[tuple[UUID, int, bytes]]:
    """Return id, index and body of a merchant's sequenced entries in order of id."""
    rows = await session.fetch(
        "SELECT e.id, b.first_index + (SELECT count(*) FROM journal.entry p "
        "WHERE p.batch_id = e.batch_id AND p.n < e.n) AS index, e.body "
        "FROM journal.entry e JOIN journal.batch b ON b.id = e.batch_id "
        "WHERE e.merchant_id = $1 AND e.id > $2 AND e.at >= $3 AND e.at < $4 "
        "AND b.size > 0 AND b.first_index + b.size <= $5 ORDER BY e.id LIMIT $6",
        merchant,
        after,
        since,
        until,
        size,
        limit,
    )
    return [(row["id"], row["index"], row["body"]) for row in rows]


def _checkpoint(row: Any) -> Checkpoint:
    return Checkpoint(size=row["size"], root=row["root"], note=row["note"], at=row["at"])

"""Writes slices of the journal to files that can be checked without the store.

Memory stays flat whatever the size. The file appears under its name only when it is whole.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import msgspec

from strongroom.journal import errors, records
from strongroom.journal.decide import timestamp
from strongroom.journal.flow import tenant_of
from strongroom.journal.model import Batch, Checkpoint
from strongroom.journal.note import VerifierKey, open_checkpoint, parse_key, sign_note
from strongroom.journal.slices import FORMAT, SliceEnd, SliceEntry, SliceHeader, seal_text
from strongroom.journal.tree import Prover, Tile, inclusion_ranges, tiles_under
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import NIL_UUID
from strongroom.kernel.ports import Signer
from strongroom.storage import Database, Session

PAGE = 500
COMMIT_SLACK = timedelta(minutes=1)
"""An entry is committed at most this long after the time it tells."""

_MAX_TILES = 64
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_END = datetime(9999, 1, 1, tzinfo=UTC)

_Line = tuple[int, bytes]


async def export_slice(
    database: Database,
    path: Path,
    *,
    public_keys: Iterable[str],
    merchant: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    signer: Signer | None = None,
) -> SliceEnd:
    """Write a slice under the last checkpoint and return its last line.

    Without `merchant` the slice is a range: everything committed in `[since, until)`, and the file
    proves that nothing between its first and last entry is missing. With `merchant` it is a
    selection, which proves each entry but not that there are no others; `signer` seals the file, so
    that at least nothing can be removed from it later.

    Raises:
        StrongroomError: `no_checkpoint`; `journal_damaged` when a proof cannot be made;
            `journal_note_invalid` when the last checkpoint is not signed by a given key.
    """
    keys = [parse_key(text) for text in public_keys]
    async with database.session() as session:
        found = await records.last_checkpoint(session)
        if found is None:
            raise errors.no_checkpoint()
        checkpoint, key = _signed(found, keys)
        maker = _Maker(session, checkpoint, since or _BEGINNING, until or _END)
        header = await _header(maker, key, merchant, since, until)
        lines = maker.selection(merchant) if merchant else maker.range(header.first, header.end)
        with _draft(path) as file:
            return await _write(file, header, maker.proven(lines), signer)


@contextmanager
def _draft(path: Path) -> Iterator[BinaryIO]:
    """Open a file that gets its name only when the block ends well and all is on disk."""
    draft = path.with_name(path.name + ".part")
    try:
        with open(draft, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _signed(found: Checkpoint, keys: Sequence[VerifierKey]) -> tuple[Checkpoint, VerifierKey]:
    """Return the checkpoint, opened, and which of the keys signed it."""
    for key in keys[:-1]:
        try:
            return open_checkpoint(found.note, [key]), key
        except StrongroomError:
            continue
    return open_checkpoint(found.note, keys[-1:]), keys[-1]


async def _header(
    maker: _Maker,
    key: VerifierKey,
    merchant: str | None,
    since: datetime | None,
    until: datetime | None,
) -> SliceHeader:
    first, end = (0, 0) if merchant else await maker.bounds(whole=since is None and until is None)
    return SliceHeader(
        format=FORMAT,
        origin=key.name,
        key=key.text(),
        checkpoint=maker.checkpoint.note,
        kind="selection" if merchant else "range",
        merchant=merchant,
        since=None if since is None else timestamp(since),
        until=None if until is None else timestamp(until),
        first=first,
        end=end,
    )


async def _write(
    file: BinaryIO, header: SliceHeader, lines: AsyncIterator[SliceEntry], signer: Signer | None
) -> SliceEnd:
    digest, count = sha256(), 0

    def put(line: msgspec.Struct) -> None:
        data = msgspec.json.encode(line) + b"\n"
        digest.update(data)
        file.write(data)

    put(header)
    async for line in lines:
        put(line)
        count += 1
    told = digest.hexdigest()
    seal = None if signer is None else sign_note(seal_text(header.origin, told), signer)
    end = SliceEnd(count=count, sha256=told, seal=seal)
    file.write(msgspec.json.encode(end) + b"\n")
    return end


class _Maker:
    """Reads entries page by page and proves each under one checkpoint."""

    def __init__(
        self, session: Session, checkpoint: Checkpoint, since: datetime, until: datetime
    ) -> None:
        self._session = session
        self._since = since
        self._until = until
        self._tiles: dict[Tile, bytes] = {}
        self._prover = self._new_prover()
        self.checkpoint = checkpoint

    async def bounds(self, *, whole: bool) -> tuple[int, int]:
        """Return the indexes `[first, end)` of everything committed in the asked time."""
        if whole:
            return 0, self.checkpoint.size
        low = _uuid_floor(self._since)
        high = _uuid_floor(min(self._until + COMMIT_SLACK, _END))
        return await records.index_range(
            self._session, low=low, high=high, size=self.checkpoint.size
        )

    async def range(self, first: int, end: int) -> AsyncIterator[list[_Line]]:
        """Yield pages of index and body for a range of indexes."""
        start = await records.batch_start(self._session, first)
        while start < end:
            batches = await records.placed_batches(self._session, start=start, end=end, limit=PAGE)
            run = _run_from(start, batches)
            held = await records.batch_entries(self._session, run)
            for batch in run:
                if len(held[batch.id]) != batch.size:
                    raise errors.damaged(
                        f"Batch {batch.id} has {len(held[batch.id])} entries where {batch.size} "
                        "were signed. Run `strongroom journal verify`."
                    )
            page = [
                (batch.first_index + place, entry.body)
                for batch in run
                for place, entry in enumerate(held[batch.id])
            ]
            yield [line for line in page if first <= line[0] < end]
            start = run[-1].first_index + run[-1].size

    async def selection(self, merchant: str) -> AsyncIterator[list[_Line]]:
        """Yield pages of index and body of a merchant's entries, in order of id."""
        after = max(NIL_UUID, _uuid_floor(self._since - timedelta(days=1)))
        while page := await records.selection_page(
            self._session,
            tenant_of(merchant),
            after=after,
            since=self._since,
            until=self._until,
            size=self.checkpoint.size,
            limit=PAGE,
        ):
            yield [(index, body) for _, index, body in page]
            after = page[-1][0]

    async def proven(self, pages: AsyncIterator[list[_Line]]) -> AsyncIterator[SliceEntry]:
        """Yield each entry with its audit path."""
        size = self.checkpoint.size
        async for page in pages:
            spans = [inclusion_ranges(index, size) for index, _ in page]
            await self._load({tile for path in spans for tile in tiles_under(path)})
            for (index, body), path in zip(page, spans, strict=True):
                proof = [_b64(self._root(span)) for span in path]
                yield SliceEntry(index=index, body=_text(body, index), proof=proof)

    async def _load(self, tiles: set[Tile]) -> None:
        if len(self._tiles) > _MAX_TILES:
            self._tiles.clear()
            self._prover = self._new_prover()
        missing = tiles - self._tiles.keys()
        self._tiles.update(await records.read_tiles(self._session, missing))

    def _root(self, span: tuple[int, int]) -> bytes:
        try:
            return self._prover.root(span)
        except ValueError as error:
            raise errors.damaged(f"A proof cannot be made: {error}.") from None

    def _new_prover(self) -> Prover:
        return Prover(lambda tile: self._tiles.get(tile, b""))


def _run_from(start: int, batches: Sequence[Batch]) -> list[Batch]:
    """Return the batches that follow each other from index `start`, about a page of entries."""
    run: list[Batch] = []
    at = start
    for batch in batches:
        if batch.first_index != at or at - start >= PAGE:
            break
        run.append(batch)
        at += batch.size
    if not run:
        raise errors.damaged(
            f"No entry is stored at index {start}. Run `strongroom journal verify`."
        )
    return run


def _uuid_floor(moment: datetime) -> UUID:
    """Return the smallest UUIDv7 of a moment."""
    unix_ms = max(0, int(moment.timestamp() * 1000))
    return UUID(int=unix_ms << 80)


def _text(body: bytes, index: int) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise errors.damaged(f"The entry at index {index} is not text.") from None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()

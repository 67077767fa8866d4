"""Compares what is stored with what was signed; pure, so that every case can be tested by itself.

Stored leaf hashes (from tiles) and leaf hashes of the entries are followed side by side. Where
they differ, the next signed root decides which of the two is the true history, so that a problem
is put down to the changed entry or to the changed tile, and never to both.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from strongroom.journal.decide import timestamp
from strongroom.journal.model import (
    Batch,
    Checkpoint,
    Problem,
    Recorded,
    StoredEntry,
    StoreReport,
)
from strongroom.journal.note import VerifierKey, open_checkpoint
from strongroom.journal.tree import HASH_BYTES, TILE_WIDTH, Edge, leaf_hash
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import NIL_UUID, id_from

MAX_PROBLEMS = 1_000
"""Problems that are told in words; the rest is only counted."""

_UNKNOWN = b"\x00" * HASH_BYTES
_decoder = msgspec.json.Decoder(Recorded)

Leaf = bytes | None


class Suspect(msgspec.Struct, frozen=True):
    """A place where entry and stored leaf differ, before the next root tells which is right."""

    index: int
    problem: Problem


class Audit:
    """The state of one pass over the journal, from its first entry on."""

    def __init__(self, keys: Sequence[VerifierKey], report: StoreReport) -> None:
        self._keys = keys
        self._report = report
        self._edge = Edge(0, {})
        self._other: Edge | None = None
        self._suspects: list[Suspect] = []
        self._previous: int | None = None
        self.bad_tiles: set[int] = set()

    @property
    def size(self) -> int:
        """How many leaves were followed so far."""
        return self._edge.size

    def problem(self, code: str, where: str, message: str) -> None:
        """Report a problem."""
        self._add(Problem(code=code, where=where, message=message))

    def suspect(self, suspects: Sequence[Suspect]) -> None:
        """Keep differences until the next checkpoint decides them."""
        self._suspects += suspects

    def extend(self, stored: Sequence[Leaf], found: Sequence[Leaf]) -> None:
        """Follow the next leaves: as the tiles have them, and as the entries hash to them."""
        by_tile = [s or f or _UNKNOWN for s, f in zip(stored, found, strict=True)]
        by_entry = [f or s or _UNKNOWN for s, f in zip(stored, found, strict=True)]
        if self._other is None and by_tile != by_entry:
            self._other = self._edge.copy()
        self._edge.append(by_tile)
        if self._other is not None:
            self._other.append(by_entry)

    def check(self, checkpoint: Checkpoint, previous: int | None) -> None:
        """Compare the followed leaves with a stored checkpoint of just this size."""
        where = f"checkpoint {checkpoint.size}"
        self._report.checkpoints += 1
        self._check_note(checkpoint, where)
        if previous != self._previous:
            self.problem(
                "checkpoint_missing",
                where,
                f"It says it follows size {previous}, but the one before it is of size "
                f"{self._previous}: a checkpoint was removed or added.",
            )
        self._previous = checkpoint.size
        self._decide(checkpoint, where)

    def _check_note(self, checkpoint: Checkpoint, where: str) -> None:
        try:
            signed = open_checkpoint(checkpoint.note, self._keys)
        except StrongroomError as error:
            self.problem("checkpoint_signature", where, error.public)
            return
        if (signed.size, signed.root) != (checkpoint.size, checkpoint.root):
            self.problem(
                "checkpoint_changed", where, "Its stored size or root is not what its note signs."
            )

    def _decide(self, checkpoint: Checkpoint, where: str) -> None:
        if self._edge.root() == checkpoint.root:
            self._blame_entries()
        elif self._other is not None and self._other.root() == checkpoint.root:
            self._edge = self._other
            self._blame_tiles()
        else:
            self._blame_entries()
            self.problem(
                "checkpoint_root",
                where,
                "Neither the stored entries nor the stored tiles lead to its root.",
            )
        self._other = None
        self._suspects.clear()

    def _blame_entries(self) -> None:
        for suspect in self._suspects:
            self._add(suspect.problem)

    def _blame_tiles(self) -> None:
        for tile in sorted({suspect.index // TILE_WIDTH for suspect in self._suspects}):
            self.bad_tiles.add(tile)
            self.problem(
                "tile_changed",
                f"tile 0/{tile}",
                "The tile was changed: the entries lead to the signed root, its hashes do not.",
            )

    def _add(self, problem: Problem) -> None:
        self._report.problem_count += 1
        if len(self._report.problems) < MAX_PROBLEMS:
            self._report.problems.append(problem)


def match_batch(
    batch: Batch, stored: Sequence[Leaf], entries: Sequence[StoredEntry]
) -> tuple[list[Leaf], list[Suspect], list[Problem]]:
    """Lay a batch's entries beside its stored leaves.

    Returns the leaf for each place as the entries give it, what is in doubt until the next
    checkpoint, and entries that have no place at all.
    """
    hashes = [leaf_hash(entry.body) for entry in entries]
    found: list[Leaf] = []
    doubts: list[Suspect] = []
    at = 0
    for place, expected in enumerate(stored):
        spare = (len(entries) - at) - (len(stored) - place)
        while spare > 0 and hashes[at] != expected:
            doubts.append(_added(batch, entries[at]))
            at, spare = at + 1, spare - 1
        if at < len(entries) and (spare >= 0 or hashes[at] == expected):
            if expected is not None and hashes[at] != expected:
                moved = hashes[at] in stored
                doubts.append(_changed(batch.first_index + place, entries[at], moved))
            found.append(hashes[at])
            at += 1
        else:
            doubts.append(_missing(batch, place))
            found.append(None)
    extra = [_added(batch, entry).problem for entry in entries[at:]]
    return found, doubts, extra


def check_columns(entry: StoredEntry, index: int) -> Problem | None:
    """Compare the columns that find an entry with the body that is proven."""
    where = _where(index, entry)
    try:
        body = _decoder.decode(entry.body)
    except msgspec.MsgspecError:
        return Problem(code="entry_unreadable", where=where, message="Its body is not an entry.")
    merchant = None if entry.merchant_id == NIL_UUID else id_from("mer", entry.merchant_id)
    told = (body.id, body.merchant, body.at, body.action, body.subject)
    columns = (
        id_from("ent", entry.id),
        merchant,
        timestamp(entry.at),
        entry.action,
        entry.subject,
    )
    if told == columns:
        return None
    names = ("id", "merchant", "at", "action", "subject")
    wrong = [name for name, a, b in zip(names, told, columns, strict=True) if a != b]
    return Problem(
        code="entry_columns",
        where=where,
        message=f"The row's {', '.join(wrong)} was changed; the proven body says otherwise.",
    )


def _changed(index: int, entry: StoredEntry, moved: bool) -> Suspect:
    if moved:
        code, message = "entry_moved", "It stands at another place than it was signed at."
    else:
        code, message = "entry_changed", "It is not what was signed: its content was changed."
    return Suspect(index, Problem(code=code, where=_where(index, entry), message=message))


def _missing(batch: Batch, place: int) -> Suspect:
    index = batch.first_index + place
    message = f"An entry that was signed here is gone (batch {batch.id})."
    return Suspect(index, Problem(code="entry_missing", where=f"index {index}", message=message))


def _added(batch: Batch, entry: StoredEntry) -> Suspect:
    message = f"It was put into batch {batch.id} after that was sequenced and signed."
    problem = Problem(code="entry_added", where=_where(None, entry), message=message)
    return Suspect(batch.first_index, problem)


def _where(index: int | None, entry: StoredEntry) -> str:
    name = f"entry {id_from('ent', entry.id)}"
    return name if index is None else f"{name} (index {index})"

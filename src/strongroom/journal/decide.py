"""Pure decisions of the journal: what an entry's bytes are, and whether sequencing may begin.

No I/O. `start` is the only way to an `Edge` that a sequencer may extend and sign; every case in
which going on could sign a second history, or one that does not fit its entries, is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from strongroom.journal import errors
from strongroom.journal.model import Checkpoint, Entry, Fact
from strongroom.journal.note import VerifierKey, open_checkpoint
from strongroom.journal.tree import HASH_BYTES, Edge, Prover, Tile, edge_tiles, full_tiles
from strongroom.kernel.decided import Decided
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.screen import holds_card_number, possible

_encoder = msgspec.json.Encoder(order="sorted")


def body_of(entry: Entry, *, entry_id: str, at: datetime, under: Decided | None = None) -> bytes:
    """Return the canonical bytes of an entry (RFC 8785): the leaf of the tree.

    `under` is the decision of access that led to it; an entry that names its own keeps that.

    Raises:
        StrongroomError: `journal_refused` when the text holds what looks like a card number.
    """
    try:
        body = _encoder.encode(_fields(entry, entry_id, at, under))
    except UnicodeEncodeError:
        raise errors.refused(f"an entry of action {entry.action} holds broken Unicode") from None
    if possible(body) and holds_card_number(body.decode()):
        raise errors.refused(f"an entry of action {entry.action} holds what looks like a PAN")
    return body


def timestamp(at: datetime) -> str:
    """Return `at` as RFC 3339 in UTC with milliseconds and `Z`."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"


def _fields(entry: Entry, entry_id: str, at: datetime, under: Decided | None) -> dict[str, object]:
    """Return what is encoded. `Entry` has checked every type, so no second look is needed."""
    return {
        "action": entry.action,
        "actor": entry.actor,
        "at": timestamp(at),
        "facts": _facts(entry, under),
        "id": entry_id,
        "merchant": entry.merchant,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "request": entry.request,
        "subject": entry.subject,
    }


def _facts(entry: Entry, under: Decided | None) -> dict[str, Fact]:
    if under is None or "policy_set" in entry.facts:
        return entry.facts
    return {**entry.facts, "policy": under.policy, "policy_set": under.policy_set}


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a starting sequencer found: in the database, and outside of it (`witness`).

    `tiles` hold at least the partial tiles of the checkpoint and those under the witness' root;
    `last_tiles` tells for each level the index and byte width of its last tile.
    """

    checkpoint: Checkpoint | None
    tiles: Mapping[Tile, bytes]
    last_tiles: Mapping[int, tuple[int, int]]
    sequenced_end: int
    witness: Checkpoint | None


def start(stored: Stored, keys: Iterable[VerifierKey]) -> Edge:
    """Return the right edge to go on from.

    Raises:
        StrongroomError: `journal_fork` when the database is older than what was signed, or tells
            another history; `journal_damaged` when it does not fit its own last checkpoint.
    """
    if stored.checkpoint is None:
        return _start_empty(stored)
    _check_signature(stored.checkpoint, list(keys))
    _check_rollback(stored.checkpoint, stored.witness)
    edge = _check_tiles(stored.checkpoint, stored)
    if stored.sequenced_end != stored.checkpoint.size:
        raise errors.damaged(
            f"Batches are sequenced up to {stored.sequenced_end}, but the last checkpoint is of "
            f"{stored.checkpoint.size} entries. Run `strongroom journal verify`."
        )
    _check_history(stored)
    return edge


def _start_empty(stored: Stored) -> Edge:
    if stored.witness is not None:
        raise _rolled_back(0, stored.witness.size)
    if stored.last_tiles or stored.sequenced_end:
        raise errors.damaged(
            "The journal has a tree but no checkpoint: its checkpoints were deleted. Restore the "
            "database."
        )
    return Edge(0, {})


def _check_signature(checkpoint: Checkpoint, keys: list[VerifierKey]) -> None:
    try:
        signed = open_checkpoint(checkpoint.note, keys)
    except StrongroomError as error:
        raise errors.damaged(
            "The last checkpoint is not signed by this installation's journal key: either the "
            f"wrong key is configured or the checkpoint was replaced ({error.public})"
        ) from None
    if (signed.size, signed.root) != (checkpoint.size, checkpoint.root):
        raise errors.damaged(
            "The last checkpoint's row was edited: its size or root is not what was signed."
        )


def _check_rollback(checkpoint: Checkpoint, witness: Checkpoint | None) -> None:
    if witness is None:
        return
    if witness.size > checkpoint.size:
        raise _rolled_back(checkpoint.size, witness.size)
    if witness.size == checkpoint.size and witness.root != checkpoint.root:
        raise _other_history(witness.size)


def _check_tiles(checkpoint: Checkpoint, stored: Stored) -> Edge:
    expected = _last_tiles(checkpoint.size)
    if dict(stored.last_tiles) != expected:
        raise errors.damaged(
            f"The stored tiles are not those of {checkpoint.size} entries: tiles are missing, cut "
            "or too many. Run `strongroom journal verify`."
        )
    try:
        edge = Edge(checkpoint.size, stored.tiles)
    except ValueError as error:
        raise errors.damaged(f"The stored tree is incomplete: {error}.") from None
    if edge.root() != checkpoint.root:
        raise errors.damaged(
            f"The stored tiles do not lead to the signed root of {checkpoint.size} entries: tiles "
            "were changed. Run `strongroom journal verify`."
        )
    return edge


def _check_history(stored: Stored) -> None:
    """Refuse when the remembered tree is not the beginning of the stored one."""
    witness = stored.witness
    if witness is None or witness.size == 0:
        return
    try:
        root = Prover(lambda tile: stored.tiles.get(tile, b"")).root((0, witness.size))
    except ValueError:
        root = b""
    if root != witness.root:
        raise _other_history(witness.size)


def _last_tiles(size: int) -> dict[int, tuple[int, int]]:
    """Return for each level the index and byte width of the last tile a tree of `size` has."""
    last = {level: (count - 1, 256 * HASH_BYTES) for level, count in enumerate(full_tiles(size))}
    last.update({level: (i, width * HASH_BYTES) for (level, i), width in edge_tiles(size).items()})
    return last


def _rolled_back(size: int, remembered: int) -> StrongroomError:
    return errors.fork(
        f"The database's journal ends at {size} entries, but {remembered} were signed before: an "
        "older copy of the database was started. Start the newest copy. If entries are really "
        "lost, run `strongroom journal accept-rollback --reason …`; everyone who holds a later "
        "checkpoint will be able to see it."
    )


def _other_history(size: int) -> StrongroomError:
    return errors.fork(
        f"The journal's first {size} entries are not the ones that were signed: this database "
        "tells another history than the witness file. Start the right database."
    )

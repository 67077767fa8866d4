"""The journal: what happened, append-only, as leaves of a Merkle tree with signed checkpoints.

`record` adds an entry to a Change; `Sequencer` gives committed entries their place and signs;
`Journal` reads and proves; `verify_*` and `export_slice` are for those who do not take our word.
The verifiers of files load neither the store nor the database driver, so names load when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.kernel.lazy import lazy_door

if TYPE_CHECKING:
    from strongroom.journal.export import export_slice
    from strongroom.journal.flow import Journal, record
    from strongroom.journal.model import Entry, Proof
    from strongroom.journal.offline import verify_proof, verify_slice
    from strongroom.journal.records import MARKER
    from strongroom.journal.sequencer import Sequencer
    from strongroom.journal.verify import verify_store
    from strongroom.journal.witness import Witness

_HOMES = {
    "MARKER": "records",
    "Entry": "model",
    "Journal": "flow",
    "Proof": "model",
    "Sequencer": "sequencer",
    "Witness": "witness",
    "export_slice": "export",
    "record": "flow",
    "verify_proof": "offline",
    "verify_slice": "offline",
    "verify_store": "verify",
}

__all__ = [
    "MARKER",
    "Entry",
    "Journal",
    "Proof",
    "Sequencer",
    "Witness",
    "export_slice",
    "record",
    "verify_proof",
    "verify_slice",
    "verify_store",
]

__getattr__ = lazy_door(__name__, _HOMES)

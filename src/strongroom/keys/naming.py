"""How keys are called outside, and what the journal says of what happened to them."""

from __future__ import annotations

from uuid import UUID

from strongroom.journal import Entry
from strongroom.kernel.ids import id_from
from strongroom.keys.model import KeyRecord, StoredKey

ACTOR = "strongroom"
PREFIX = {
    "kek": "kek",
    "record": "rsk",
    "dek": "dek",
    "index": "idx",
    "visible": "vsk",
    "service": "svk",
    "client": "cek",
    "subject": "sbk",
}
"""Kind → the prefix of its keys' outside names. Other kinds of keys add theirs."""
_OF_MERCHANTS = ("dek", "index", "visible")


def name_of(key: StoredKey) -> str:
    """Return the outside name of a key."""
    return id_from(PREFIX[key.record.kind], key.record.id)


def parent_name(made: KeyRecord) -> str:
    """Return the outside name of the key that wraps this one."""
    return made.parent if made.kind in ("kek", "record") else id_from("kek", UUID(made.parent))


def entry_of(verb: str, key: StoredKey, *, actor: str = ACTOR, reason: str | None = None) -> Entry:
    """Return the journal entry of what happened to a key."""
    made = key.record
    return Entry(
        action=f"keys:{made.kind}:{verb}",
        subject=name_of(key),
        outcome="success",
        reason=reason,
        merchant=id_from("mer", UUID(made.owner)) if made.kind in _OF_MERCHANTS else None,
        actor=actor,
        facts={
            "purpose": made.purpose,
            "version": made.version,
            "algorithm": made.algorithm,
            "bits": 256,
            "source": "os-csprng",
            "wrapped_by": parent_name(made),
            "check_value": key.kcv.hex()[:10],
            "state": key.state,
        },
    )

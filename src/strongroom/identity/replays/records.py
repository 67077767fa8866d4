"""The SQL of what may be used once: one claim for each, and the deletion of what expired."""

from __future__ import annotations

from datetime import datetime

from strongroom.kernel.ids import new_uuid7
from strongroom.storage import Change, Claim, Database

USE = Claim(
    "iam.replay",
    {"digest": "bytea", "use_id": "uuid", "kind": "text", "expires_at": "timestamptz"},
    key=("digest",),
    id_column="use_id",
)

_PURGE = """
DELETE FROM iam.replay
WHERE digest IN (SELECT digest FROM iam.replay WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)
"""


def add_use(change: Change, digest: bytes, *, kind: str, expires_at: datetime) -> None:
    """Add the claim of a first use to a Change."""
    change.add(USE, (digest, new_uuid7(), kind, expires_at))


async def purge(database: Database, *, before: datetime, at_most: int) -> int:
    """Delete uses that expired before then; return how many."""
    tag = await database.execute(_PURGE, before, at_most)
    return int(tag.rsplit(" ", 1)[-1])

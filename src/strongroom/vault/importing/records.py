"""The SQL of imports, and nobody else's."""

from __future__ import annotations

from uuid import UUID

from strongroom.storage import Change, Claim, Database, Guard
from strongroom.vault.importing.model import ImportState

JOB = Claim(
    "vault.import_job",
    {
        "merchant_id": "uuid",
        "name": "text",
        "id": "uuid",
        "digest": "bytea",
        "created_at": "timestamptz",
    },
    key=("merchant_id", "name"),
    id_column="id",
)
PROGRESS = Guard(
    "vault.import_job",
    keys={"merchant_id": "uuid", "name": "text"},
    sets={
        "at_byte": "int8",
        "lines": "int8",
        "imported": "int8",
        "rejected": "int8",
        "tokens_bytes": "int8",
        "rejects_bytes": "int8",
        "done_at": "timestamptz",
    },
)
_COLUMNS = ", ".join(ImportState.__struct_fields__)


async def find(database: Database, merchant: UUID, name: str) -> ImportState | None:
    """Return an import of this name, finished or not."""
    row = await database.fetchrow(
        f"SELECT {_COLUMNS} FROM vault.import_job "  # noqa: S608 (names of ours)
        "WHERE merchant_id = $1 AND name = $2",
        merchant,
        name,
    )
    return None if row is None else ImportState(**dict(row))


def begin(change: Change, job: ImportState) -> None:
    """Claim an import's name."""
    change.add(JOB, (job.merchant_id, job.name, job.id, job.digest, job.created_at))


def advance(change: Change, known: ImportState, to: ImportState) -> None:
    """Move an import on, if it still stands where it was known to stand."""
    change.add(
        PROGRESS,
        (
            known.merchant_id,
            known.name,
            known.version,
            to.at_byte,
            to.lines,
            to.imported,
            to.rejected,
            to.tokens_bytes,
            to.rejects_bytes,
            to.done_at,
        ),
    )

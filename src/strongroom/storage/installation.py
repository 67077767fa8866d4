"""Binds a database to one installation and mode, so that test and live never meet."""

from __future__ import annotations

from uuid import UUID

from strongroom.kernel.errors import StrongroomError
from strongroom.storage.database import Database


async def claim_installation(database: Database, installation: UUID, mode: str) -> None:
    """Write the installation's one row, or check that it is ours.

    Raises:
        StrongroomError: `installation_mismatch` when the database belongs to another one.
    """
    await database.execute(
        "INSERT INTO meta.installation (id, mode, created_at) VALUES ($1, $2, now()) "
        "ON CONFLICT DO NOTHING",
        installation,
        mode,
    )
    row = await database.fetchrow("SELECT id, mode FROM meta.installation")
    if row is None or row["id"] != installation or row["mode"] != mode:
        raise StrongroomError(
            "installation_mismatch",
            "The database belongs to another installation or mode. Use its own data directory "
            "and settings.",
        )

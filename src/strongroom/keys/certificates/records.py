"""The SQL of certificates, and nobody else's. Certificates are public; no key passes here."""

from __future__ import annotations

from typing import Any

from strongroom.keys.certificates.model import AUTHORITY, StoredCertificate
from strongroom.storage import Change, Claim, Database

_COLUMNS = {
    "id": "uuid",
    "role": "text",
    "version": "int4",
    "serial_number": "bytea",
    "spiffe_id": "text",
    "not_before": "timestamptz",
    "not_after": "timestamptz",
    "certificate": "bytea",
    "issued_by": "text",
}
CERTIFICATE = Claim("keys.certificate", _COLUMNS, key=("role", "version"), id_column="id")

_SELECT = (
    "SELECT id, role, version, serial_number, spiffe_id, not_before, not_after, certificate, "
    "issued_by FROM keys.certificate "
)


def add(change: Change, made: StoredCertificate) -> None:
    """Claim the next place of a role's certificates."""
    change.add(
        CERTIFICATE,
        (
            made.id,
            made.role,
            made.version,
            made.serial_number,
            made.spiffe_id,
            made.not_before,
            made.not_after,
            made.certificate,
            made.issued_by,
        ),
    )


async def newest(database: Database, role: str = AUTHORITY) -> StoredCertificate | None:
    """Return the newest certificate of a role."""
    row = await database.fetchrow(_SELECT + "WHERE role = $1 ORDER BY version DESC LIMIT 1", role)
    return None if row is None else _stored(row)


async def certificates(database: Database, *, limit: int) -> list[StoredCertificate]:
    """Return the newest certificates, the authority's first."""
    rows = await database.fetch(
        _SELECT + "ORDER BY role = 'authority' DESC, not_after DESC LIMIT $1", limit
    )
    return [_stored(row) for row in rows]


def _stored(row: Any) -> StoredCertificate:
    return StoredCertificate(**dict(row))

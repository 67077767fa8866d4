"""The SQL of certificates, and nobody else's. Certificates are public; no key passes here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from strongroom.keys.certificates.model import AUTHORITY, StoredCertificate, StoredToken
from strongroom.storage import Change, Claim, Database, Insert

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
    "issuer": "int4",
    "signs_from": "timestamptz",
}
CERTIFICATE = Claim("keys.certificate", _COLUMNS, key=("role", "version"), id_column="id")
JOINED = Insert("keys.certificate", _COLUMNS)
"""A certificate beside the claim of its join token's use."""

REVOCATION = Claim(
    "keys.certificate_revocation",
    {
        "certificate_id": "uuid",
        "thumbprint": "bytea",
        "not_after": "timestamptz",
        "revoked_at": "timestamptz",
        "revoked_by": "text",
        "reason": "text",
    },
    key=("certificate_id",),
    id_column="certificate_id",
)
TOKEN = Insert(
    "keys.join_token",
    {
        "id": "uuid",
        "digest": "bytea",
        "service": "text",
        "created_at": "timestamptz",
        "created_by": "text",
        "expires_at": "timestamptz",
    },
)
USE = Claim(
    "keys.join_use",
    {"token_id": "uuid", "used_at": "timestamptz"},
    key=("token_id",),
    id_column="token_id",
)

_SELECT = (
    "SELECT c.id, c.role, c.version, c.serial_number, c.spiffe_id, c.not_before, c.not_after, "
    "c.certificate, c.issued_by, c.issuer, c.signs_from, r.revoked_at "
    "FROM keys.certificate c LEFT JOIN keys.certificate_revocation r ON r.certificate_id = c.id "
)
_TRUSTED = (
    _SELECT + "WHERE c.role = 'authority' AND r.revoked_at IS NULL AND c.not_after > $1 "
    "ORDER BY c.version DESC"
)
_USED_ISSUERS = (
    "SELECT DISTINCT coalesce(c.issuer, 1) AS issuer FROM keys.certificate c "
    "LEFT JOIN keys.certificate_revocation r ON r.certificate_id = c.id "
    "WHERE c.role <> 'authority' AND c.not_after > $1 AND r.revoked_at IS NULL"
)
_REVOKED = "SELECT thumbprint FROM keys.certificate_revocation WHERE not_after > $1 LIMIT $2"
_UNUSED = (
    "SELECT t.id, t.service, t.expires_at FROM keys.join_token t "
    "LEFT JOIN keys.join_use u ON u.token_id = t.id "
    "WHERE t.digest = $1 AND u.used_at IS NULL"
)


def add(change: Change, made: StoredCertificate, *, claim: bool = True) -> None:
    """Claim the next place of a service's certificates; insert it beside another claim."""
    change.add(
        CERTIFICATE if claim else JOINED,
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
            made.issuer,
            made.signs_from,
        ),
    )


def revoke(
    change: Change,
    one: StoredCertificate,
    *,
    thumbprint: bytes,
    at: datetime,
    actor: str,
    reason: str,
) -> None:
    """Claim the end of a certificate."""
    change.add(REVOCATION, (one.id, thumbprint, one.not_after, at, actor, reason))


def add_token(change: Change, token: StoredToken, digest: bytes, at: datetime, actor: str) -> None:
    """Add a join token; its text never gets here."""
    change.add(TOKEN, (token.id, digest, token.service, at, actor, token.expires_at))


def use_token(change: Change, token: UUID, at: datetime) -> None:
    """Claim the one use of a join token."""
    change.add(USE, (token, at))


async def unused_token(database: Database, digest: bytes) -> StoredToken | None:
    """Return the join token with this digest unless it was used."""
    row = await database.fetchrow(_UNUSED, digest)
    return None if row is None else StoredToken(**dict(row))


async def newest(database: Database, role: str = AUTHORITY) -> StoredCertificate | None:
    """Return the newest certificate of a service."""
    row = await database.fetchrow(
        _SELECT + "WHERE c.role = $1 ORDER BY c.version DESC LIMIT 1", role
    )
    return None if row is None else _stored(row)


async def by_serial(database: Database, serial_number: bytes) -> StoredCertificate | None:
    """Return the certificate of a serial number."""
    row = await database.fetchrow(_SELECT + "WHERE c.serial_number = $1", serial_number)
    return None if row is None else _stored(row)


async def living(database: Database, role: str, *, at: datetime) -> list[StoredCertificate]:
    """Return a service's certificates that are good at a moment."""
    rows = await database.fetch(
        _SELECT + "WHERE c.role = $1 AND c.not_after > $2 AND r.revoked_at IS NULL", role, at
    )
    return [_stored(row) for row in rows]


async def authorities(database: Database, *, at: datetime) -> list[StoredCertificate]:
    """Return the authorities that are neither expired nor revoked, the newest first."""
    return [_stored(row) for row in await database.fetch(_TRUSTED, at)]


async def used_issuers(database: Database, *, at: datetime) -> set[int]:
    """Return the authorities of which a certificate is still good at a moment."""
    return {row["issuer"] for row in await database.fetch(_USED_ISSUERS, at)}


async def revoked(database: Database, *, at: datetime, limit: int) -> list[bytes]:
    """Return the thumbprints of certificates that were revoked and not expired at a moment."""
    return [row["thumbprint"] for row in await database.fetch(_REVOKED, at, limit)]


async def certificates(
    database: Database,
    *,
    limit: int,
    after: datetime,
    life_min: timedelta,
) -> list[StoredCertificate]:
    """Return the newest certificates that end after a moment, the authorities' first."""
    rows = await database.fetch(
        _SELECT + "WHERE c.not_after > $2 AND c.not_after - c.not_before > $3 "
        "ORDER BY c.role = 'authority' DESC, c.not_after DESC LIMIT $1",
        limit,
        after,
        life_min,
    )
    return [_stored(row) for row in rows]


def _stored(row: Any) -> StoredCertificate:
    return StoredCertificate(**dict(row))

"""The SQL of certificates, and nobody else's. Certificates are public; no key passes here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from strongroom.kernel.ids import new_uuid7
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
    "renews": "uuid",
}
CERTIFICATE = Claim("keys.certificate", _COLUMNS, key=("role", "version"), id_column="id")
JOINED = Insert("keys.certificate", _COLUMNS)
"""A certificate beside the claim of its join token's use."""

REVOCATION = Claim(
    "keys.certificate_revocation",
    {
        "certificate_id": "uuid",
        "revoked_at": "timestamptz",
        "revoked_by": "text",
        "reason": "text",
    },
    key=("certificate_id",),
    id_column="certificate_id",
)
SERVICE_REVOCATION = Insert(
    "keys.service_revocation",
    {
        "id": "uuid",
        "service": "text",
        "up_to": "int4",
        "revoked_at": "timestamptz",
        "revoked_by": "text",
        "reason": "text",
    },
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

_SELECT = """
SELECT * FROM (
    SELECT c.id, c.role, c.version, c.serial_number, c.spiffe_id, c.not_before, c.not_after,
        c.certificate, c.issued_by, c.issuer, c.signs_from, c.renews,
        least(
            r.revoked_at,
            (SELECT min(s.revoked_at) FROM keys.service_revocation s
             WHERE s.service = c.role AND s.up_to >= c.version),
            (SELECT ar.revoked_at FROM keys.certificate a
             JOIN keys.certificate_revocation ar ON ar.certificate_id = a.id
             WHERE c.role <> 'authority' AND a.role = 'authority'
             AND a.version = coalesce(c.issuer, 1))
        ) AS revoked_at
    FROM keys.certificate c
    LEFT JOIN keys.certificate_revocation r ON r.certificate_id = c.id
) c
"""
_TRUSTED = (
    _SELECT + "WHERE c.role = 'authority' AND c.revoked_at IS NULL AND c.not_after > $1 "
    "ORDER BY c.version DESC"
)
_USED_ISSUERS = (
    f"SELECT DISTINCT coalesce(u.issuer, 1) AS issuer FROM ({_SELECT}"  # noqa: S608 (no input)
    "WHERE c.role <> 'authority' AND c.not_after > $1 AND c.revoked_at IS NULL) u"
)
_REVOKED = """
SELECT c.serial_number FROM keys.certificate_revocation r
JOIN keys.certificate c ON c.id = r.certificate_id WHERE c.not_after > $1
UNION
SELECT c.serial_number FROM keys.service_revocation s
JOIN keys.certificate c ON c.role = s.service AND c.version <= s.up_to WHERE c.not_after > $1
UNION
SELECT c.serial_number FROM keys.certificate_revocation r
JOIN keys.certificate a ON a.id = r.certificate_id AND a.role = 'authority'
JOIN keys.certificate c ON c.role <> 'authority' AND coalesce(c.issuer, 1) = a.version
WHERE c.not_after > $1
LIMIT $2
"""
_RENEWED_FROM = f"""
WITH RECURSIVE line AS (
    SELECT c.id FROM keys.certificate c WHERE c.renews = $1
    UNION SELECT c.id FROM keys.certificate c JOIN line ON c.renews = line.id
)
{_SELECT} WHERE c.id IN (SELECT id FROM line) AND c.revoked_at IS NULL AND c.not_after > $2
ORDER BY c.not_after DESC
"""  # noqa: S608 (no input)
_UNUSED = (
    "SELECT t.id, t.service, t.expires_at FROM keys.join_token t "
    "LEFT JOIN keys.join_use u ON u.token_id = t.id WHERE u.used_at IS NULL "
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
            made.renews,
        ),
    )


def revoke(
    change: Change, one: StoredCertificate, *, at: datetime, actor: str, reason: str
) -> None:
    """Claim the end of a certificate."""
    change.add(REVOCATION, (one.id, at, actor, reason))


def revoke_service(
    change: Change, service: str, *, up_to: int, at: datetime, actor: str, reason: str
) -> None:
    """End every certificate of a service up to a version."""
    change.add(SERVICE_REVOCATION, (new_uuid7(), service, up_to, at, actor, reason))


def add_token(change: Change, token: StoredToken, digest: bytes, at: datetime, actor: str) -> None:
    """Add a join token; its text never gets here."""
    change.add(TOKEN, (token.id, digest, token.service, at, actor, token.expires_at))


def use_token(change: Change, token: UUID, at: datetime) -> None:
    """Claim the one use of a join token; nobody joins by it from now on."""
    change.add(USE, (token, at))


async def unused_token(database: Database, digest: bytes) -> StoredToken | None:
    """Return the join token with this digest unless it was used."""
    row = await database.fetchrow(_UNUSED + "AND t.digest = $1", digest)
    return None if row is None else StoredToken(**dict(row))


async def unused_tokens(database: Database, service: str, *, at: datetime) -> list[StoredToken]:
    """Return the join tokens by which a service could still join at a moment."""
    rows = await database.fetch(_UNUSED + "AND t.service = $1 AND t.expires_at > $2", service, at)
    return [StoredToken(**dict(row)) for row in rows]


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


async def unrevoked(database: Database, role: str, *, after: datetime) -> list[StoredCertificate]:
    """Return a service's certificates that end after a moment and are not revoked."""
    rows = await database.fetch(
        _SELECT + "WHERE c.role = $1 AND c.not_after > $2 AND c.revoked_at IS NULL "
        "ORDER BY c.version DESC",
        role,
        after,
    )
    return [_stored(row) for row in rows]


async def renewed_from(
    database: Database, certificate: UUID, *, after: datetime
) -> list[StoredCertificate]:
    """Return what was renewed from a certificate, step by step, and is not revoked."""
    return [_stored(row) for row in await database.fetch(_RENEWED_FROM, certificate, after)]


async def authorities(database: Database, *, at: datetime) -> list[StoredCertificate]:
    """Return the authorities that are neither expired nor revoked, the newest first."""
    return [_stored(row) for row in await database.fetch(_TRUSTED, at)]


async def used_issuers(database: Database, *, at: datetime) -> set[int]:
    """Return the authorities of which a certificate is still good at a moment."""
    return {row["issuer"] for row in await database.fetch(_USED_ISSUERS, at)}


async def revoked(database: Database, *, at: datetime, limit: int) -> list[bytes]:
    """Return the serial numbers of certificates that were revoked and not expired at a moment."""
    return [row["serial_number"] for row in await database.fetch(_REVOKED, at, limit)]


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

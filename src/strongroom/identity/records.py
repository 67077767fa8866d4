"""The SQL of identity, and nobody else's. A key's text never gets here, only its keyed hash."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from strongroom.identity.model import (
    OPERATOR_ROLES,
    KeyKind,
    KeyRecord,
    KeyView,
    MerchantView,
    Mode,
    Principal,
    PrincipalKind,
)
from strongroom.kernel.ids import NIL_UUID, id_from, uuid_of
from strongroom.storage import Change, Database, Guard, Insert

MERCHANT = Insert(
    "iam.merchant",
    {
        "merchant_id": "uuid",
        "name": "text",
        "status": "text",
        "created_at": "timestamptz",
        "version": "int4",
    },
)
MERCHANT_STATUS = Guard("iam.merchant", keys={"merchant_id": "uuid"}, sets={"status": "text"})
KEY = Insert(
    "iam.api_key",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "hash": "bytea",
        "kind": "text",
        "role": "text",
        "scopes": "jsonb",
        "owner": "text",
        "hint": "text",
        "created_at": "timestamptz",
        "created_by": "text",
        "expires_at": "timestamptz",
        "version": "int4",
    },
)
KEY_USE = Insert("iam.api_key_use", {"merchant_id": "uuid", "key_id": "uuid"})
KEY_REVOKED = Guard(
    "iam.api_key", keys={"merchant_id": "uuid", "id": "uuid"}, sets={"revoked_at": "timestamptz"}
)

_BY_HASH = """
SELECT k.hash, k.merchant_id, k.id, k.role, k.scopes, k.expires_at, k.revoked_at,
       m.status AS merchant_status
FROM iam.api_key k LEFT JOIN iam.merchant m ON m.merchant_id = k.merchant_id
WHERE k.hash = ANY ($1::bytea[])
"""
_KEY = """
SELECT k.merchant_id, k.id, k.hash, k.kind, k.role, k.scopes, k.owner, k.hint, k.created_at,
       k.created_by, k.expires_at, k.revoked_at, k.version, u.last_used_at
FROM iam.api_key k
LEFT JOIN iam.api_key_use u ON u.merchant_id = k.merchant_id AND u.key_id = k.id
WHERE k.merchant_id = $1 AND """
_KEY_BY_ID = _KEY + "k.id = $2"
_KEYS_AFTER = _KEY + "k.id > $2 ORDER BY k.id LIMIT $3"
_MERCHANT = "SELECT merchant_id, name, status, created_at, version FROM iam.merchant "
_MERCHANT_BY_ID = _MERCHANT + "WHERE merchant_id = $1"
_MERCHANTS_AFTER = _MERCHANT + "WHERE merchant_id > $1 ORDER BY merchant_id LIMIT $2"
_USED = """
UPDATE iam.api_key_use u SET last_used_at = used.at
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS used(merchant_id, key_id, at)
WHERE u.merchant_id = used.merchant_id AND u.key_id = used.key_id
  AND (u.last_used_at IS NULL OR u.last_used_at < used.at - $4::interval)
"""


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as listed, with what only this room needs of it."""

    view: KeyView
    hash: bytes
    version: int


class StoredMerchant(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant with the version its next change must find."""

    view: MerchantView
    version: int


def tenant(merchant: str | None) -> UUID:
    """Return the column value for a merchant; None is the installation."""
    return NIL_UUID if merchant is None else uuid_of(merchant, "mer")


def add_merchant(change: Change, merchant: MerchantView) -> None:
    """Add a new merchant to a Change."""
    row = (tenant(merchant.id), merchant.name, merchant.status, merchant.created_at, 1)
    change.add(MERCHANT, row)


def set_status(change: Change, merchant: StoredMerchant, status: str) -> None:
    """Add a merchant's new status to a Change, guarded by its version."""
    change.add(MERCHANT_STATUS, (tenant(merchant.view.id), merchant.version, status))


def add_key(change: Change, key: KeyView, digest: bytes) -> None:
    """Add a new key to a Change."""
    owner, key_id = tenant(key.merchant), uuid_of(key.id, "key")
    scopes = None if key.scopes is None else msgspec.json.encode(key.scopes).decode()
    change.add(
        KEY,
        (
            owner,
            key_id,
            digest,
            key.kind.value,
            key.role,
            scopes,
            key.owner,
            key.hint,
            key.created_at,
            key.created_by,
            key.expires_at,
            1,
        ),
    )
    change.add(KEY_USE, (owner, key_id))


def set_revoked(change: Change, key: StoredKey, *, at: datetime) -> None:
    """Add a key's revocation to a Change, guarded by its version."""
    row = (tenant(key.view.merchant), uuid_of(key.view.id, "key"), key.version, at)
    change.add(KEY_REVOKED, row)


async def by_hash(database: Database, digests: Sequence[bytes], *, mode: Mode) -> list[KeyRecord]:
    """Return the keys that have one of these hashes, revoked and expired ones included."""
    return [_record(row, mode) for row in await database.fetch(_BY_HASH, list(digests))]


async def find_key(
    database: Database, merchant: UUID, key_id: UUID, *, now: datetime
) -> StoredKey | None:
    """Return one key of a merchant."""
    row = await database.fetchrow(_KEY_BY_ID, merchant, key_id)
    return None if row is None else _stored_key(row, now)


async def keys_after(
    database: Database, merchant: UUID, *, after: UUID, limit: int, now: datetime
) -> list[KeyView]:
    """Return keys of a merchant, oldest first."""
    rows = await database.fetch(_KEYS_AFTER, merchant, after, limit)
    return [_stored_key(row, now).view for row in rows]


async def find_merchant(database: Database, merchant: UUID) -> StoredMerchant | None:
    """Return one merchant."""
    row = await database.fetchrow(_MERCHANT_BY_ID, merchant)
    return None if row is None else _merchant(row)


async def merchants_after(database: Database, *, after: UUID, limit: int) -> list[MerchantView]:
    """Return merchants, oldest first."""
    rows = await database.fetch(_MERCHANTS_AFTER, after, limit)
    return [_merchant(row).view for row in rows]


async def note_used(
    database: Database, used: Sequence[tuple[UUID, UUID, datetime]], *, at_most_every: timedelta
) -> None:
    """Move the time of last use of many keys forward, each at most so often."""
    merchants, keys, times = zip(*used, strict=True)
    await database.execute(_USED, list(merchants), list(keys), list(times), at_most_every)


def _record(row: Any, mode: Mode) -> KeyRecord:
    operator = row["role"] in OPERATOR_ROLES
    key_id = id_from("key", row["id"])
    scopes = _scopes(row["scopes"])
    principal = Principal(
        id=key_id,
        kind=PrincipalKind.OPERATOR if operator else PrincipalKind.MERCHANT,
        merchant=_merchant_id(row["merchant_id"]),
        mode=mode,
        roles=(row["role"],),
        scopes=None if scopes is None else frozenset(scopes),
        key_id=key_id,
    )
    return KeyRecord(
        hash=row["hash"],
        principal=principal,
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        merchant_status=row["merchant_status"],
    )


def _stored_key(row: Any, now: datetime) -> StoredKey:
    expired = row["expires_at"] is not None and now >= row["expires_at"]
    view = KeyView(
        id=id_from("key", row["id"]),
        merchant=_merchant_id(row["merchant_id"]),
        kind=KeyKind(row["kind"]),
        role=row["role"],
        scopes=_scopes(row["scopes"]),
        owner=row["owner"],
        hint=row["hint"],
        status="revoked" if row["revoked_at"] is not None else "expired" if expired else "active",
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
    return StoredKey(view=view, hash=row["hash"], version=row["version"])


def _merchant(row: Any) -> StoredMerchant:
    view = MerchantView(
        id=id_from("mer", row["merchant_id"]),
        name=row["name"],
        status=row["status"],
        created_at=row["created_at"],
    )
    return StoredMerchant(view=view, version=row["version"])


def _merchant_id(value: UUID) -> str | None:
    return None if value == NIL_UUID else id_from("mer", value)


def _scopes(value: str | None) -> tuple[str, ...] | None:
    return None if value is None else msgspec.json.decode(value, type=tuple[str, ...])

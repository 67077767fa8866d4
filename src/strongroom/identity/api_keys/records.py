"""The SQL of API keys, and nobody else's. A key's text never gets here, only its keyed hash."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from strongroom.identity.api_keys.model import Hashed
from strongroom.identity.model import (
    OPERATOR_ROLES,
    KeyKind,
    KeyRecord,
    KeyView,
    Level,
    Mode,
    Principal,
    PrincipalKind,
)
from strongroom.kernel.ids import NIL_UUID, id_from, uuid_of
from strongroom.storage import Change, Database, Guard, Insert

KEY = Insert(
    "iam.api_key",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "hash": "bytea",
        "pepper_version": "int4",
        "kind": "text",
        "role": "text",
        "scopes": "jsonb",
        "networks": "jsonb",
        "replaces": "uuid",
        "owner": "text",
        "hint": "text",
        "created_at": "timestamptz",
        "created_by": "text",
        "expires_at": "timestamptz",
        "version": "int4",
    },
)
KEY_USE = Insert("iam.api_key_use", {"merchant_id": "uuid", "key_id": "uuid"})
_ONE = {"merchant_id": "uuid", "id": "uuid"}
KEY_REVOKED = Guard("iam.api_key", keys=_ONE, sets={"revoked_at": "timestamptz"})
KEY_ENDS = Guard("iam.api_key", keys=_ONE, sets={"expires_at": "timestamptz"})
KEY_HASH = Guard("iam.api_key", keys=_ONE, sets={"hash": "bytea", "pepper_version": "int4"})

_BY_HASH = """
SELECT k.hash, k.pepper_version, k.merchant_id, k.id, k.role, k.scopes, k.networks, k.expires_at,
       k.revoked_at, m.status AS merchant_status, m.required_level
FROM iam.api_key k LEFT JOIN iam.merchant m ON m.merchant_id = k.merchant_id
WHERE k.hash = ANY ($1::bytea[])
"""
_KEY = """
SELECT k.merchant_id, k.id, k.hash, k.pepper_version, k.kind, k.role, k.scopes, k.networks,
       k.replaces, k.owner, k.hint, k.created_at, k.created_by, k.expires_at, k.revoked_at,
       k.version, u.last_used_at
FROM iam.api_key k
LEFT JOIN iam.api_key_use u ON u.merchant_id = k.merchant_id AND u.key_id = k.id
"""
_KEY_BY_ID = _KEY + "WHERE k.merchant_id = $1 AND k.id = $2"
_KEYS_AFTER = _KEY + "WHERE k.merchant_id = $1 AND k.id > $2 ORDER BY k.id LIMIT $3"
_LIVING = "k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $1) "
_LIVING_AFTER = (
    _KEY
    + "WHERE "
    + _LIVING
    + "AND (k.merchant_id, k.id) > ($2, $3) ORDER BY k.merchant_id, k.id LIMIT $4"
)
_IDLE = (
    _KEY
    + "WHERE "
    + _LIVING
    + "AND coalesce(u.last_used_at, k.created_at) < $2 ORDER BY k.merchant_id, k.id LIMIT $3"
)
_ENDING = f"""
SELECT count(*) FROM iam.api_key k
WHERE {_LIVING}AND k.expires_at < $2 AND NOT EXISTS (
    SELECT 1 FROM iam.api_key s
    WHERE s.merchant_id = k.merchant_id AND s.replaces = k.id AND s.revoked_at IS NULL)
"""  # noqa: S608 (our own text)
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
    pepper_version: int
    version: int


def tenant(merchant: str | None) -> UUID:
    """Return the column value for a merchant; None is the installation."""
    return NIL_UUID if merchant is None else uuid_of(merchant, "mer")


def add_key(change: Change, key: KeyView, hashed: Hashed) -> None:
    """Add a new key to a Change."""
    owner, key_id = tenant(key.merchant), uuid_of(key.id, "key")
    change.add(
        KEY,
        (
            owner,
            key_id,
            hashed.digest,
            hashed.pepper_version,
            key.kind.value,
            key.role,
            as_json(key.scopes),
            as_json(key.networks or None),
            None if key.replaces is None else uuid_of(key.replaces, "key"),
            key.owner,
            key.hint,
            key.created_at,
            key.created_by,
            key.expires_at,
            1,
        ),
    )
    change.add(KEY_USE, (owner, key_id))


def _guarded(key: StoredKey) -> tuple[UUID, UUID, int]:
    return tenant(key.view.merchant), uuid_of(key.view.id, "key"), key.version


def set_revoked(change: Change, key: StoredKey, *, at: datetime) -> None:
    """Add a key's revocation to a Change, guarded by its version."""
    change.add(KEY_REVOKED, (*_guarded(key), at))


def set_end(change: Change, key: StoredKey, *, at: datetime) -> None:
    """Add a key's earlier end to a Change, guarded by its version."""
    change.add(KEY_ENDS, (*_guarded(key), at))


def set_hash(change: Change, key: StoredKey, hashed: Hashed) -> None:
    """Add a key's hash under a newer pepper to a Change, guarded by its version."""
    change.add(KEY_HASH, (*_guarded(key), hashed.digest, hashed.pepper_version))


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


async def living_after(
    database: Database, *, after: tuple[UUID, UUID], limit: int, now: datetime
) -> list[KeyView]:
    """Return keys of everybody that are neither revoked nor expired."""
    rows = await database.fetch(_LIVING_AFTER, now, *after, limit)
    return [_stored_key(row, now).view for row in rows]


async def idle(
    database: Database, *, since: datetime, limit: int, now: datetime
) -> list[StoredKey]:
    """Return living keys that nobody used since then."""
    rows = await database.fetch(_IDLE, now, since, limit)
    return [_stored_key(row, now) for row in rows]


async def ending(database: Database, *, before: datetime, now: datetime) -> int:
    """Return how many living keys expire before then."""
    return int(await database.fetchval(_ENDING, now, before))


async def note_used(
    database: Database, used: Sequence[tuple[UUID, UUID, datetime]], *, at_most_every: timedelta
) -> None:
    """Move the time of last use of many keys forward, each at most so often."""
    merchants, keys, times = zip(*used, strict=True)
    await database.execute(_USED, list(merchants), list(keys), list(times), at_most_every)


def as_json(values: Sequence[str] | None) -> str | None:
    """Return a list as it is stored."""
    return None if values is None else msgspec.json.encode(values).decode()


def from_json(value: str | None) -> tuple[str, ...] | None:
    """Return a stored list."""
    return None if value is None else msgspec.json.decode(value, type=tuple[str, ...])


def merchant_id(value: UUID) -> str | None:
    """Return the merchant of a row; None is the installation."""
    return None if value == NIL_UUID else id_from("mer", value)


def _record(row: Any, mode: Mode) -> KeyRecord:
    operator = row["role"] in OPERATOR_ROLES
    key_id = id_from("key", row["id"])
    scopes = from_json(row["scopes"])
    principal = Principal(
        id=key_id,
        kind=PrincipalKind.OPERATOR if operator else PrincipalKind.MERCHANT,
        merchant=merchant_id(row["merchant_id"]),
        mode=mode,
        roles=(row["role"],),
        scopes=None if scopes is None else frozenset(scopes),
        key_id=key_id,
        required_level=Level.NONE if operator else Level(row["required_level"] or 0),
    )
    return KeyRecord(
        hash=row["hash"],
        principal=principal,
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        merchant_status=row["merchant_status"],
        networks=from_json(row["networks"]) or (),
        pepper_version=row["pepper_version"],
    )


def _stored_key(row: Any, now: datetime) -> StoredKey:
    expired = row["expires_at"] is not None and now >= row["expires_at"]
    view = KeyView(
        id=id_from("key", row["id"]),
        merchant=merchant_id(row["merchant_id"]),
        kind=KeyKind(row["kind"]),
        role=row["role"],
        scopes=from_json(row["scopes"]),
        owner=row["owner"],
        hint=row["hint"],
        status="revoked" if row["revoked_at"] is not None else "expired" if expired else "active",
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        networks=from_json(row["networks"]) or (),
        replaces=None if row["replaces"] is None else id_from("key", row["replaces"]),
    )
    return StoredKey(
        view=view,
        hash=row["hash"],
        pepper_version=row["pepper_version"],
        version=row["version"],
    )

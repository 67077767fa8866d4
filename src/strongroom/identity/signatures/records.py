"""The SQL of signing keys, and nobody else's. Only public keys are in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from strongroom.identity.api_keys.records import KEY_USE, as_json, from_json
from strongroom.identity.model import KeyRecord, Level, Mode, Principal, PrincipalKind
from strongroom.identity.signatures.model import SigningKeySpec, SigningKeyView
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.storage import Change, Database, Guard, Insert

KEY = Insert(
    "iam.signing_key",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "public_key": "bytea",
        "role": "text",
        "scopes": "jsonb",
        "networks": "jsonb",
        "owner": "text",
        "created_at": "timestamptz",
        "created_by": "text",
        "expires_at": "timestamptz",
        "version": "int4",
    },
)
KEY_REVOKED = Guard(
    "iam.signing_key",
    keys={"merchant_id": "uuid", "id": "uuid"},
    sets={"revoked_at": "timestamptz"},
)
_BY_ID = """
SELECT k.id, k.merchant_id, k.public_key, k.role, k.scopes, k.networks, k.expires_at,
       k.revoked_at, m.status AS merchant_status, m.required_level
FROM iam.signing_key k LEFT JOIN iam.merchant m ON m.merchant_id = k.merchant_id
WHERE k.id = ANY ($1::uuid[])
"""
_KEY = """
SELECT k.merchant_id, k.id, k.public_key, k.role, k.scopes, k.networks, k.owner, k.created_at,
       k.created_by, k.expires_at, k.revoked_at, k.version, u.last_used_at
FROM iam.signing_key k
LEFT JOIN iam.api_key_use u ON u.merchant_id = k.merchant_id AND u.key_id = k.id
"""
_KEY_BY_ID = _KEY + "WHERE k.merchant_id = $1 AND k.id = $2"
_KEYS_AFTER = _KEY + "WHERE k.merchant_id = $1 AND k.id > $2 ORDER BY k.id LIMIT $3"
_IDLE = (
    _KEY
    + "WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $1) "
    + "AND coalesce(u.last_used_at, k.created_at) < $2 ORDER BY k.merchant_id, k.id LIMIT $3"
)


class StoredSigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """A signing key with the version that its next change must find."""

    view: SigningKeyView
    version: int


def add_key(
    change: Change, spec: SigningKeySpec, key: UUID, *, actor: str, at: datetime
) -> SigningKeyView:
    """Add a new signing key to a Change and return it."""
    merchant = uuid_of(spec.merchant, "mer")
    scopes = None if spec.scopes is None else tuple(sorted(spec.scopes))
    change.add(
        KEY,
        (
            merchant,
            key,
            spec.public_key,
            spec.role,
            as_json(scopes),
            as_json(spec.networks or None),
            spec.owner,
            at,
            actor,
            spec.expires_at,
            1,
        ),
    )
    change.add(KEY_USE, (merchant, key))
    return SigningKeyView(
        id=id_from("sig", key),
        merchant=spec.merchant,
        role=spec.role,
        scopes=scopes,
        networks=spec.networks,
        owner=spec.owner,
        fingerprint=hashlib.sha256(spec.public_key).hexdigest(),
        status="active",
        created_at=at,
        created_by=actor,
        expires_at=spec.expires_at,
        revoked_at=None,
        last_used_at=None,
    )


def set_revoked(change: Change, key: StoredSigningKey, *, at: datetime) -> None:
    """Add a signing key's revocation to a Change, guarded by its version."""
    ids = (uuid_of(key.view.merchant, "mer"), uuid_of(key.view.id, "sig"))
    change.add(KEY_REVOKED, (*ids, key.version, at))


async def by_id(database: Database, ids: Sequence[bytes], *, mode: Mode) -> list[KeyRecord]:
    """Return signing keys by the bytes of their ids, revoked and expired ones included."""
    rows = await database.fetch(_BY_ID, [UUID(bytes=key) for key in ids])
    return [_record(row, mode) for row in rows]


async def find_key(
    database: Database, merchant: UUID, key: UUID, *, now: datetime
) -> StoredSigningKey | None:
    """Return one signing key of a merchant."""
    row = await database.fetchrow(_KEY_BY_ID, merchant, key)
    return None if row is None else _stored(row, now)


async def keys_after(
    database: Database, merchant: UUID, *, after: UUID, limit: int, now: datetime
) -> list[SigningKeyView]:
    """Return signing keys of a merchant, oldest first."""
    rows = await database.fetch(_KEYS_AFTER, merchant, after, limit)
    return [_stored(row, now).view for row in rows]


async def idle(
    database: Database, *, since: datetime, limit: int, now: datetime
) -> list[StoredSigningKey]:
    """Return living signing keys that nobody used since then."""
    rows = await database.fetch(_IDLE, now, since, limit)
    return [_stored(row, now) for row in rows]


def _record(row: Any, mode: Mode) -> KeyRecord:
    key_id = id_from("sig", row["id"])
    scopes = from_json(row["scopes"])
    principal = Principal(
        id=key_id,
        kind=PrincipalKind.MERCHANT,
        merchant=id_from("mer", row["merchant_id"]),
        mode=mode,
        roles=(row["role"],),
        scopes=None if scopes is None else frozenset(scopes),
        key_id=key_id,
        level=Level.SIGNED_REQUEST,
        required_level=Level(row["required_level"] or 0),
    )
    return KeyRecord(
        hash=row["id"].bytes,
        principal=principal,
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        merchant_status=row["merchant_status"],
        networks=from_json(row["networks"]) or (),
        public_key=row["public_key"],
    )


def _stored(row: Any, now: datetime) -> StoredSigningKey:
    expired = row["expires_at"] is not None and now >= row["expires_at"]
    view = SigningKeyView(
        id=id_from("sig", row["id"]),
        merchant=id_from("mer", row["merchant_id"]),
        role=row["role"],
        scopes=from_json(row["scopes"]),
        networks=from_json(row["networks"]) or (),
        owner=row["owner"],
        fingerprint=hashlib.sha256(row["public_key"]).hexdigest(),
        status="revoked" if row["revoked_at"] is not None else "expired" if expired else "active",
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
    return StoredSigningKey(view=view, version=row["version"])

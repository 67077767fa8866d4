"""The SQL of OAuth, and nobody else's: clients, their public keys, tokens by id."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from strongroom.identity.model import Level, Mode, Principal, PrincipalKind
from strongroom.identity.oauth.jose import PublicKey
from strongroom.identity.oauth.model import (
    ClientKeyView,
    ClientRecord,
    ClientView,
    TokenRecord,
)
from strongroom.kernel.ids import id_from, new_uuid7, uuid_of
from strongroom.storage import Change, Database, Guard, Insert, Update

CLIENT = Insert(
    "iam.oauth_client",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "role": "text",
        "scopes": "jsonb",
        "binding": "text",
        "owner": "text",
        "created_at": "timestamptz",
        "created_by": "text",
        "expires_at": "timestamptz",
        "keys_at": "timestamptz",
        "version": "int4",
    },
)
CLIENT_REVOKED = Guard(
    "iam.oauth_client",
    keys={"merchant_id": "uuid", "id": "uuid"},
    sets={"revoked_at": "timestamptz"},
)
CLIENT_KEYS_AT = Guard(
    "iam.oauth_client", keys={"merchant_id": "uuid", "id": "uuid"}, sets={"keys_at": "timestamptz"}
)
CLIENT_USED = Update(
    "iam.oauth_client",
    keys={"merchant_id": "uuid", "id": "uuid"},
    sets={"last_token_at": "timestamptz"},
)
CLIENT_KEY = Insert(
    "iam.oauth_client_key",
    {
        "merchant_id": "uuid",
        "client_id": "uuid",
        "id": "uuid",
        "kid": "text",
        "algorithm": "text",
        "jwk": "jsonb",
        "created_at": "timestamptz",
    },
)
KEY_RETIRES = Update(
    "iam.oauth_client_key",
    keys={"merchant_id": "uuid", "client_id": "uuid", "kid": "text"},
    sets={"retires_at": "timestamptz"},
)
TOKEN = Insert(
    "iam.oauth_token",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "client_id": "uuid",
        "role": "text",
        "scopes": "jsonb",
        "binding": "text",
        "bound_to": "bytea",
        "issued_at": "timestamptz",
        "expires_at": "timestamptz",
        "version": "int4",
    },
)
TOKEN_REVOKED = Guard(
    "iam.oauth_token",
    keys={"merchant_id": "uuid", "id": "uuid"},
    sets={"revoked_at": "timestamptz"},
)

_KEYS = """
(SELECT coalesce(jsonb_agg(jsonb_build_object('kid', k.kid, 'algorithm', k.algorithm, 'jwk', k.jwk,
    'created_at', k.created_at, 'retires_at', k.retires_at) ORDER BY k.id), '[]')
 FROM iam.oauth_client_key k
 WHERE k.merchant_id = c.merchant_id AND k.client_id = c.id) AS keys
"""
_CLIENT = f"""
SELECT c.merchant_id, c.id, c.role, c.scopes, c.binding, c.owner, c.created_at, c.created_by,
       c.expires_at, c.revoked_at, c.last_token_at, c.version, m.status AS merchant_status, {_KEYS}
FROM iam.oauth_client c LEFT JOIN iam.merchant m ON m.merchant_id = c.merchant_id
"""  # noqa: S608 (our own words)
_CLIENTS_BY_ID = _CLIENT + "WHERE c.id = ANY ($1::uuid[])"
_CLIENT_OF = _CLIENT + "WHERE c.merchant_id = $1 AND c.id = $2"
_CLIENTS_OF = _CLIENT + "WHERE c.merchant_id = $1 AND c.id > $2 ORDER BY c.id LIMIT $3"
_TOKENS = """
SELECT t.merchant_id, t.id, t.client_id, t.role, t.scopes, t.bound_to, t.expires_at, t.revoked_at,
       t.version, c.revoked_at AS client_revoked_at, c.expires_at AS client_expires_at,
       m.status AS merchant_status
FROM iam.oauth_token t
JOIN iam.oauth_client c ON c.merchant_id = t.merchant_id AND c.id = t.client_id
LEFT JOIN iam.merchant m ON m.merchant_id = t.merchant_id
WHERE t.id = ANY ($1::uuid[])
"""
_PURGE = """
DELETE FROM iam.oauth_token WHERE (merchant_id, id) IN
    (SELECT merchant_id, id FROM iam.oauth_token WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)
"""


class _Key(msgspec.Struct, frozen=True):
    kid: str
    algorithm: str
    jwk: dict[str, str]
    created_at: datetime
    retires_at: datetime | None


class StoredClient(msgspec.Struct, frozen=True, kw_only=True):
    """A client with the version its next change must find."""

    view: ClientView
    version: int


class StoredToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token's row as its revocation needs it."""

    merchant: str
    revoked_at: datetime | None
    version: int


def add_client(change: Change, client: ClientView) -> None:
    """Add a new client to a Change, without its keys."""
    change.add(
        CLIENT,
        (
            uuid_of(client.merchant, "mer"),
            uuid_of(client.id, "ocl"),
            client.role,
            _json(client.scopes),
            client.binding,
            client.owner,
            client.created_at,
            client.created_by,
            client.expires_at,
            client.created_at,
            1,
        ),
    )


def add_key(
    change: Change, key: PublicKey, *, merchant: str, client: str, at: datetime
) -> ClientKeyView:
    """Add a client's key to a Change; return how it is shown."""
    view = ClientKeyView(
        kid=key.kid or key.thumbprint, algorithm=key.algorithm, created_at=at, retires_at=None
    )
    owner = (uuid_of(merchant, "mer"), uuid_of(client, "ocl"))
    row = (*owner, new_uuid7(), view.kid, view.algorithm, _json(key.members), at)
    change.add(CLIENT_KEY, row)
    return view


def retire_key(change: Change, kid: str, *, merchant: str, client: str, at: datetime) -> None:
    """Add to a Change that a client's key ends."""
    change.add(KEY_RETIRES, (uuid_of(merchant, "mer"), uuid_of(client, "ocl"), kid, at))


def set_keys_at(change: Change, client: StoredClient, *, at: datetime) -> None:
    """Add to a Change that a client's keys change, guarded by its version."""
    change.add(CLIENT_KEYS_AT, (*_ids(client), client.version, at))


def set_revoked(change: Change, client: StoredClient, *, at: datetime) -> None:
    """Add a client's revocation to a Change, guarded by its version."""
    change.add(CLIENT_REVOKED, (*_ids(client), client.version, at))


def add_token(
    change: Change,
    token: UUID,
    client: ClientRecord,
    *,
    scopes: Sequence[str],
    binding: str,
    bound_to: bytes,
    issued_at: datetime,
    expires_at: datetime,
) -> None:
    """Add an issued token to a Change, and that its client asked for one."""
    merchant, client_id = uuid_of(client.merchant, "mer"), uuid_of(client.id, "ocl")
    fixed = (_json(scopes), binding, bound_to, issued_at, expires_at, 1)
    change.add(TOKEN, (merchant, token, client_id, client.role, *fixed))
    change.add(CLIENT_USED, (merchant, client_id, issued_at))


def set_token_revoked(change: Change, token: UUID, stored: StoredToken, *, at: datetime) -> None:
    """Add a token's revocation to a Change, guarded by its version."""
    change.add(TOKEN_REVOKED, (uuid_of(stored.merchant, "mer"), token, stored.version, at))


async def clients_by_id(database: Database, ids: Sequence[bytes]) -> list[ClientRecord]:
    """Return clients by id, revoked and expired ones included."""
    rows = await database.fetch(_CLIENTS_BY_ID, [UUID(bytes=client) for client in ids])
    return [_client_record(row) for row in rows]


async def find_client(
    database: Database, merchant: str, client: str, *, now: datetime
) -> StoredClient | None:
    """Return one client of a merchant."""
    row = await database.fetchrow(_CLIENT_OF, uuid_of(merchant, "mer"), uuid_of(client, "ocl"))
    return None if row is None else _stored(row, now)


async def clients_after(
    database: Database, merchant: str, *, after: UUID, limit: int, now: datetime
) -> list[ClientView]:
    """Return clients of a merchant, oldest first."""
    rows = await database.fetch(_CLIENTS_OF, uuid_of(merchant, "mer"), after, limit)
    return [_stored(row, now).view for row in rows]


async def tokens_by_id(
    database: Database, ids: Sequence[bytes], *, mode: Mode, now: datetime
) -> list[TokenRecord]:
    """Return tokens by id with all that decides whether they are good."""
    rows = await database.fetch(_TOKENS, [UUID(bytes=token) for token in ids])
    return [_token_record(row, mode, now) for row in rows]


async def find_token(database: Database, token: UUID) -> StoredToken | None:
    """Return a token's row."""
    rows = await database.fetch(_TOKENS, [token])
    if not rows:
        return None
    row = rows[0]
    return StoredToken(
        merchant=id_from("mer", row["merchant_id"]),
        revoked_at=row["revoked_at"],
        version=row["version"],
    )


async def purge(database: Database, *, before: datetime, at_most: int) -> int:
    """Delete tokens that expired before then; return how many."""
    tag = await database.execute(_PURGE, before, at_most)
    return int(tag.rsplit(" ", 1)[-1])


def _client_record(row: Any) -> ClientRecord:
    return ClientRecord(
        hash=row["id"].bytes,
        id=id_from("ocl", row["id"]),
        merchant=id_from("mer", row["merchant_id"]),
        merchant_status=row["merchant_status"],
        role=row["role"],
        scopes=_texts(row["scopes"]),
        binding=row["binding"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        keys=tuple((key.kid, key.retires_at, key.jwk) for key in _keys(row["keys"])),
    )


def _stored(row: Any, now: datetime) -> StoredClient:
    expired = now >= row["expires_at"]
    view = ClientView(
        id=id_from("ocl", row["id"]),
        merchant=id_from("mer", row["merchant_id"]),
        role=row["role"],
        scopes=_texts(row["scopes"]),
        binding=row["binding"],
        owner=row["owner"],
        status="revoked" if row["revoked_at"] is not None else "expired" if expired else "active",
        created_at=row["created_at"],
        created_by=row["created_by"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_token_at=row["last_token_at"],
        keys=tuple(
            ClientKeyView(
                kid=key.kid,
                algorithm=key.algorithm,
                created_at=key.created_at,
                retires_at=key.retires_at,
            )
            for key in _keys(row["keys"])
        ),
    )
    return StoredClient(view=view, version=row["version"])


def _token_record(row: Any, mode: Mode, now: datetime) -> TokenRecord:
    principal = Principal(
        id=id_from("ocl", row["client_id"]),
        kind=PrincipalKind.MERCHANT,
        merchant=id_from("mer", row["merchant_id"]),
        mode=mode,
        roles=(row["role"],),
        scopes=frozenset(_texts(row["scopes"])),
        level=Level.BOUND_TOKEN,
    )
    return TokenRecord(
        hash=row["id"].bytes,
        principal=principal,
        bound_to=row["bound_to"],
        expires_at=row["expires_at"],
        ended=_ended(row, now),
    )


def _ended(row: Any, now: datetime) -> str | None:
    if row["revoked_at"] is not None:
        return "revoked"
    if row["client_revoked_at"] is not None:
        return "client_revoked"
    if now >= row["client_expires_at"]:
        return "client_expired"
    return None if row["merchant_status"] == "active" else "suspended"


def _ids(client: StoredClient) -> tuple[UUID, UUID]:
    return uuid_of(client.view.merchant, "mer"), uuid_of(client.view.id, "ocl")


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _texts(value: str) -> tuple[str, ...]:
    return msgspec.json.decode(value, type=tuple[str, ...])


def _keys(value: str) -> tuple[_Key, ...]:
    return msgspec.json.decode(value, type=tuple[_Key, ...])

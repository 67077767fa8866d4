"""The types of OAuth: clients and their keys, what they ask, tokens as issued and as looked up."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from strongroom.identity.model import Principal
from strongroom.identity.oauth.jose import PublicKey

Binding = Literal["dpop", "mtls", "any"]
"""What a client's tokens may be bound to: the key of its proofs, its certificate, or either."""

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ROLES = ("merchant-backend", "service-reveal")
"""What a client may be: a service of one merchant. People have operators' accounts."""


class ClientSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A client somebody wants. `jwks` is the public JWKS document itself: nothing is fetched."""

    merchant: str
    role: str
    scopes: frozenset[str]
    owner: str
    jwks: bytes
    binding: Binding = "any"
    expires_at: datetime | None = None


class ClientKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A public key of a client; after `retires_at` its signatures are refused."""

    kid: str
    algorithm: str
    created_at: datetime
    retires_at: datetime | None = None


class ClientView(msgspec.Struct, frozen=True, kw_only=True):
    """A client as its owner sees it."""

    id: str
    merchant: str
    role: str
    scopes: tuple[str, ...]
    binding: Binding
    owner: str
    status: Literal["active", "expired", "revoked"]
    created_at: datetime
    created_by: str
    expires_at: datetime
    revoked_at: datetime | None
    last_token_at: datetime | None
    keys: tuple[ClientKeyView, ...]


class ClientRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What authentication reads of a client; `hash` is what it is found by: its id."""

    hash: bytes
    id: str
    merchant: str
    merchant_status: str | None
    role: str
    scopes: tuple[str, ...]
    binding: Binding
    expires_at: datetime
    revoked_at: datetime | None
    keys: tuple[tuple[str, datetime | None, dict[str, str]], ...]


class TokenRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an issued token; `hash` is its id. `ended` says that nobody may use it."""

    hash: bytes
    principal: Principal
    bound_to: bytes
    expires_at: datetime
    ended: str | None


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What a client sends to the endpoints for tokens; what it left out is None."""

    grant_type: str | None = None
    scope: str | None = None
    resource: str | None = None
    client_id: str | None = None
    client_secret: str | None = None
    client_assertion_type: str | None = None
    client_assertion: str | None = None
    token: str | None = None

    def __repr__(self) -> str:
        return "Form(…)"


class Issued(msgspec.Struct, frozen=True, kw_only=True):
    """An access token for its client; `kind` is how it is sent."""

    token: str
    kind: Literal["DPoP", "Bearer"]
    lifetime_s: int
    scope: str
    nonce: str | None = None

    def __repr__(self) -> str:
        return f"Issued({self.kind})"


class Introspected(msgspec.Struct, frozen=True, kw_only=True):
    """A live token's claims, as they stand in it."""

    kind: Literal["DPoP", "Bearer"]
    claims: dict[str, Any]


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """A client that proved itself, and until when its assertion's id must be remembered."""

    client: ClientRecord
    assertion_id: bytes
    expires_at: datetime


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A DPoP proof that fits its request, whose id is not used up yet."""

    key: PublicKey
    id: bytes
    expires_at: datetime

"""The types of signed requests."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Literal

import msgspec


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A signed request taken apart: what was signed, by which key, until when."""

    key_id: str
    base: bytes
    signature: bytes
    created: int
    expires: int
    nonce: str
    content_digest: bytes

    def __repr__(self) -> str:
        return f"Signed({self.key_id})"


class Flaw(enum.StrEnum):
    """Why a signed request is not accepted. What depends on the request alone may be told."""

    DUPLICATE = "duplicate_header"
    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    COMPONENT_MISSING = "component_missing"
    COMPONENT_UNKNOWN = "component_unknown"
    COMPONENT_ABSENT = "component_absent"
    PARAMETER_MISSING = "parameter_missing"
    PARAMETER_UNKNOWN = "parameter_unknown"
    DIGEST = "digest"
    NONCE = "nonce"
    WINDOW = "window"
    FUTURE = "future"
    EXPIRED = "expired"
    NO_PUBLIC_URL = "no_public_url"
    KEY = "key"
    SIGNATURE = "signature"
    REPLAYED = "replayed"


class SigningKeySpec(msgspec.Struct, frozen=True, kw_only=True):
    """A signing key somebody wants to register; `public_key` is its 32 raw bytes."""

    merchant: str
    public_key: bytes
    owner: str
    role: str = "merchant-backend"
    scopes: frozenset[str] | None = None
    networks: tuple[str, ...] = ()
    expires_at: datetime | None = None


class SigningKeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A registered signing key; `fingerprint` is the SHA-256 of the public key, in hex."""

    id: str
    merchant: str
    role: str
    scopes: tuple[str, ...] | None
    networks: tuple[str, ...]
    owner: str
    fingerprint: str
    status: Literal["active", "expired", "revoked"]
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

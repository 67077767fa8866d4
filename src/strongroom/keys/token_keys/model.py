"""The types of token keys: what may be signed, and the public side of a key."""

from __future__ import annotations

from datetime import datetime

import msgspec

PURPOSE = "token-signing"
ALGORITHM = "ES256"


class AccessToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The claims of an access token before it is signed; times in seconds since 1970.

    It is bound to exactly one of two keys that the client never sends: that of its DPoP proofs
    (`key_thumbprint`, RFC 7638) or that of its certificate (`certificate_thumbprint`, SHA-256).
    """

    id: str
    issuer: str
    audience: str
    client: str
    merchant: str
    scope: str
    issued_at: int
    expires_at: int
    key_thumbprint: str | None = None
    certificate_thumbprint: str | None = None


class PublicTokenKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public key that verifies access tokens: the coordinates of its point, base64url."""

    kid: str
    x: str
    y: str
    signs: bool
    until: datetime

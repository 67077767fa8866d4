"""The types of client keys: as stored, as published, and as the vault uses them."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import msgspec

from strongroom.keys.model import StoredKey

ALGORITHM = {
    "jwe-p256": "ECDH-ES/P-256",
    "jwe-x25519": "ECDH-ES/X25519",
    "hpke-x25519": "HPKE/X25519",
    "hpke-xwing": "HPKE/X-Wing",
}
"""Suite → what stands in the key record, and so in the additional data its seed is wrapped with."""

SUITES = tuple(ALGORITHM)


class ClientKey(msgspec.Struct, frozen=True, kw_only=True):
    """A stored client key with its outside name and its times.

    It is published until `not_after` and accepted until `retire_after`.
    """

    key: StoredKey
    kid: str
    not_after: datetime
    retire_after: datetime

    @property
    def suite(self) -> str:
        """What the key is for."""
        return self.key.record.purpose


class PublicClientKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key as clients get it: `jwk` holds its RFC 7517 members, `kid` among them."""

    kid: str
    suite: str
    jwk: dict[str, str]
    not_before: datetime
    not_after: datetime


class OpeningKey(Protocol):
    """A private key at work: it opens messages of its suite and never shows itself."""

    @property
    def suite(self) -> str:
        """What the key is for."""
        ...

    def open(self, message: bytes, *, info: bytes) -> bytes:
        """Return what was encrypted to this key.

        `message` is a compact JWE (`info` is not used: its protected header is authenticated), or
        the encapsulated key with the ciphertext of HPKE.

        Raises:
            ValueError: for every cause alike.
        """
        ...

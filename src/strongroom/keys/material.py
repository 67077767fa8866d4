"""Clear keys in memory, each as an object that does one thing and never shows its bytes.

A data key seals and opens, an index key makes keyed hashes, the journal's key signs. To forget a
key is to drop its object.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterable, Sequence
from itertools import count
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.kernel.secret import Secret
from strongroom.keys import errors
from strongroom.keys.envelope import (
    HEADER_BYTES,
    NONCE_BYTES,
    around,
    decrypt,
    encrypt,
    header,
    parts,
    place,
)
from strongroom.keys.model import Context, KeyRecord


class Allowance:
    """Uses of one data key that are set aside in the database and not yet spent by this process."""

    __slots__ = ("left",)

    def __init__(self, left: int = 0) -> None:
        self.left = left


class DataKey:
    """A merchant's data key of one version, bound to its world."""

    __slots__ = ("_aead", "_allowance", "_head", "_key_part", "_world", "id", "sealing", "version")

    def __init__(
        self, key: Secret[bytes], record: KeyRecord, world: bytes, *, allowance: Allowance | None
    ) -> None:
        self._aead = AESGCM(key.reveal())
        self._world = world
        self._head = header(record.id, record.version)
        self._key_part = parts(self._head)
        self._allowance = allowance
        self.id: UUID = record.id
        self.version = record.version
        self.sealing = allowance is not None

    @property
    def left(self) -> int:
        """How many seals are set aside."""
        return 0 if self._allowance is None else self._allowance.left

    def seal(self, context: Context, plaintext: bytes) -> bytes:
        """Return a record only this key opens, only in this context.

        Raises:
            StrongroomError: `key_exhausted` when no uses are set aside (fail closed).
        """
        allowance = self._allowance
        if allowance is None or allowance.left <= 0:
            raise errors.key_exhausted(f"dek {self.id} has no uses set aside")
        allowance.left -= 1
        aad = self._world + place(context) + self._key_part
        return encrypt(self._aead, self._head, plaintext, aad)

    def seal_many(self, like: Context, values: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """Return a record for each (token, plaintext), in the context `like` but for its token.

        Tokens are of one length, so that what is bound around them is built once.

        Raises:
            StrongroomError: `key_exhausted` when not enough uses are set aside (fail closed).
        """
        allowance = self._allowance
        if allowance is None or allowance.left < len(values):
            raise errors.key_exhausted(f"dek {self.id} has no uses set aside")
        allowance.left -= len(values)
        before, after = around(like)
        before, after, length = self._world + before, after + self._key_part, len(like.token)
        nonces, seal, head = os.urandom(NONCE_BYTES * len(values)), self._aead.encrypt, self._head
        records = []
        for start, (token, plaintext) in zip(count(0, NONCE_BYTES), values, strict=False):
            if len(token) != length:
                raise ValueError("tokens of one call have one length")
            nonce = nonces[start : start + NONCE_BYTES]
            records.append(
                head + nonce + seal(nonce, plaintext, before + token.encode("ascii") + after)
            )
        return records

    def open_many(self, like: Context, values: Sequence[tuple[str, bytes]]) -> list[bytes | None]:
        """Return what each (token, record) holds, in the context `like` but for its token.

        None stands for a record that this key did not seal there as it is.
        """
        before, after = around(like)
        before, after, length = self._world + before, after + self._key_part, len(like.token)
        head, opened, body = self._head, self._aead.decrypt, HEADER_BYTES + NONCE_BYTES
        found: list[bytes | None] = []
        for token, record in values:
            if len(token) != length:
                raise ValueError("tokens of one call have one length")
            if record[:HEADER_BYTES] != head:
                found.append(None)
                continue
            try:
                aad = before + token.encode("ascii") + after
                found.append(opened(record[HEADER_BYTES:body], record[body:], aad))
            except InvalidTag:
                found.append(None)
        return found

    def open(self, context: Context, record: bytes) -> bytes:
        """Return what was sealed in this context.

        Raises:
            StrongroomError: `record_not_opened` for every cause alike.
        """
        if record[: len(self._head)] != self._head:
            raise errors.record_not_opened()
        return decrypt(self._aead, record, self._world + place(context) + self._key_part)


class IndexKey:
    """A merchant's key for fingerprints and commitments: HMAC-SHA-256 under named domains.

    `visible` is the key of what leaves the vault. It stays the same when the index key rotates; the
    index key itself serves until then.
    """

    __slots__ = ("_keyed", "version", "visible")

    def __init__(
        self, key: Secret[bytes], record: KeyRecord, *, visible: IndexKey | None = None
    ) -> None:
        # A keyed state of the library's, copied for each use: a third of the time of a new HMAC,
        # and no copy of the key's bytes in an object of Python's.
        self._keyed = HMAC(key.reveal(), SHA256())
        self.version = record.version
        self.visible = visible or self

    def mac(self, domain: bytes, data: bytes) -> bytes:
        """Return 32 bytes; domains never share values (`pan`, `visible`, `commitment`)."""
        keyed = self._keyed.copy()
        keyed.update(domain + b"\0" + data)
        return keyed.finalize()

    def mac_many(self, domain: bytes, values: Iterable[bytes]) -> list[bytes]:
        """Return `mac` of each value."""
        domain, made = domain + b"\0", []
        start = self._keyed.copy
        for value in values:
            keyed = start()
            keyed.update(domain + value)
            made.append(keyed.finalize())
        return made


class KeyedHash:
    """HMAC-SHA-256 under a key of the installation, in one domain: of API keys, of references."""

    __slots__ = ("_domain", "_key", "version")

    def __init__(self, key: Secret[bytes], version: int, domain: bytes) -> None:
        self._key = key
        self._domain = domain + b"\0"
        self.version = version

    def __call__(self, data: bytes) -> bytes:
        """Return the 32-byte keyed hash of `data`."""
        return hmac.digest(self._key.reveal(), self._domain + data, "sha256")


class JournalSigner:
    """Signs journal checkpoints (kernel.ports.Signer)."""

    __slots__ = ("_key", "_name", "_public_key")

    def __init__(self, seed: Secret[bytes], name: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        self._name = name
        self._public_key = public_key_of(seed)

    @property
    def name(self) -> str:
        """The key name that stands in signed notes."""
        return self._name

    @property
    def public_key(self) -> bytes:
        """The raw 32-byte public key."""
        return self._public_key

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature over `data`."""
        return self._key.sign(data)


def public_key_of(seed: Secret[bytes]) -> bytes:
    """Return the raw public key of an Ed25519 seed."""
    key = Ed25519PrivateKey.from_private_bytes(seed.reveal())
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

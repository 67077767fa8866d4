"""Sealed bytes: how a record names its key, what it is bound to, and how a key wraps a key.

Record: `magic(2) | format(1) | algorithm(1) | key id(16) | key version(4) | nonce(12) | text | tag`
The header names exactly one key; there is no trial decryption (GCM does not commit to its key).
Additional data is canonical: every part with its length before it, so no two contexts collide.
"""

from __future__ import annotations

import hmac
import os
import struct
from typing import cast
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.kernel.secret import Secret
from strongroom.keys import errors
from strongroom.keys.memory import PAGES
from strongroom.keys.model import KCV_BYTES, KEY_BYTES, Context, KeyRecord

MAGIC = b"SR"
FORMAT_1 = 1
ALGORITHM_A256GCM = 1
NONCE_BYTES = 12
TAG_BYTES = 16
HEADER_BYTES = 24
"""magic, format, algorithm, key id, key version."""

_HEADER = struct.Struct(">2sBB16sI")
_LENGTH = struct.Struct(">I")
_VERSION_MAX = 2**31 - 1
_PURPOSE = b"strongroom record"
_urandom = os.urandom


def parts(*values: bytes) -> bytes:
    """Return the values with a 4-byte length before each: the canonical form of a tuple."""
    return b"".join([_LENGTH.pack(len(value)) + value for value in values])


def header(key_id: UUID, version: int) -> bytes:
    """Return the header of records sealed under a key."""
    return _HEADER.pack(MAGIC, FORMAT_1, ALGORITHM_A256GCM, key_id.bytes, version)


def named_key(record: bytes) -> tuple[UUID, int]:
    """Return id and version of the key that a record names.

    Raises:
        StrongroomError: `record_not_opened` when it is not a record of this format.
    """
    if len(record) < HEADER_BYTES + NONCE_BYTES + TAG_BYTES:
        raise errors.record_not_opened()
    magic, layout, algorithm, key_id, version = _HEADER.unpack_from(record)
    known = (magic, layout, algorithm) == (MAGIC, FORMAT_1, ALGORITHM_A256GCM)
    if not known or not 1 <= version <= _VERSION_MAX:
        raise errors.record_not_opened()
    return UUID(bytes=key_id), version


def world(mode: str, region: str, installation: UUID, merchant: str) -> bytes:
    """Return the first part of the additional data: what all records under one key share."""
    return parts(
        _PURPOSE,
        bytes([FORMAT_1]),
        mode.encode(),
        region.encode(),
        installation.bytes,
        merchant.encode(),
    )


def place(context: Context) -> bytes:
    """Return the second part of the additional data: which value this is."""
    subject, token, field = (
        context.subject.encode(),
        context.token.encode(),
        context.field.encode(),
    )
    pack = _LENGTH.pack
    return b"".join(
        [
            pack(len(subject)),
            subject,
            pack(len(token)),
            token,
            pack(len(field)),
            field,
            pack(context.schema),
        ]
    )


def around(context: Context) -> tuple[bytes, bytes]:
    """Return what stands before and after the token in `place(context)`.

    Good for every token of the same length: the length is in the part before.
    """
    whole, token = place(context), context.token.encode()
    start = 2 * _LENGTH.size + len(context.subject.encode())
    return whole[:start], whole[start + len(token) :]


def encrypt(aead: AESGCM, head: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Return a record: the header, a fresh random nonce and the ciphertext with its tag."""
    nonce = _urandom(NONCE_BYTES)
    return head + nonce + aead.encrypt(nonce, plaintext, aad)


def decrypt(aead: AESGCM, record: bytes, aad: bytes) -> bytes:
    """Return the plaintext of a record.

    Raises:
        StrongroomError: `record_not_opened` for every cause alike.
    """
    body = HEADER_BYTES + NONCE_BYTES
    try:
        return aead.decrypt(record[HEADER_BYTES:body], record[body:], aad)
    except InvalidTag:
        raise errors.record_not_opened() from None


def record_aad(record: KeyRecord, *, mode: str, installation: UUID) -> bytes:
    """Return the key record in canonical form: what the wrapped bytes of a key are bound to."""
    return parts(
        b"strongroom key",
        bytes([FORMAT_1]),
        mode.encode(),
        installation.bytes,
        record.kind.encode(),
        record.id.bytes,
        record.purpose.encode(),
        record.region.encode(),
        record.owner.encode(),
        _LENGTH.pack(record.version),
        record.parent.encode(),
        record.algorithm.encode(),
        record.created_at.isoformat().encode(),
    )


def wrap_key(wrapping: AESGCM, key: Secret[bytes], aad: bytes) -> bytes:
    """Return `nonce | ciphertext | tag` of a key under another."""
    nonce = _urandom(NONCE_BYTES)
    return nonce + wrapping.encrypt(nonce, key.reveal(), aad)


def unwrap_key(wrapping: AESGCM, wrapped: bytes, aad: bytes, *, what: str) -> Secret[bytes]:
    """Return a wrapped key; one of 32 bytes lies in a protected page and is zeroed after use.

    Raises:
        StrongroomError: `key_not_usable` when bytes or record were changed or exchanged.
    """
    try:
        if len(wrapped) == NONCE_BYTES + KEY_BYTES + TAG_BYTES:
            place = PAGES.take()
            wrapping.decrypt_into(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], aad, place)
            return Secret(cast(bytes, place))
        return Secret(wrapping.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], aad))
    except (InvalidTag, ValueError):
        raise errors.key_not_usable(f"{what} does not open under its wrapping key") from None


def check_value(key: Secret[bytes], record: KeyRecord) -> bytes:
    """Return the key check value: shows that two copies are one key without showing the key."""
    message = parts(b"strongroom kcv", record.kind.encode(), record.id.bytes)
    return hmac.digest(key.reveal(), message, "sha256")[:KCV_BYTES]


def verify_key(key: Secret[bytes], record: KeyRecord, kcv: bytes) -> None:
    """Refuse a key that is not the one its record was made for."""
    if len(key.reveal()) != KEY_BYTES or not hmac.compare_digest(check_value(key, record), kcv):
        raise errors.key_not_usable(f"{record.kind} {record.id} fails its check value")


def fresh_key() -> Secret[bytes]:
    """Return 256 bits from the operating system's generator."""
    return Secret(_urandom(KEY_BYTES))

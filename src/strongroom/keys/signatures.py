"""Signed key records: what shows that a row was exchanged, changed or brought back (PCI DSS 3.7.7).

The record-signing key (Ed25519) lies under the root itself, so only who has the root signs. Each
record is signed with its revision and the hash of its wrapped bytes; the manifest is signed over
the revisions of the installation's own keys and over every revocation. What is not covered: a
database brought back whole. The anchor outside of it is for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from strongroom.kernel.secret import Secret
from strongroom.keys import errors
from strongroom.keys.envelope import parts, record_aad
from strongroom.keys.model import Mode, StoredKey
from strongroom.keys.records import Manifest, Snapshot

_RECORD = b"strongroom key record/1"
_MANIFEST = b"strongroom key manifest/1"


class RecordSigner:
    """Signs and verifies the key records and the manifest of one installation."""

    def __init__(self, seed: Secret[bytes], *, mode: Mode, installation: UUID) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        self._public = self._key.public_key()
        self._mode = mode
        self._installation = installation

    def signed(self, key: StoredKey) -> StoredKey:
        """Return the key with the signature over its record."""
        return msgspec.structs.replace(key, signature=self._key.sign(self._record(key)))

    def verify(self, key: StoredKey) -> None:
        """Refuse a key whose record was not signed here as it stands, or that was revoked since.

        Raises:
            StrongroomError: `key_record_forged`.
        """
        name = f"{key.record.kind} {key.record.id} v{key.record.version}"
        self._check(key.signature, self._record(key), name)
        if key.revoked is not None and key.state not in (key.revoked, "destroyed"):
            raise errors.key_record_forged(f"{name} is {key.state} but was {key.revoked}")
        if key.revoked is None and key.state in ("compromised", "destroyed"):
            raise errors.key_record_forged(f"{name} is {key.state} without a revocation")

    def manifest(
        self,
        seq: int,
        keys: Iterable[StoredKey],
        revocations: Iterable[tuple[UUID, str]],
        *,
        at: datetime,
    ) -> Manifest:
        """Return the signed manifest of these keys and revocations."""
        digest = _digest(keys, revocations)
        signature = self._key.sign(self._message(seq, digest, at))
        return Manifest(seq=seq, digest=digest, signed_at=at, signature=signature)

    def verify_snapshot(self, snapshot: Snapshot) -> int:
        """Refuse keys that are not exactly those of the manifest; return its number.

        Raises:
            StrongroomError: `key_record_forged`.
        """
        manifest = snapshot.manifest
        if manifest is None:
            raise errors.key_record_forged("the manifest is missing")
        message = self._message(manifest.seq, manifest.digest, manifest.signed_at)
        self._check(manifest.signature, message, "the manifest")
        for key in snapshot.keys:
            self.verify(key)
        if _digest(snapshot.keys, snapshot.revocations) != manifest.digest:
            raise errors.key_record_forged("keys or revocations are not those of the manifest")
        return manifest.seq

    def _check(self, signature: bytes | None, message: bytes, what: str) -> None:
        try:
            self._public.verify(signature or b"", message)
        except InvalidSignature:
            raise errors.key_record_forged(f"{what} has no valid signature") from None

    def _record(self, key: StoredKey) -> bytes:
        return parts(
            _RECORD,
            record_aad(key.record, mode=self._mode, installation=self._installation),
            hashlib.sha256(key.wrapped).digest(),
            key.kcv,
            key.public_key or b"",
            key.state.encode(),
            key.state_at.isoformat().encode(),
            str(key.revision).encode(),
        )

    def _message(self, seq: int, digest: bytes, at: datetime) -> bytes:
        world = (self._mode.encode(), self._installation.bytes)
        return parts(_MANIFEST, *world, str(seq).encode(), digest, at.isoformat().encode())


def _digest(keys: Iterable[StoredKey], revocations: Iterable[tuple[UUID, str]]) -> bytes:
    lines: Sequence[bytes] = [
        *sorted(
            parts(b"key", key.record.id.bytes, str(key.revision).encode(), key.state.encode())
            for key in keys
        ),
        *sorted(parts(b"revoked", key_id.bytes, state.encode()) for key_id, state in revocations),
    ]
    return hashlib.sha256(parts(*lines)).digest()

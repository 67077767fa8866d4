"""A passkey of software: what a phone and its browser do, made of `fido2`'s data structures.

It signs what it is told to, at whatever origin a test names: it is the server that must tell an
attack from a person. `fido2`'s own server checks its answers as well.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from fido2.cose import ES256, RS256, CoseKey, EdDSA
from fido2.server import Fido2Server
from fido2.webauthn import (
    Aaguid,
    AttestationObject,
    AttestedCredentialData,
    AuthenticatorData,
    CollectedClientData,
    PublicKeyCredentialRpEntity,
)

_UP, _UV, _BE, _BS, _AT = 0x01, 0x04, 0x08, 0x10, 0x40


def text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw(encoded: str) -> bytes:
    return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


class Authenticator:
    """One credential on one device.

    Args:
        origin: where its browser believes to be.
        algorithm: COSE name of its key.
        synced: whether the credential may be, and is, backed up.
        counts: whether it counts its signatures, as keys of hardware do.
    """

    def __init__(
        self,
        origin: str,
        *,
        algorithm: str = "ES256",
        synced: bool = False,
        counts: bool = True,
    ) -> None:
        self.origin = origin
        self.synced = synced
        self.counts = counts
        self.count = 0
        self.credential_id = os.urandom(32)
        self.user_handle = b""
        self.rp_id = ""
        self._algorithm = algorithm
        self._key: Any = {
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
            "RS256": lambda: rsa.generate_private_key(65537, 2048),
        }[algorithm]()

    @property
    def cose(self) -> CoseKey:
        kind: Any = {"ES256": ES256, "EdDSA": EdDSA, "RS256": RS256}[self._algorithm]
        made: CoseKey = kind.from_cryptography_key(self._key.public_key())
        return made

    @property
    def credential(self) -> AttestedCredentialData:
        return AttestedCredentialData.create(Aaguid(bytes(16)), self.credential_id, self.cose)

    def create(self, options: dict[str, Any], *, verified: bool = True) -> bytes:
        """Answer `navigator.credentials.create`."""
        self.rp_id = options["rp"]["id"]
        self.user_handle = raw(options["user"]["id"])
        client_data = self._client_data("webauthn.create", raw(options["challenge"]))
        data = AuthenticatorData.create(
            hashlib.sha256(self.rp_id.encode()).digest(),
            self._flags(verified) | _AT,
            self.count,
            bytes(self.credential),
        )
        attestation = AttestationObject.create("none", data, {})
        return self._answer(
            {"clientDataJSON": text(client_data), "attestationObject": text(bytes(attestation))}
        )

    def get(
        self,
        options: dict[str, Any],
        *,
        verified: bool = True,
        rp_id: str | None = None,
        user_handle: bytes | None = None,
        framed_by: str | int | None = None,
    ) -> bytes:
        """Answer `navigator.credentials.get`."""
        self.count += self.counts
        client_data = self._client_data("webauthn.get", raw(options["challenge"]), framed_by)
        data = AuthenticatorData.create(
            hashlib.sha256((rp_id or options["rpId"]).encode()).digest(),
            self._flags(verified),
            self.count,
        )
        signature = self._sign(bytes(data) + hashlib.sha256(client_data).digest())
        handle = self.user_handle if user_handle is None else user_handle
        return self._answer(
            {
                "clientDataJSON": text(client_data),
                "authenticatorData": text(bytes(data)),
                "signature": text(signature),
                "userHandle": text(handle),
            }
        )

    def _client_data(
        self, kind: str, challenge: bytes, framed_by: str | int | None = None
    ) -> bytes:
        if framed_by is None:
            return bytes(CollectedClientData.create(kind, challenge, self.origin))
        told = {
            "type": kind,
            "challenge": text(challenge),
            "origin": self.origin,
            "crossOrigin": True,
            "topOrigin": framed_by,
        }
        return json.dumps(told).encode()

    def _flags(self, verified: bool) -> int:
        flags = _UP | (_UV if verified else 0)
        return flags | (_BE | _BS if self.synced else 0)

    def _sign(self, message: bytes) -> bytes:
        if self._algorithm == "EdDSA":
            return bytes(self._key.sign(message))
        if self._algorithm == "RS256":
            return bytes(self._key.sign(message, padding.PKCS1v15(), hashes.SHA256()))
        return bytes(self._key.sign(message, ec.ECDSA(hashes.SHA256())))

    def _answer(self, response: dict[str, str]) -> bytes:
        told = {
            "id": text(self.credential_id),
            "rawId": text(self.credential_id),
            "type": "public-key",
            "response": response,
            "clientExtensionResults": {},
            "authenticatorAttachment": "platform",
        }
        return json.dumps(told).encode()


def checked_by_fido2(authenticator: Authenticator, options: dict[str, Any], answer: bytes) -> None:
    """Let Yubico's server verify an assertion; raises when it does not hold."""
    party = PublicKeyCredentialRpEntity(id=options["rpId"], name="Strongroom")
    server = Fido2Server(party, verify_origin=lambda origin: origin == authenticator.origin)
    state = {"challenge": options["challenge"], "user_verification": options["userVerification"]}
    found = server.authenticate_complete(state, [authenticator.credential], json.loads(answer))
    assert found.credential_id == authenticator.credential_id

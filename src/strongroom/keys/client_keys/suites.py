"""The four suites: how 32 bytes become a key pair, what is published of it, how it opens messages.

JWE is RFC 7516 ECDH-ES with A256GCM; HPKE is RFC 9180 base mode, HKDF-SHA-256 and AES-256-GCM, over
X25519 or X-Wing (draft-connolly-cfrg-xwing-kem, HPKE KEM 0x647a). No other algorithm exists here.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.kernel.canonical import dumps
from strongroom.kernel.secret import Secret
from strongroom.keys.client_keys.model import OpeningKey
from strongroom.keys.envelope import fresh_key

_COORDINATE_BYTES = 32
_MLKEM_SEED_BYTES = 64
_XWING_EXPANDED_BYTES = 96
_JWE_ALGORITHMS = ("ECDH-ES", "A256GCM")


def fresh_seed(suite: str) -> Secret[bytes]:
    """Return 32 random bytes that are a private key of the suite.

    P-256 takes no scalar of zero or beyond its order: such bytes (one in 2^32) are drawn anew.
    """
    while True:
        seed = fresh_key()
        try:
            public_bytes(suite, seed)
        except ValueError:
            continue
        return seed


def public_bytes(suite: str, seed: Secret[bytes]) -> bytes:
    """Return the public key: an uncompressed point, 32 bytes, or ML-KEM's then X25519's."""
    if suite == "jwe-p256":
        point = _p256(seed).public_key()
        return point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if suite == "hpke-xwing":
        lattice, curve = _xwing(seed)
        return lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    return _x25519(seed).public_key().public_bytes_raw()


def jwk_of(suite: str, public: bytes) -> dict[str, str]:
    """Return the public key as a JWK with its RFC 7638 thumbprint as `kid`."""
    if suite == "jwe-p256":
        x, y = public[1 : 1 + _COORDINATE_BYTES], public[1 + _COORDINATE_BYTES :]
        required = {"crv": "P-256", "kty": "EC", "x": b64url(x), "y": b64url(y)}
    elif suite == "hpke-xwing":
        required = {"alg": "X-Wing", "kty": "AKP", "pub": b64url(public)}
    else:
        required = {"crv": "X25519", "kty": "OKP", "x": b64url(public)}
    kid = b64url(hashlib.sha256(dumps(required)).digest())
    if suite.startswith("jwe-"):
        return {**required, "kid": kid, "use": "enc", "alg": "ECDH-ES"}
    return {**required, "kid": kid, "use": "enc"}


def opening_key(suite: str, seed: Secret[bytes]) -> OpeningKey:
    """Return the private key as an object that opens messages."""
    if suite == "jwe-p256":
        numbers = _p256(seed).private_numbers().private_value
        return _JweKey(suite, seed, numbers.to_bytes(_COORDINATE_BYTES, "big"))
    if suite == "jwe-x25519":
        return _JweKey(suite, seed, seed.reveal())
    if suite == "hpke-x25519":
        return _HpkeKey(suite, hpke.KEM.X25519, _x25519(seed))
    lattice, curve = _xwing(seed)
    return _HpkeKey(suite, hpke.KEM.MLKEM768_X25519, hpke.MLKEM768X25519PrivateKey(lattice, curve))


def b64url(data: bytes) -> str:
    """Return unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class _JweKey:
    """Opens compact JWEs; who calls has checked the protected header member by member."""

    __slots__ = ("_key", "_registry", "suite")

    def __init__(self, suite: str, seed: Secret[bytes], private: bytes) -> None:
        from joserfc.jwe import JWERegistry
        from joserfc.jwk import ECKey, OKPKey

        jwk = {k: v for k, v in jwk_of(suite, public_bytes(suite, seed)).items() if k != "kid"}
        kind: Any = ECKey if suite == "jwe-p256" else OKPKey
        self._key = kind.import_key({**jwk, "d": b64url(private)})
        self._registry = JWERegistry(algorithms=_JWE_ALGORITHMS, strict_check_header=False)
        self.suite = suite

    def open(self, message: bytes, *, info: bytes) -> bytes:
        """Return what was encrypted to this key; see `OpeningKey.open`."""
        from joserfc.jwe import decrypt_compact

        plaintext: bytes | None = None
        with suppress(Exception):  # whatever hostile bytes do to a parser is one answer
            plaintext = decrypt_compact(message, self._key, registry=self._registry).plaintext
        if plaintext is None:
            raise _not_opened()
        return plaintext


class _HpkeKey:
    """Opens HPKE messages of one KEM."""

    __slots__ = ("_key", "_suite", "suite")

    def __init__(self, suite: str, kem: hpke.KEM, key: Any) -> None:
        self._key = key
        self._suite = hpke.Suite(kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
        self.suite = suite

    def open(self, message: bytes, *, info: bytes) -> bytes:
        """Return what was encrypted to this key; see `OpeningKey.open`."""
        try:
            return self._suite.decrypt(message, self._key, info)
        except (InvalidTag, ValueError):
            raise _not_opened() from None


def _p256(seed: Secret[bytes]) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(seed.reveal(), "big"), ec.SECP256R1())


def _x25519(seed: Secret[bytes]) -> x25519.X25519PrivateKey:
    return x25519.X25519PrivateKey.from_private_bytes(seed.reveal())


def _xwing(seed: Secret[bytes]) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
    """Expand a seed as X-Wing does: SHAKE256 to ML-KEM's d and z, and X25519's scalar."""
    expanded = hashlib.shake_256(seed.reveal()).digest(_XWING_EXPANDED_BYTES)
    lattice = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
    curve = x25519.X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
    return lattice, curve


def _not_opened() -> ValueError:
    return ValueError("the message does not open")

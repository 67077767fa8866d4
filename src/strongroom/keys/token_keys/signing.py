"""How 32 bytes become the P-256 key that signs access tokens, and how it signs them.

The scalar is made from the seed by HKDF to 48 bytes, reduced into the group's order (FIPS 186-5
A.2.1, extra random bits). A token is a JWS of RFC 9068: `at+jwt`, ES256, nothing optional.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.kernel.canonical import dumps
from strongroom.kernel.secret import Secret
from strongroom.keys import errors
from strongroom.keys.model import Mode, StoredKey
from strongroom.keys.token_keys.model import ALGORITHM, AccessToken, PublicTokenKey

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256's group (SP 800-186 section 3.2.1.3)."""

_SCALAR_BYTES = 48
_COORDINATE_BYTES = 32
_INFO = b"strongroom access tokens 1"


class TokenSigner:
    """Signs access tokens; the key never comes out."""

    __slots__ = ("_head", "_key")

    def __init__(self, seed: Secret[bytes], public: bytes) -> None:
        self._key = _private(seed)
        if _point(self._key) != public:
            raise errors.key_not_usable("the token key does not fit its public key")
        head = {"alg": ALGORITHM, "kid": _jwk(public)["kid"], "typ": "at+jwt"}
        self._head = _b64(dumps(head))

    def sign(self, token: AccessToken, *, mode: Mode) -> str:
        """Return the signed token; the mode is ours to say, never the asker's."""
        message = f"{self._head}.{_b64(dumps(_claims(token, mode)))}"
        r, s = decode_dss_signature(self._key.sign(message.encode(), ec.ECDSA(hashes.SHA256())))
        signature = b"".join(number.to_bytes(_COORDINATE_BYTES, "big") for number in (r, s))
        return f"{message}.{_b64(signature)}"


def public_point(seed: Secret[bytes]) -> bytes:
    """Return the public key: an uncompressed point."""
    return _point(_private(seed))


def public_key(key: StoredKey, *, signs: bool, until: datetime) -> PublicTokenKey:
    """Return the public side of a stored key."""
    jwk = _jwk(key.public_key or b"")
    return PublicTokenKey(kid=jwk["kid"], x=jwk["x"], y=jwk["y"], signs=signs, until=until)


def _claims(token: AccessToken, mode: Mode) -> dict[str, Any]:
    confirmation = (
        {"jkt": token.key_thumbprint}
        if token.certificate_thumbprint is None
        else {"x5t#S256": token.certificate_thumbprint}
    )
    return {
        "iss": token.issuer,
        "aud": token.audience,
        "sub": token.client,
        "client_id": token.client,
        "merchant": token.merchant,
        "mode": mode,
        "scope": token.scope,
        "iat": token.issued_at,
        "exp": token.expires_at,
        "jti": token.id,
        "cnf": confirmation,
    }


def _private(seed: Secret[bytes]) -> ec.EllipticCurvePrivateKey:
    wide = HKDF(hashes.SHA256(), _SCALAR_BYTES, salt=None, info=_INFO).derive(seed.reveal())
    return ec.derive_private_key(int.from_bytes(wide, "big") % (_ORDER - 1) + 1, ec.SECP256R1())


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _jwk(point: bytes) -> dict[str, str]:
    x, y = point[1 : 1 + _COORDINATE_BYTES], point[1 + _COORDINATE_BYTES :]
    required = {"crv": "P-256", "kty": "EC", "x": _b64(x), "y": _b64(y)}
    return {**required, "kid": _b64(hashlib.sha256(dumps(required)).digest())}


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

"""Checks signatures under public keys of others: Ed25519 (RFC 8032) and ECDSA on P-256.

Nothing secret is here. An Ed25519 key is taken only when its point is written in the one way it
may be and generates the prime-order group: a key of small order would verify signatures that its
owner never made.
"""

from __future__ import annotations

import base64
import binascii

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_KEY_BYTES = 32
_SIGNATURE_BYTES = 64
_PEM_MAX = 1_000

Point = tuple[int, int, int, int]
"""Extended coordinates X, Y, Z, T of RFC 8032 section 5.1.4."""


def verify_ed25519(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Return whether `signature` over `message` was made by the owner of `public_key`.

    The key must have been taken by `sound_ed25519` when it was registered.
    """
    if len(public_key) != _KEY_BYTES or len(signature) != _SIGNATURE_BYTES:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def verify_ecdsa_p256(pem: str, signature: bytes, message: bytes) -> bool:
    """Return whether a DER signature over the SHA-256 of `message` fits a P-256 key in PEM."""
    try:
        key = _p256(pem)
        key.verify(signature, message, ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        return False
    return True


def is_p256(pem: str) -> bool:
    """Return whether a text is the PEM form of a P-256 public key."""
    try:
        _p256(pem)
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def read_ed25519(text: str) -> bytes | None:
    """Return the 32 bytes of a public key in PEM or bare base64; None for anything else."""
    text = text.strip()
    if len(text) > _PEM_MAX:
        return None
    try:
        if text.startswith("-----BEGIN PUBLIC KEY-----"):
            key = load_pem_public_key(text.encode("ascii"))
            if not isinstance(key, Ed25519PublicKey):
                return None
            raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        else:
            raw = base64.b64decode(text.encode("ascii"), validate=True)
            if base64.b64encode(raw).decode() != text:
                return None
    except (ValueError, UnsupportedAlgorithm, binascii.Error):
        return None
    return raw if len(raw) == _KEY_BYTES else None


def sound_ed25519(public_key: bytes) -> bool:
    """Return whether a key is canonical, on the curve and of prime order."""
    point = _decoded(public_key)
    return point is not None and not _is_identity(point) and _is_identity(_times(_L, point))


def _p256(pem: str) -> EllipticCurvePublicKey:
    if len(pem) > _PEM_MAX:
        raise ValueError("too long")
    key = load_pem_public_key(pem.encode("ascii"))
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("not a P-256 key")
    return key


def _decoded(public_key: bytes) -> Point | None:
    """Return the point of RFC 8032 section 5.1.3; None for what is none, or written otherwise."""
    if len(public_key) != _KEY_BYTES:
        return None
    number = int.from_bytes(public_key, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _times(number: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = _sum(total, point)
        point = _sum(point, point)
        number >>= 1
    return total


def _sum(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % _P
    b = (one[1] + one[0]) * (other[1] + other[0]) % _P
    c = 2 * one[3] * other[3] * _D % _P
    d = 2 * one[2] * other[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _is_identity(point: Point) -> bool:
    return point[0] % _P == 0 and (point[1] - point[2]) % _P == 0

"""JSON Web Signatures and keys, read strictly: what is ambiguous or unexpected is refused.

Signatures are checked by joserfc's algorithms with the key that *we* chose and the one algorithm
that this key is for; a header can only fail to name it. Nothing in a header is ever fetched. Before
anything is decoded it must be base64url that encodes back to itself, so that one signature has one
spelling, and JSON in which no name stands twice.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import msgspec
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from strongroom.kernel.canonical import dumps
from strongroom.kernel.edge_limits import (
    OAUTH_JWT_BRACKETS_MAX,
    OAUTH_JWT_MAX_BYTES,
    RSA_BITS_MAX,
    RSA_BITS_MIN,
)

ALGORITHMS = ("ES256", "EdDSA", "Ed25519", "PS256")
"""What a JWS of a client may be signed with; EdDSA is Ed25519 and nothing else (RFC 9864)."""

KID = re.compile(r"[A-Za-z0-9._~-]{1,64}", re.ASCII)

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_TRUE_NAME = {"ES256": "ES256", "EdDSA": "Ed25519", "Ed25519": "Ed25519", "PS256": "PS256"}
_COORDINATE_BYTES = 32
_KEY_TYPES: Mapping[str, tuple[str, type[Any], frozenset[str]]] = {
    "EC": ("ES256", ECKey, frozenset({"crv", "kty", "x", "y"})),
    "OKP": ("Ed25519", OKPKey, frozenset({"crv", "kty", "x"})),
    "RSA": ("PS256", RSAKey, frozenset({"e", "kty", "n"})),
}
"""`kty` → the one algorithm, how joserfc reads it, and the members that are the key."""

_BESIDE = frozenset({"alg", "kid", "key_ops", "use"})
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
_MAX_INT = 2**53 - 1
_ED25519_PRIME = 2**255 - 19
_OF_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_LOW_ORDER = frozenset(
    value.to_bytes(_COORDINATE_BYTES, "little")
    for y in (
        0,
        1,
        _OF_ORDER_8,
        _ED25519_PRIME - _OF_ORDER_8,
        _ED25519_PRIME - 1,
        _ED25519_PRIME,
        _ED25519_PRIME + 1,
    )
    for value in (y, y | 1 << 255)
)
"""Points of Ed25519 of small order, in every spelling: under them one signature fits any text."""


class Refused(ValueError):
    """Why something is no acceptable JWS or key; `reason` is a name, never a value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PublicKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key with the one algorithm it may verify; `thumbprint` is RFC 7638's."""

    algorithm: str
    thumbprint: str
    members: dict[str, str]
    key: Any
    kid: str | None = None

    def __repr__(self) -> str:
        return f"PublicKey({self.algorithm})"


class Jws(msgspec.Struct, frozen=True, kw_only=True):
    """A JWS taken apart and not verified yet; `algorithm` is one of ours by its true name."""

    header: dict[str, Any]
    claims: dict[str, Any]
    algorithm: str
    signed: bytes
    signature: bytes

    def __repr__(self) -> str:
        return f"Jws({self.algorithm})"


def read(text: str, *, members: Collection[str], types: Collection[str | None]) -> Jws:
    """Take a compact JWS apart.

    Args:
        text: as it was sent.
        members: the header members that mean something here; any other is refused, and with it
            every one that would fetch a key, change what is signed, or must be understood (`crit`).
        types: the values of `typ` that are taken; None stands for none given.

    Raises:
        Refused: it is not exactly that.
    """
    if len(text) > OAUTH_JWT_MAX_BYTES:
        raise Refused("too_long")
    parts = text.split(".")
    if len(parts) != 3:
        raise Refused("not_compact")
    head, body, signature = map(decoded, parts)
    header = document(head)
    if not header.keys() <= set(members):
        raise Refused("header_member")
    algorithm = header.get("alg")
    if type(algorithm) is not str or algorithm not in _TRUE_NAME:
        raise Refused("algorithm")
    kind = header.get("typ")
    if (kind is not None and type(kind) is not str) or kind not in types:
        raise Refused("type")
    return Jws(
        header=header,
        claims=document(body),
        algorithm=_TRUE_NAME[algorithm],
        signed=f"{parts[0]}.{parts[1]}".encode("ascii"),
        signature=signature,
    )


def verify(jws: Jws, key: PublicKey) -> None:
    """Check a signature.

    Raises:
        Refused: it was not made by this key with this key's algorithm.
    """
    if jws.algorithm != key.algorithm:
        raise Refused("algorithm_of_key")
    try:
        fits = JWSRegistry.algorithms[key.algorithm].verify(jws.signed, jws.signature, key.key)
    except Exception:  # noqa: BLE001 - whatever hostile bytes do to a library is one answer
        fits = False
    if fits is not True:
        raise Refused("signature")


def public_key(jwk: object) -> PublicKey:
    """Return the key of a JWK (RFC 7517): P-256, Ed25519, or RSA of 2048 to 4096 bits.

    Raises:
        Refused: it is another kind, not public, not well-formed, or meant for something else.
    """
    if type(jwk) is not dict:
        raise Refused("jwk")
    if jwk.keys() & _PRIVATE:
        raise Refused("private_key")
    kind = jwk.get("kty")
    if type(kind) is not str or kind not in _KEY_TYPES:
        raise Refused("key_type")
    algorithm, reader, own = _KEY_TYPES[kind]
    if not own <= jwk.keys() <= own | _BESIDE:
        raise Refused("jwk_members")
    _check_beside(jwk, algorithm)
    members = {name: jwk[name] for name in sorted(own)}
    if not all(type(value) is str for value in members.values()):
        raise Refused("jwk_members")
    _CHECKS[kind](members)
    try:
        key = reader.import_key(dict(members))
        key.get_op_key("verify")
    except Exception:  # noqa: BLE001 - a point off its curve, and whatever else cannot be a key
        key = None
    if key is None:
        raise Refused("key_value")
    return PublicKey(
        algorithm=algorithm,
        thumbprint=encoded(hashlib.sha256(dumps(members)).digest()),
        members=members,
        key=key,
        kid=jwk.get("kid"),
    )


def decoded(text: str) -> bytes:
    """Return the bytes of unpadded base64url in its one spelling.

    Raises:
        Refused: other characters, padding, or bits that nobody reads.
    """
    if _BASE64URL.fullmatch(text) is None or len(text) % 4 == 1:
        raise Refused("base64url")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encoded(data) != text:
        raise Refused("base64url")
    return data


def encoded(data: bytes) -> str:
    """Return unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def document(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`; integers only, no name twice, hardly nested.

    Raises:
        Refused: it is not exactly that.
    """
    if data.count(b"{") + data.count(b"[") > OAUTH_JWT_BRACKETS_MAX:
        raise Refused("nested")
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except Refused:
        raise
    except (ValueError, RecursionError):
        value = None
    if type(value) is not dict:
        raise Refused("json")
    return value


def _check_beside(jwk: dict[str, Any], algorithm: str) -> None:
    """Refuse a key that says it is for something else than verifying by its one algorithm."""
    named, kid = jwk.get("alg", algorithm), jwk.get("kid")
    if type(named) is not str or _TRUE_NAME.get(named) != algorithm:
        raise Refused("algorithm_of_key")
    if jwk.get("use", "sig") != "sig" or jwk.get("key_ops", ["verify"]) != ["verify"]:
        raise Refused("key_use")
    if "kid" in jwk and not (type(kid) is str and KID.fullmatch(kid)):
        raise Refused("kid")


def _check_ec(members: dict[str, str]) -> None:
    if members["crv"] != "P-256":
        raise Refused("curve")
    if any(len(decoded(members[name])) != _COORDINATE_BYTES for name in ("x", "y")):
        raise Refused("key_value")


def _check_okp(members: dict[str, str]) -> None:
    if members["crv"] != "Ed25519":
        raise Refused("curve")
    point = decoded(members["x"])
    if len(point) != _COORDINATE_BYTES or point in _LOW_ORDER:
        raise Refused("key_value")


def _check_rsa(members: dict[str, str]) -> None:
    modulus, exponent = decoded(members["n"]), decoded(members["e"])
    number = int.from_bytes(modulus, "big")
    if modulus[0] == 0 or exponent != b"\x01\x00\x01" or number % 2 == 0:
        raise Refused("key_value")
    if not RSA_BITS_MIN <= number.bit_length() <= RSA_BITS_MAX:
        raise Refused("key_size")


_CHECKS = {"EC": _check_ec, "OKP": _check_okp, "RSA": _check_rsa}


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("duplicate_name")
    return found


def _integer(digits: str) -> int:
    if len(digits) > 17 or digits == "-0" or not -_MAX_INT <= int(digits) <= _MAX_INT:
        raise Refused("number")
    return int(digits)


def _no_number(_: str) -> NoReturn:
    raise Refused("number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_no_number, parse_constant=_no_number
)

"""A provider's keys and the ID tokens it signs, by joserfc under our own rules.

The rules come first: canonical base64url, one spelling of every JSON name, a header of known
members only, an algorithm of the settings. A key set that holds a private or a shared key is
refused whole: whoever published it cannot keep a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from strongroom.identity.oidc import errors
from strongroom.identity.oidc.decide import strict_json, unb64
from strongroom.identity.oidc.model import Refusal
from strongroom.kernel.edge_limits import OIDC_KEYS_MAX, OIDC_SKEW_S, OIDC_TOKEN_MAX_CHARS

_HEADER = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
"""Members that may stand in a header. Those that bring or name a key (jwk, jku, x5u) may not."""

_KINDS: Mapping[str, tuple[type[ECKey | OKPKey | RSAKey], str | None]] = {
    "RS256": (RSAKey, None),
    "PS256": (RSAKey, None),
    "ES256": (ECKey, "P-256"),
    "ES384": (ECKey, "P-384"),
    "Ed25519": (OKPKey, "Ed25519"),
}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_RSA_BYTES_MIN = 256
_RSA_BYTES_MAX = 1024

PublicKey = ECKey | OKPKey | RSAKey


def keys_of(document: bytes) -> tuple[PublicKey, ...]:
    """Return the signing keys of a published set (RFC 7517); unknown kinds are left out.

    Raises:
        StrongroomError: `sso_unavailable` for what is no set of public keys.
    """
    try:
        listed = strict_json(document).get("keys")
    except ValueError:
        raise errors.unavailable("the key set is not JSON") from None
    if not isinstance(listed, list) or not 1 <= len(listed) <= OIDC_KEYS_MAX:
        raise errors.unavailable("the key set has no keys, or too many")
    found = []
    for one in listed:
        if not isinstance(one, dict):
            raise errors.unavailable("the key set is not one")
        if _PRIVATE & one.keys() or one.get("kty") == "oct":
            raise errors.unavailable("the key set publishes a private or shared key")
        key = _key(one)
        if key is not None:
            found.append(key)
    return tuple(found)


def _key(given: dict[str, Any]) -> PublicKey | None:
    if given.get("use", "sig") != "sig" or "verify" not in given.get("key_ops", ["verify"]):
        return None
    kinds: dict[Any, type[PublicKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    kind = kinds.get(given.get("kty"))
    if kind is RSAKey and not _RSA_BYTES_MIN <= len(_modulus(given)) <= _RSA_BYTES_MAX:
        return None
    try:
        return None if kind is None else kind.import_key(given)
    except (JoseError, ValueError, TypeError):
        return None


def claims_in(
    token: str,
    keys: Sequence[PublicKey],
    *,
    algorithms: Sequence[str],
    issuer: str,
    nonce: str,
    now_s: int,
) -> dict[str, Any]:
    """Return the claims of an ID token: signed by one of the keys, of the issuer, for this nonce.

    Raises:
        StrongroomError: `sso_refused`.
        UnknownKey: no key of the set can have signed it; a newer set may have it.
    """
    header = _checked_header(token, algorithms)
    key = _chosen(keys, header["alg"], header.get("kid"))
    registry = JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
    try:
        claims = jwt.decode(token, key, registry=registry).claims
        jwt.JWTClaimsRegistry(
            now=now_s,
            leeway=OIDC_SKEW_S,
            iss={"essential": True, "value": issuer},
            exp={"essential": True},
            iat={"essential": True},
            aud={"essential": True},
            sub={"essential": True},
        ).validate(claims)
    except (JoseError, ValueError, TypeError, OverflowError) as error:
        raise errors.refused(Refusal.TOKEN, type(error).__name__) from None
    if claims.get("nonce") != nonce:
        raise errors.refused(Refusal.NONCE)
    return claims


class UnknownKey(Exception):
    """No key of the set has the token's key id and kind."""


def _checked_header(token: str, algorithms: Sequence[str]) -> dict[str, Any]:
    """Return the header of a token whose form is the only one allowed."""
    parts = token.split(".")
    if len(token) > OIDC_TOKEN_MAX_CHARS or len(parts) != 3:
        raise errors.refused(Refusal.TOKEN, "not a compact JWS")
    decoded = [unb64(part) for part in parts]
    if not all(decoded):
        raise errors.refused(Refusal.TOKEN, "not canonical base64url")
    try:
        header = strict_json(decoded[0] or b"")
        strict_json(decoded[1] or b"")
    except ValueError:
        raise errors.refused(Refusal.TOKEN, "not strict JSON") from None
    if not header.keys() <= _HEADER or header.get("typ", "JWT") not in ("JWT", "jwt"):
        raise errors.refused(Refusal.TOKEN, "header members that have no place here")
    if header.get("alg") not in algorithms or not isinstance(header.get("kid", ""), str):
        raise errors.refused(Refusal.TOKEN, "algorithm not allowed")
    return header


def _chosen(keys: Sequence[PublicKey], algorithm: str, kid: str | None) -> KeySet | PublicKey:
    """Return the one key that fits; without a key id there must be only one of its kind."""
    kind, curve = _KINDS[algorithm]
    fitting = [
        key
        for key in keys
        if isinstance(key, kind)
        and key.get("alg") in (None, algorithm)
        and (curve is None or key.get("crv") == curve)
        and (kid is None or key.get("kid") == kid)
    ]
    if len(fitting) != 1:
        raise UnknownKey
    return fitting[0]


def _modulus(given: dict[str, Any]) -> bytes:
    value = given.get("n")
    return (unb64(value) or b"").lstrip(b"\0") if isinstance(value, str) else b""

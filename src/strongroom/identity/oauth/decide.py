"""Pure decisions of OAuth: what a client may be, and whether claims are acceptable now.

Each check of claims returns the name of what is wrong, or None.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from strongroom.identity import errors as identity_errors
from strongroom.identity.api_keys.decide import KEY_LIFETIME_MAX, OPERATOR_KEY_LIFETIME
from strongroom.identity.decide import check_text
from strongroom.identity.oauth import jose
from strongroom.identity.oauth.model import ROLES, ClientRecord, ClientSpec
from strongroom.kernel.edge_limits import (
    DPOP_PROOF_AGE_S,
    OAUTH_ASSERTION_LIFETIME_MAX_S,
    OAUTH_CLIENT_DAYS,
    OAUTH_CLIENT_DAYS_MAX,
    OAUTH_CLIENT_JWKS_MAX_BYTES,
    OAUTH_CLIENT_KEYS_MAX,
    OAUTH_CLOCK_SKEW_S,
    OAUTH_TEXT_MAX_CHARS,
)

CLIENT_ID = re.compile(r"ocl_[0-7][0-9a-hjkmnp-tv-z]{25}", re.ASCII)
TOKEN_ID = re.compile(r"oat_[0-7][0-9a-hjkmnp-tv-z]{25}", re.ASCII)

_UNIQUE = re.compile(rf"[\x21-\x7e]{{8,{OAUTH_TEXT_MAX_CHARS}}}", re.ASCII)
_REVEALING = "service-reveal"
_DEFAULT_PORT = {"http": 80, "https": 443}
_UNRESERVED = re.compile(r"%(4[1-9A-F]|5[0-9A]|6[1-9A-F]|7[0-9A]|3[0-9]|2D|2E|5F|7E)")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


def checked(spec: ClientSpec, *, known_scopes: Collection[str], now: datetime) -> datetime:
    """Return when a client that somebody wants will end.

    Raises:
        StrongroomError: `invalid_parameter` for what no client may be.
    """
    invalid = identity_errors.invalid_parameter
    if spec.role not in ROLES:
        raise invalid("role", "A client is a merchant-backend or a service-reveal.")
    if not spec.scopes or not all(scope in known_scopes for scope in spec.scopes):
        raise invalid("scopes", "Name at least one scope; every scope is the name of an action.")
    check_text("owner", spec.owner)
    days = timedelta(days=OAUTH_CLIENT_DAYS), timedelta(days=OAUTH_CLIENT_DAYS_MAX)
    default, most = (OPERATOR_KEY_LIFETIME, KEY_LIFETIME_MAX) if spec.role == _REVEALING else days
    expires_at = spec.expires_at or now + default
    if expires_at.tzinfo is None or not now < expires_at <= now + most:
        raise invalid("expires_at", f"The expiry must be in the future, {most.days} days at most.")
    return expires_at


def client_keys(jwks: bytes) -> list[jose.PublicKey]:
    """Return the keys of a client's JWKS document, each with a name.

    Raises:
        StrongroomError: `invalid_parameter` unless every one is a public key that we take.
    """
    try:
        if len(jwks) > OAUTH_CLIENT_JWKS_MAX_BYTES:
            raise jose.Refused("too_long")
        given = jose.document(jwks).get("keys")
        if type(given) is not list or not 1 <= len(given) <= OAUTH_CLIENT_KEYS_MAX:
            raise jose.Refused("number_of_keys")
        keys = [jose.public_key(jwk) for jwk in given]
        if len({key.kid or key.thumbprint for key in keys}) != len(keys):
            raise jose.Refused("kid_twice")
    except jose.Refused as refused:
        reason = refused.reason
    else:
        return keys
    raise identity_errors.invalid_parameter(
        "jwks",
        "Give a JWKS of one to four public keys: P-256, Ed25519, or RSA of 2048 to 4096 bits, "
        f"each with a kid of its own or none ({reason}).",
    )


def client_fault(client: ClientRecord, now: datetime) -> str | None:
    """Return why a registered client is not accepted at `now`."""
    if client.revoked_at is not None:
        return "revoked"
    if now >= client.expires_at:
        return "expired"
    return None if client.merchant_status == "active" else "suspended"


def assertion_fault(claims: Mapping[str, Any], *, issuer: str, now: datetime) -> str | None:
    """Return what is wrong with an assertion's claims (RFC 7523 section 3).

    The audience is our issuer identifier as one string, and nothing beside it.
    """
    subject = claims.get("sub")
    if type(subject) is not str or not CLIENT_ID.fullmatch(subject):
        return "subject"
    if claims.get("iss") != subject:
        return "issuer"
    if claims.get("aud") != issuer or type(claims.get("aud")) is not str:
        return "audience"
    if not is_unique(claims.get("jti")):
        return "id"
    return _time_fault(claims, now=now, longest_s=OAUTH_ASSERTION_LIFETIME_MAX_S)


def proof_fault(
    claims: Mapping[str, Any], *, method: str, target: str, access: str | None, now: datetime
) -> str | None:
    """Return what is wrong with a DPoP proof's claims (RFC 9449 section 4.3).

    Args:
        claims: of the proof.
        method: the request's.
        target: the request's absolute URI.
        access: base64url SHA-256 of the token that comes with it; None when one is asked for.
        now: our clock.
    """
    if not is_unique(claims.get("jti")):
        return "id"
    if claims.get("htm") != method:
        return "method"
    named, wanted = claims.get("htu"), normalized(target)
    if type(named) is not str or wanted is None or normalized(named) != wanted:
        return "target"
    if claims.get("ath") != access:
        return "access_token"
    made = claims.get("iat")
    if type(made) is not int or not -DPOP_PROOF_AGE_S < made - _seconds(now) <= OAUTH_CLOCK_SKEW_S:
        return "time"
    for name in ("exp", "nbf"):
        if name in claims and _is_outside(name, claims[name], now):
            return "time"
    return None


def token_fault(
    claims: Mapping[str, Any], *, issuer: str, mode: str, now: datetime, even_if_over: bool = False
) -> str | None:
    """Return what is wrong with the claims of an access token (RFC 9068 section 4)."""
    if claims.get("iss") != issuer:
        return "issuer"
    if claims.get("aud") != audience(issuer):
        return "audience"
    if claims.get("mode") != mode:
        return "mode"
    token, client = claims.get("jti"), claims.get("client_id")
    if type(token) is not str or not TOKEN_ID.fullmatch(token):
        return "id"
    if type(client) is not str or not CLIENT_ID.fullmatch(client) or claims.get("sub") != client:
        return "subject"
    bound = claims.get("cnf")
    if type(bound) is not dict or set(bound) not in ({"jkt"}, {"x5t#S256"}):
        return "binding"
    if type(claims.get("scope")) is not str or type(claims.get("merchant")) is not str:
        return "scope"
    start, end, seconds = claims.get("iat"), claims.get("exp"), _seconds(now)
    if type(start) is not int or type(end) is not int or start > seconds + OAUTH_CLOCK_SKEW_S:
        return "time"
    return "expired" if end <= seconds and not even_if_over else None


def audience(issuer: str) -> str:
    """Return the resource that tokens are for: an assertion's audience is never a token's."""
    return f"{issuer}/v1"


def scopes(asked: str | None, client: ClientRecord) -> tuple[str, ...] | None:
    """Return the scopes of a token: all of the client's, or those it asked for; None to refuse."""
    if asked is None:
        return client.scopes
    named = asked.split(" ")
    if len(set(named)) != len(named) or not set(named) <= set(client.scopes):
        return None
    return tuple(sorted(named))


def is_unique(value: object) -> bool:
    """Return whether a value can be the id of an assertion or proof."""
    return type(value) is str and _UNIQUE.fullmatch(value) is not None


def normalized(uri: str) -> str | None:
    """Return a URI as proofs name it: RFC 3986's syntax and scheme form, no query, no fragment.

    None for what no request to us can be for: another scheme, user information, an odd port.
    """
    if not uri.isascii() or len(uri) > 2_048 or any(char <= " " or char == "\\" for char in uri):
        return None
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), parts.hostname
    if scheme not in _DEFAULT_PORT or not host or "@" in parts.netloc:
        return None
    named = f"[{host}]" if ":" in host else host
    where = named if port in (None, _DEFAULT_PORT[scheme]) else f"{named}:{port}"
    path = _ESCAPE.sub(lambda found: found[0].upper(), parts.path or "/")
    path = _UNRESERVED.sub(lambda found: chr(int(found[1], 16)), path)
    return f"{scheme}://{where}{path}"


def _time_fault(claims: Mapping[str, Any], *, now: datetime, longest_s: int) -> str | None:
    end, seconds = claims.get("exp"), _seconds(now)
    if type(end) is not int:
        return "expiry"
    if end <= seconds:
        return "expired"
    if end > seconds + longest_s + OAUTH_CLOCK_SKEW_S:
        return "lifetime"
    for name in ("iat", "nbf"):
        if name in claims and _is_outside(name, claims[name], now):
            return "not_yet"
    made = claims.get("iat")
    return "lifetime" if made is not None and end - made > longest_s else None


def _is_outside(name: str, value: object, now: datetime) -> bool:
    if type(value) is not int:
        return True
    seconds = _seconds(now)
    return value <= seconds if name == "exp" else value > seconds + OAUTH_CLOCK_SKEW_S


def _seconds(now: datetime) -> int:
    return int(now.timestamp())

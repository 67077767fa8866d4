"""Pure decisions of sign-in by a provider: its documents, its answers, the rights they give.

What is not clearly right is refused: an unknown group gives no role, an unknown `acr` or `amr` no
assurance, an endpoint at an unnamed origin ends the sign-in.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from strongroom.identity.oidc import errors
from strongroom.identity.oidc.model import (
    Callback,
    Claims,
    OidcSpec,
    Provider,
    Purpose,
    Refusal,
    Role,
)
from strongroom.kernel.edge_limits import OIDC_LOGIN_S
from strongroom.kernel.secret import Secret

WELL_KNOWN = "/.well-known/openid-configuration"
AAL_MIN = 2
"""PCI DSS 8.4: nobody administers anything on one factor."""

_RANDOM_BYTES = 16
_TIME_BYTES = 6
_TAG_BYTES = 16
_PURPOSES: tuple[Purpose, ...] = ("sign_in", "link")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


T = TypeVar("T")


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One sign-in under way. All its values follow from the browser's own secret and `payload`.

    So nothing of it is stored, no other browser can finish it, and nobody can fill a table by
    starting sign-ins; that it ends once is kept by the replay table.
    """

    state: str
    nonce: str
    verifier: str
    purpose: Purpose
    started_s: int

    def __repr__(self) -> str:
        return f"Attempt({self.purpose})"

    @property
    def started_at(self) -> datetime:
        """When it began."""
        return datetime.fromtimestamp(self.started_s, UTC)

    @property
    def challenge(self) -> str:
        """The PKCE challenge (RFC 7636, S256)."""
        return b64(hashlib.sha256(self.verifier.encode()).digest())


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """The members of a discovery document that are read (OpenID Connect Discovery 1.0, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    response_types_supported: tuple[str, ...] = ("code",)
    code_challenge_methods_supported: tuple[str, ...] | None = None
    id_token_signing_alg_values_supported: tuple[str, ...] = ()
    authorization_response_iss_parameter_supported: bool = False


def b64(data: bytes) -> str:
    """Return unpadded base64url."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes | None:
    """Return the bytes of canonical unpadded base64url; None for every other spelling."""
    if not text.isascii():
        return None
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (NotBase64, ValueError):
        return None
    return data if hmac.compare_digest(b64(data), text) else None


def started(device: Secret[bytes], purpose: Purpose, *, random: bytes, now: datetime) -> Attempt:
    """Return a new attempt of this browser."""
    head = bytes([_PURPOSES.index(purpose)])
    seconds = int(now.timestamp()).to_bytes(_TIME_BYTES, "big")
    return _attempt(device, head + seconds + random[:_RANDOM_BYTES])


def resumed(device: Secret[bytes], callback: Callback, *, now: datetime) -> Attempt:
    """Return the attempt that a callback belongs to.

    Raises:
        StrongroomError: `sso_refused` for a state that this browser did not start or that is old.
    """
    raw = unb64(callback.state) or b""
    if len(raw) != 1 + _TIME_BYTES + _RANDOM_BYTES + _TAG_BYTES or raw[0] >= len(_PURPOSES):
        raise errors.refused(Refusal.STATE)
    attempt = _attempt(device, raw[:-_TAG_BYTES])
    if not hmac.compare_digest(attempt.state, callback.state):
        raise errors.refused(Refusal.STATE)
    age_s = (now - attempt.started_at).total_seconds()
    if not -1 <= age_s <= OIDC_LOGIN_S:
        raise errors.refused(Refusal.EXPIRED)
    return attempt


def _attempt(device: Secret[bytes], payload: bytes) -> Attempt:
    def derived(use: bytes) -> bytes:
        return hmac.digest(device.reveal(), b"oidc " + use + b"\0" + payload, hashlib.sha256)

    return Attempt(
        state=b64(payload + derived(b"state")[:_TAG_BYTES]),
        nonce=b64(derived(b"nonce")),
        verifier=b64(derived(b"verifier")),
        purpose=_PURPOSES[payload[0]],
        started_s=int.from_bytes(payload[1 : 1 + _TIME_BYTES], "big"),
    )


def check_spec(spec: OidcSpec, *, live: bool) -> OidcSpec:
    """Return the settings when they can work.

    Raises:
        StrongroomError: `settings_invalid`.
    """
    for name, url in (("issuer", spec.issuer), *(("origins", one) for one in spec.origins)):
        if origin_of(url, live=live) is None:
            raise errors.misconfigured(f"{name} must be an https URL without query or user")
    if spec.issuer.endswith(WELL_KNOWN):
        raise errors.misconfigured("issuer is the issuer itself, without /.well-known/…")
    if "openid" not in spec.scopes:
        raise errors.misconfigured("scopes must have openid")
    if not spec.roles:
        raise errors.misconfigured("roles must map at least one group, or nobody gets in")
    if not any(aal >= AAL_MIN for aal in (*spec.acr.values(), *spec.amr.values())):
        raise errors.misconfigured("acr or amr must map at least one value to 2")
    if not spec.algorithms:
        raise errors.misconfigured("algorithms must name at least one")
    return spec


def origin_of(url: str, *, live: bool) -> str | None:
    """Return scheme, host and port of a provider's URL; None when it is not fit to be one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    plain = parts.scheme == "http" and not live and host in _LOOPBACK
    if not url.isascii() or not host or not (parts.scheme == "https" or plain):
        return None
    if parts.username is not None or parts.password is not None or parts.fragment or parts.query:
        return None
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + (f":{port}" if port else "")


def provider_of(document: bytes, spec: OidcSpec, *, live: bool) -> Provider:
    """Return what a discovery document says.

    Raises:
        StrongroomError: `sso_unavailable`, saying to operators what does not fit.
    """
    found = _decoded(document, Metadata, "discovery document")
    if found.issuer != spec.issuer:
        raise errors.unavailable("the discovery document is of another issuer")
    allowed = {origin_of(url, live=live) for url in (spec.issuer, *spec.origins)}
    for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
        bare = url.partition("?")[0] if url == found.authorization_endpoint else url
        if origin_of(bare, live=live) not in allowed - {None}:
            raise errors.unavailable("an endpoint is at an origin that [oidc] does not name")
    if "code" not in found.response_types_supported:
        raise errors.unavailable("the provider does not offer the code flow")
    methods = found.code_challenge_methods_supported
    if methods is not None and "S256" not in methods:
        raise errors.unavailable("the provider does not offer PKCE with S256")
    offered = found.id_token_signing_alg_values_supported
    if offered and not set(offered) & set(spec.algorithms):
        raise errors.unavailable("the provider signs with no algorithm that [oidc] allows")
    return Provider(
        issuer=found.issuer,
        authorization_endpoint=found.authorization_endpoint,
        token_endpoint=found.token_endpoint,
        jwks_uri=found.jwks_uri,
        names_itself=found.authorization_response_iss_parameter_supported,
    )


def authorization_url(
    provider: Provider, spec: OidcSpec, attempt: Attempt, *, redirect_uri: str
) -> str:
    """Return where the browser goes."""
    query = {
        "response_type": "code",
        "client_id": spec.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(spec.scopes),
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": attempt.challenge,
        "code_challenge_method": "S256",
    }
    if spec.max_age_s is not None:
        query["max_age"] = str(spec.max_age_s)
    if spec.acr:
        query["acr_values"] = " ".join(spec.acr)
    joint = "&" if "?" in provider.authorization_endpoint else "?"
    return provider.authorization_endpoint + joint + urlencode(query)


def check_issuer(callback: Callback, provider: Provider) -> None:
    """Refuse an answer that names another issuer, or none where one is promised (RFC 9207).

    Raises:
        StrongroomError: `sso_refused`.
    """
    if callback.iss is None and not provider.names_itself:
        return
    if callback.iss != provider.issuer:
        raise errors.refused(Refusal.ISSUER)


class _Token(msgspec.Struct, frozen=True):
    token_type: str
    id_token: str


def id_token_of(document: bytes) -> str:
    """Return the ID token of a token endpoint's answer; its access token is not wanted.

    Raises:
        StrongroomError: `sso_unavailable`.
    """
    found = _decoded(document, _Token, "token answer")
    if found.token_type.lower() != "bearer":
        raise errors.unavailable("the token answer has another token type")
    return found.id_token


def claims_of(
    given: Mapping[str, Any], spec: OidcSpec, *, started_at: datetime, now: datetime
) -> Claims:
    """Return the claims of an ID token whose signature, `iss`, `exp` and `nonce` are checked.

    Raises:
        StrongroomError: `sso_refused`.
    """
    audience = given.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or spec.client_id not in audiences:
        raise errors.refused(Refusal.AUDIENCE)
    party = given.get("azp")
    if party != spec.client_id and (party is not None or len(audiences) != 1):
        raise errors.refused(Refusal.AUDIENCE, "azp is another client's")
    slack = timedelta(minutes=1)
    if _time(given, "iat") + slack < started_at:
        raise errors.refused(Refusal.STALE, "issued before the sign-in began")
    auth_time = _time(given, "auth_time") if "auth_time" in given else None
    if spec.max_age_s is not None:
        oldest = now - timedelta(seconds=spec.max_age_s) - slack
        if auth_time is None or auth_time < oldest:
            raise errors.refused(Refusal.STALE, "signed in too long ago, or not said when")
    if auth_time is not None and auth_time > now + slack:
        raise errors.refused(Refusal.STALE, "signed in in the future")
    subject = given.get("sub")
    if not isinstance(subject, str) or not 1 <= len(subject) <= 255 or not subject.isprintable():
        raise errors.refused(Refusal.TOKEN, "sub is no name")
    acr = given.get("acr")
    return Claims(
        iss=spec.issuer,
        sub=subject,
        acr=acr if isinstance(acr, str) else None,
        amr=_texts(given.get("amr")),
        groups=_texts(given.get(spec.groups_claim)),
        auth_time=auth_time,
    )


def role_of(claims: Claims, spec: OidcSpec) -> Role:
    """Return the role of somebody's groups, the strongest when there are more.

    Raises:
        StrongroomError: `sso_refused` when none of them is mapped.
    """
    found = {spec.roles[group] for group in claims.groups if group in spec.roles}
    if "operator-admin" in found:
        return "operator-admin"
    if "operator-read" in found:
        return "operator-read"
    raise errors.refused(Refusal.NO_ROLE)


def aal_of(claims: Claims, spec: OidcSpec) -> int:
    """Return how strongly somebody signed in at the provider, as the settings read it.

    Raises:
        StrongroomError: `sso_refused` below two factors.
    """
    said = [spec.amr[method] for method in claims.amr if method in spec.amr]
    if claims.acr is not None and claims.acr in spec.acr:
        said.append(spec.acr[claims.acr])
    aal = max(said, default=1)
    if aal < AAL_MIN:
        raise errors.refused(Refusal.ASSURANCE)
    return aal


def strict_json(document: bytes) -> dict[str, Any]:
    """Return a JSON object; repeated names and what is no object are refused with `ValueError`."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice")
        return found

    try:
        value = _loads(document, once)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _loads(document: bytes, pairs: Any) -> Any:
    """Decode UTF-8 JSON without NaN or Infinity."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    return json.loads(document.decode("utf-8"), object_pairs_hook=pairs, parse_constant=refuse)


def _decoded(document: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.convert(strict_json(document), kind, strict=True)
    except (ValueError, msgspec.ValidationError):
        raise errors.unavailable(f"the {what} is not one") from None


def _time(given: Mapping[str, Any], name: str) -> datetime:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**33:
        raise errors.refused(Refusal.TOKEN, f"{name} is no time")
    return datetime.fromtimestamp(value, UTC)


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    return ()

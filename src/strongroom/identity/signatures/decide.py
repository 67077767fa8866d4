"""Takes a signed request apart (RFC 9421), by one strict profile. Pure.

One signature, one spelling of it, Ed25519 only. Covered are `@method`, `@target-uri`, the body by
`content-digest` (RFC 9530, sha-256) and every header that changes what happens: `idempotency-key`
and all of `strongroom-…`. Whatever the profile does not name is refused, not ignored: a signature
that covers less than its reader believes is worse than none.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence

from strongroom.identity.arrivals import Arrival
from strongroom.identity.signatures.model import Flaw, Signed
from strongroom.kernel.edge_limits import (
    SIGNATURE_COMPONENTS_MAX,
    SIGNATURE_INPUT_MAX_CHARS,
    SIGNATURE_SKEW_S,
    SIGNATURE_WINDOW_MAX_S,
)

INPUT, SIGNATURE, DIGEST = b"signature-input", b"signature", b"content-digest"
_OWN = (INPUT, SIGNATURE, DIGEST)

_DERIVED = ("@method", "@target-uri")
_ALWAYS = frozenset(_DERIVED)
_MAY = frozenset({*_DERIVED, "content-digest", "content-type", "content-length", "idempotency-key"})
_CHANGES_MUCH = re.compile(r"idempotency-key|strongroom-[a-z-]{1,40}")
"""Headers that must be covered when they are sent."""

_LABEL = r"[a-z][a-z0-9_.*-]{0,31}"
_INPUT = re.compile(rf'({_LABEL})=(\(("[!#-~]+"(?: "[!#-~]+")*)\)((?:;[a-z]+=(?:\d+|"[^"]*"))+))')
_PARAMETER = re.compile(r';([a-z]+)=(?:(\d{1,15})|"([ !#-\[\]-~]*)")')
_PARAMETERS = frozenset({"created", "expires", "nonce", "keyid"})
_ALG = "ed25519"
_SIGNATURE = re.compile(rf"({_LABEL})=:([A-Za-z0-9+/]{{86}}==):")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_NONCE = re.compile(r"[A-Za-z0-9+/=_.-]{16,64}")
_KEY_ID = re.compile(r"sig_[0-7][0-9a-hjkmnp-tv-z]{25}")
_EMPTY = hashlib.sha256(b"").digest()
_TARGET = re.compile(r"https?://[!-~]+")


def claims(arrival: Arrival) -> bool:
    """Return whether a request is signed, well or badly."""
    return any(name in (INPUT, SIGNATURE) for name, _ in arrival.headers)


def taken_apart(arrival: Arrival) -> Signed | Flaw:
    """Return what was signed and how, or the first flaw; whether it is true is not asked yet."""
    headers = _headers(arrival.headers)
    if isinstance(headers, Flaw):
        return headers
    if not _TARGET.fullmatch(arrival.target):
        return Flaw.NO_PUBLIC_URL
    text = headers.get("signature-input", "")
    found = _INPUT.fullmatch(text) if len(text) <= SIGNATURE_INPUT_MAX_CHARS else None
    made = _SIGNATURE.fullmatch(headers.get("signature", ""))
    if found is None or made is None or made[1] != found[1]:
        return Flaw.MALFORMED
    signature = _decoded(made[2])
    parameters = _parameters(found[4])
    if signature is None:
        return Flaw.MALFORMED
    if isinstance(parameters, Flaw):
        return parameters
    covered = [part.strip('"') for part in found[3].split(" ")]
    flaw = _covers(covered, headers)
    if flaw is not None:
        return flaw
    digest = _digest(headers)
    if isinstance(digest, Flaw):
        return digest
    return Signed(
        key_id=parameters["keyid"],
        base=_base(covered, arrival, headers, found[2]),
        signature=signature,
        created=int(parameters["created"]),
        expires=int(parameters["expires"]),
        nonce=parameters["nonce"],
        content_digest=digest,
    )


def outside_its_time(signed: Signed, *, now_s: int) -> Flaw | None:
    """Return why a signature is not good at this time; clocks may differ by half a minute."""
    if not 0 < signed.expires - signed.created <= SIGNATURE_WINDOW_MAX_S:
        return Flaw.WINDOW
    if signed.created > now_s + SIGNATURE_SKEW_S:
        return Flaw.FUTURE
    return Flaw.EXPIRED if now_s >= signed.expires + SIGNATURE_SKEW_S else None


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str] | Flaw:
    """Return the headers that matter here, each once and in printable ASCII."""
    found: dict[str, str] = {}
    for name, value in raw:
        text = name.decode("latin-1")
        if name not in _OWN and text not in _MAY and not _CHANGES_MUCH.fullmatch(text):
            if text in ("authorization", "transfer-encoding"):
                found[text] = ""
            continue
        if text in found:
            return Flaw.DUPLICATE
        if not value.isascii() or not value.decode("ascii").isprintable():
            return Flaw.MALFORMED
        found[text] = value.decode("ascii").strip(" ")
    return found


def _parameters(text: str) -> dict[str, str] | Flaw:
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        part = _PARAMETER.match(text, at)
        if part is None or part[1] in found:
            return Flaw.MALFORMED
        if (part[2] is not None) != (part[1] in ("created", "expires")):
            return Flaw.MALFORMED
        found[part[1]] = part[2] if part[2] is not None else part[3]
        at = part.end()
    if found.pop("alg", _ALG) != _ALG:
        return Flaw.ALGORITHM
    if not set(found) <= _PARAMETERS:
        return Flaw.PARAMETER_UNKNOWN
    if set(found) != _PARAMETERS:
        return Flaw.PARAMETER_MISSING
    if any(found[name] != str(int(found[name])) for name in ("created", "expires")):
        return Flaw.MALFORMED
    if not _NONCE.fullmatch(found["nonce"]):
        return Flaw.NONCE
    return found if _KEY_ID.fullmatch(found["keyid"]) else Flaw.MALFORMED


def _covers(covered: Sequence[str], headers: Mapping[str, str]) -> Flaw | None:
    names = set(covered)
    if len(names) != len(covered) or len(covered) > SIGNATURE_COMPONENTS_MAX:
        return Flaw.MALFORMED
    if any(name not in _MAY and not _CHANGES_MUCH.fullmatch(name) for name in names):
        return Flaw.COMPONENT_UNKNOWN
    if any(name not in headers for name in names - _ALWAYS):
        return Flaw.COMPONENT_ABSENT
    needed = {name for name in headers if _CHANGES_MUCH.fullmatch(name)} | _ALWAYS
    if "content-digest" in headers or _has_body(headers):
        needed.add("content-digest")
    return None if needed <= names else Flaw.COMPONENT_MISSING


def _has_body(headers: Mapping[str, str]) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


def _digest(headers: Mapping[str, str]) -> bytes | Flaw:
    """Return the SHA-256 that the body must have; that of nothing when none was announced."""
    if "content-digest" not in headers:
        return _EMPTY
    found = _DIGEST.fullmatch(headers["content-digest"])
    digest = None if found is None else _decoded(found[1])
    return Flaw.DIGEST if digest is None else digest


def _decoded(text: str) -> bytes | None:
    """Return what base64 says, if it is written in the one way that the encoder would."""
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def _base(
    covered: Sequence[str], arrival: Arrival, headers: Mapping[str, str], parameters: str
) -> bytes:
    """Return the signature base (RFC 9421 section 2.5)."""
    values = {**headers, "@method": arrival.method, "@target-uri": arrival.target}
    lines = [f'"{name}": {values[name]}' for name in covered]
    return "\n".join([*lines, f'"@signature-params": {parameters}']).encode("ascii")

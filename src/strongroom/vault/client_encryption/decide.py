"""Pure decisions about encrypted cards: is the form the only one we take, are the claims in order.

Two forms (docs/client-encryption.md): a compact JWE, whose protected header holds the claims, and
`v1.<suite>.<kid>.<message>` for HPKE, whose plaintext holds them. All raise ValueError alike.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from typing import Any, NoReturn

import msgspec

from strongroom.kernel.limits import (
    ENCRYPTED_CARD_LIFE_S,
    ENCRYPTED_CARD_MAX_CHARS,
    ENCRYPTED_CARD_SKEW_S,
)
from strongroom.kernel.secret import Cvc, EncryptedCard, Pan, Secret
from strongroom.vault.model import CardInput

JWE_PARTS = 5
HPKE_PARTS = 4
HPKE_VERSION = "v1"
HPKE_SUITES = ("hpke-x25519", "hpke-xwing")

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*\Z")
_KID = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_JTI = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")
_HEADER = frozenset({"alg", "enc", "typ", "kid", "aud", "iat", "exp", "jti", "epk"})
_FIXED = {"alg": "ECDH-ES", "enc": "A256GCM", "typ": "card+jwe"}
_CURVES = {"jwe-p256": ("EC", "P-256", ("x", "y")), "jwe-x25519": ("OKP", "X25519", ("x",))}
_COORDINATE_BYTES = 32
_HEADER_CHARS_MAX = 1_024
_NONCE_BYTES, _TAG_BYTES = 12, 16

_CARD_NEEDS = frozenset({"number", "exp_month", "exp_year"})
_CARD_TEXTS = ("number", "cvc", "holder_name")
_CARD_MAY = _CARD_NEEDS | {"cvc", "holder_name"}
_SEALED = frozenset({"iat", "exp", "jti", "card"})


class Claims(msgspec.Struct, frozen=True):
    """When a message was made, until when it may be used, and its random name."""

    iat: int
    exp: int
    jti: str


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """An encrypted card in good form: nothing of it is authenticated yet.

    `claims` stand in a JWE's header; `message` is what the key opens.
    """

    suite: str
    kid: str
    message: bytes
    audience: str | None = None
    claims: Claims | None = None


def parse(encrypted: EncryptedCard) -> Envelope:
    """Return an encrypted card taken apart.

    Raises:
        ValueError: for every form but the two, in their only encoding.
    """
    text = encrypted.reveal()
    if not text.isascii() or len(text) > ENCRYPTED_CARD_MAX_CHARS:
        raise _bad()
    parts = text.split(".")
    if len(parts) == JWE_PARTS:
        return _jwe(text, parts)
    if len(parts) == HPKE_PARTS and parts[0] == HPKE_VERSION and parts[1] in HPKE_SUITES:
        if not _KID.match(parts[2]):
            raise _bad()
        return Envelope(suite=parts[1], kid=parts[2], message=unb64url(parts[3]))
    raise _bad()


def info(envelope: Envelope, audience: str) -> bytes:
    """Return what an HPKE message is bound to."""
    lines = ("strongroom encrypted card", HPKE_VERSION, envelope.suite, envelope.kid, audience)
    return "\n".join(lines).encode()


def read(envelope: Envelope, plaintext: bytes) -> tuple[Claims, dict[str, Any]]:
    """Return claims and card fields of an opened message.

    Raises:
        ValueError: when the plaintext is not exactly what it must be.
    """
    whole = strict_object(plaintext)
    if envelope.claims is not None:
        return envelope.claims, whole
    if whole.keys() != _SEALED or type(whole["card"]) is not dict:
        raise _bad()
    return _claims(whole), whole["card"]


def card(fields: dict[str, Any]) -> CardInput:
    """Return the card of an opened message.

    Raises:
        ValueError: for missing, unknown or mistyped fields.
        StrongroomError: `incorrect_number`, `invalid_cvc` when a field cannot be of any card.
    """
    if not _CARD_NEEDS <= fields.keys() <= _CARD_MAY or fields["number"] is None:
        raise _bad()
    texts = [fields[name] for name in _CARD_TEXTS if fields.get(name) is not None]
    numbers = [fields["exp_month"], fields["exp_year"]]
    if any(type(text) is not str for text in texts) or any(type(n) is not int for n in numbers):
        raise _bad()
    for text in texts:
        text.encode()  # lone surrogates are no text: UnicodeEncodeError is a ValueError
    cvc, holder = fields.get("cvc"), fields.get("holder_name")
    return CardInput(
        number=Pan(fields["number"]),
        exp_month=fields["exp_month"],
        exp_year=fields["exp_year"],
        cvc=None if cvc is None else Cvc(cvc),
        holder_name=None if holder is None else Secret(holder),
    )


def in_time(claims: Claims, now: datetime) -> bool:
    """Return whether a message may be used now."""
    at = now.timestamp()
    return claims.iat <= at + ENCRYPTED_CARD_SKEW_S and at < claims.exp


def strict_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`: UTF-8, no name twice, no fractions, nothing nested deep.

    Raises:
        ValueError: for anything else.
    """
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except RecursionError:
        raise _bad() from None
    if type(value) is not dict:
        raise _bad()
    return value


def unb64url(text: str) -> bytes:
    """Return the bytes of unpadded base64url in its only encoding.

    Raises:
        ValueError: for other characters, padding, or bits that are set and mean nothing.
    """
    if not _BASE64URL.match(text) or len(text) % 4 == 1:
        raise _bad()
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise _bad()
    return data


def _jwe(text: str, parts: list[str]) -> Envelope:
    head, key, nonce, ciphertext, tag = parts
    if len(head) > _HEADER_CHARS_MAX or key:
        raise _bad()
    if len(unb64url(nonce)) != _NONCE_BYTES or len(unb64url(tag)) != _TAG_BYTES:
        raise _bad()
    unb64url(ciphertext)
    header = strict_object(unb64url(head))
    if header.keys() != _HEADER or any(header[name] != value for name, value in _FIXED.items()):
        raise _bad()
    kid, audience = header["kid"], header["aud"]
    if type(kid) is not str or not _KID.match(kid) or type(audience) is not str:
        raise _bad()
    return Envelope(
        suite=_suite_of(header["epk"]),
        kid=kid,
        message=text.encode(),
        audience=audience,
        claims=_claims(header),
    )


def _suite_of(epk: object) -> str:
    """Return the suite whose form an ephemeral public key has; the key itself is checked later."""
    for suite, (kind, curve, coordinates) in _CURVES.items():
        if type(epk) is not dict or epk.keys() != {"kty", "crv", *coordinates}:
            continue
        if (epk["kty"], epk["crv"]) != (kind, curve):
            continue
        values = [epk[name] for name in coordinates]
        if all(type(v) is str and len(unb64url(v)) == _COORDINATE_BYTES for v in values):
            return suite
    raise _bad()


def _claims(found: dict[str, Any]) -> Claims:
    iat, exp, jti = found["iat"], found["exp"], found["jti"]
    if type(iat) is not int or type(exp) is not int or type(jti) is not str:
        raise _bad()
    if not 0 < exp - iat <= ENCRYPTED_CARD_LIFE_S or not 0 < iat < 2**40 or not _JTI.match(jti):
        raise _bad()
    return Claims(iat, exp, jti)


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _bad()
    return found


def _refuse(_: str) -> NoReturn:
    raise _bad()


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs, parse_float=_refuse, parse_constant=_refuse)


def _bad() -> ValueError:
    return ValueError("not an encrypted card")

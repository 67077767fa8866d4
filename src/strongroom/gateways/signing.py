"""The two places where a connector touches a secret: the bearer header and webhook signatures.

Signatures are `t=<unix>,v1=<hex HMAC-SHA256(secret, t + "." + raw body)>`, as Stripe and our
sandbox make them. Everything not understood is refused with one and the same error.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import MAX_WEBHOOK_BODY_BYTES
from strongroom.kernel.secret import Secret

TOLERANCE_S = 300
"""How far a signature's time may be from ours, in both directions (Stripe's default)."""

_MAX_HEADER_CHARS = 4_096
_MAX_SIGNATURES = 8
"""Gateways send one signature per active secret; more would only buy hashing time."""
_MAX_TIME_DIGITS = 12


def bearer(secret: Secret[str]) -> Secret[str]:
    """Return the Authorization header value for an API secret."""
    return Secret("Bearer " + secret.reveal())


def begins_with(secret: Secret[str], prefixes: tuple[str, ...]) -> bool:
    """Return whether the secret starts with one of the (public) prefixes."""
    return secret.reveal().startswith(prefixes)


def is_header_safe(secret: Secret[str]) -> bool:
    """Return whether the secret is non-empty visible ASCII, so that it can stand in a header."""
    text = secret.reveal()
    return bool(text) and text.isascii() and all(" " < char <= "~" for char in text)


def verify(
    headers: Mapping[str, str],
    raw_body: bytes,
    *,
    header: str,
    now: datetime,
    secrets: Sequence[Secret[str]],
) -> None:
    """Check that one of `secrets` signed the body within the last five minutes.

    Raises:
        StrongroomError: `webhook_signature_invalid`, whatever is wrong.
    """
    if len(raw_body) > MAX_WEBHOOK_BODY_BYTES:
        raise _invalid("body too large")
    if not secrets or not all(secrets):
        raise _invalid("no secret configured, or an empty one")
    time_text, signatures = _read_header(_one_header(headers, header))
    if abs(int(now.timestamp()) - int(time_text)) > TOLERANCE_S:
        raise _invalid("outside the time tolerance")
    message = time_text.encode("ascii") + b"." + raw_body
    matched = False
    for secret in secrets:
        expected = hmac.new(secret.reveal().encode(), message, hashlib.sha256).hexdigest()
        for signature in signatures:
            matched |= hmac.compare_digest(
                expected.encode("ascii"), signature.encode("ascii", "replace")
            )
    if not matched:
        raise _invalid("no signature matches")


def _one_header(headers: Mapping[str, str], name: str) -> str:
    values = [value for key, value in headers.items() if key.lower() == name]
    if len(values) != 1 or len(values[0]) > _MAX_HEADER_CHARS:
        raise _invalid("signature header missing, repeated or too long")
    return values[0]


def _read_header(value: str) -> tuple[str, list[str]]:
    times, signatures = [], []
    for item in value.split(","):
        name, _, text = item.strip().partition("=")
        if name == "t":
            times.append(text)
        elif name == "v1":
            signatures.append(text)
    if len(times) != 1 or not 1 <= len(signatures) <= _MAX_SIGNATURES:
        raise _invalid("signature header incomplete")
    time_text = times[0]
    if not (time_text.isascii() and time_text.isdigit() and len(time_text) <= _MAX_TIME_DIGITS):
        raise _invalid("signature time not a number")
    return time_text, signatures


def _invalid(detail: str) -> StrongroomError:
    return StrongroomError(
        "webhook_signature_invalid", "The webhook signature is not valid.", detail=detail
    )

"""What both connectors need to read answers and to refuse what they cannot build. No I/O.

An answer is believed only when it is of the declared types and echoes what was asked; everything
else is `UNKNOWN`, because an approval nobody can prove is worse than a question asked twice.
"""

from __future__ import annotations

import re
from json import JSONDecoder
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import msgspec

from strongroom.gateways.declines import decline_for
from strongroom.gateways.model import Decline, Operation, Outcome, Result, Risk
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import uuid_of
from strongroom.kernel.limits import MAX_GATEWAY_ANSWER_BYTES
from strongroom.vault import GatewayAnswer

T = TypeVar("T")

GatewayId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_]{1,128}\Z")]
"""An id of the gateway's: safe in a URL path, a query and a log."""
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""An amount or a time: never negative, safe in every JSON reader."""
Code = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{0,500}\Z")]
Url = Annotated[str, msgspec.Meta(max_length=4_096)]
"""Bounded here; `redirect_or_none` says whether a browser may be sent there."""

_SAFE_ID = re.compile(r"\A[A-Za-z0-9_]{1,128}\Z")
_SAFE_CODE = re.compile(r"\A[A-Za-z0-9_.:-]{1,64}\Z")
_NETWORK_ID = re.compile(r"\A[A-Za-z0-9_-]{1,64}\Z")
_MAX_URL_CHARS = 2_048
RETRY_AFTER_MAX_S = 3_600
_RISKS: dict[str | None, Risk] = {
    "normal": "normal",
    "elevated": "elevated",
    "highest": "highest",
}


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T | None:
    """Return the typed answer, or None for anything that is not exactly of that shape."""
    if len(body) > MAX_GATEWAY_ANSWER_BYTES:
        return None
    try:
        read = decoder.decode(body)
        _UNIQUE.decode(body.decode())
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return read


def _unique(pairs: list[tuple[str, Any]]) -> None:
    """Refuse an object that says one thing twice: two readers would take different ones."""
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands twice")


_UNIQUE = JSONDecoder(object_pairs_hook=_unique)


def raw(code: str | None) -> str:
    """Return a code of the gateway's as it may be stored: short and of a plain alphabet."""
    if code is None or not _SAFE_CODE.match(code):
        return "unprintable" if code else "none"
    return code


def network_code(code: str | None) -> str | None:
    """Return a card network's code or id when it is short and plain."""
    return code if code is not None and _NETWORK_ID.match(code) else None


def risk_of(level: str | None) -> Risk | None:
    """Return the gateway's risk level if it is one of the three we know."""
    return _RISKS.get(level)


def unknown(reason: str, *, retry_after_s: int | None = None) -> Outcome:
    """Return the outcome that only an inquiry can clear up."""
    return Outcome(result=Result.UNKNOWN, raw_code=reason, retry_after_s=retry_after_s)


def rejected(code: str, raw_code: str, *, gateway_reference: str | None = None) -> Outcome:
    """Return the outcome of an operation that the gateway refused for good."""
    return Outcome(
        result=Result.REJECTED,
        raw_code=raw_code,
        decline=decline_for(code),
        gateway_reference=gateway_reference,
    )


def transport_outcome(answer: GatewayAnswer, *, in_flight: str) -> Outcome | None:
    """Return the outcome that the HTTP status alone decides, or None when the body must tell.

    A 409 means a first copy of this request is still being processed: pending, not unprocessed.
    """
    wait = bounded_wait(answer.retry_after_s)
    if answer.status == 409:
        return Outcome(result=Result.PENDING, raw_code=in_flight, retry_after_s=wait or 1)
    if answer.status in (425, 429):
        return Outcome(result=Result.RETRY, raw_code="rate_limited", retry_after_s=wait or 1)
    if answer.status in (401, 403):
        return Outcome(result=Result.RETRY, raw_code="unauthorized", retry_after_s=wait or 60)
    if answer.status not in (200, 400, 402, 404, 422):
        return unknown(f"http_{answer.status:d}"[:64], retry_after_s=wait)
    return None


def inquiry_outcome(outcome: Outcome) -> Outcome:
    """Turn an outcome of the inquiry's own call into what it says of the operation: nothing."""
    if outcome.result in (Result.RETRY, Result.PENDING) and outcome.gateway_reference is None:
        return unknown(outcome.raw_code, retry_after_s=outcome.retry_after_s)
    return outcome


def bounded_wait(seconds: int | None) -> int | None:
    """Return a Retry-After that is sane, else None."""
    if seconds is None or seconds < 0:
        return None
    return min(seconds, RETRY_AFTER_MAX_S)


def redirect_or_none(url: str | None, *, plain_http: bool) -> str | None:
    """Return the URL if a browser may be sent there: absolute, http(s), no credentials."""
    if url is None or len(url) > _MAX_URL_CHARS or not url.isascii():
        return None
    if any(char <= " " or char in '"<>\\^`{|}\x7f' for char in url):
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    schemes = ("https", "http") if plain_http else ("https",)
    if parts.scheme not in schemes or not parts.hostname or "@" in parts.netloc:
        return None
    return url


def idempotency_key(op: Operation) -> str:
    """Return the gateway key of an operation: derived from its id and kind and nothing else.

    Raises:
        StrongroomError: `invalid_id`.
    """
    uuid_of(op.id, "op")
    return f"{op.id}-{op.kind.value}"


def payment_at_gateway(op: Operation) -> str:
    """Return `op.gateway_reference`, safe to stand in a URL.

    Raises:
        StrongroomError: `gateway_reference_invalid`.
    """
    return safe_id(op.gateway_reference)


def safe_id(text: str | None) -> str:
    """Return an id or cursor of the gateway's after checking that it can stand in a URL.

    Raises:
        StrongroomError: `gateway_reference_invalid`.
    """
    if text is None or not _SAFE_ID.match(text):
        raise StrongroomError(
            "gateway_reference_invalid", "The payment has no usable reference at its gateway."
        )
    return text


def canceled_decline() -> Decline:
    """Return the decline of an authorization that was voided before it was completed."""
    return decline_for("authorization_voided")


def operation_id_or_none(text: str | None) -> str | None:
    """Return the text if it is an operation id of ours."""
    try:
        uuid_of(text or "", "op")
    except StrongroomError:
        return None
    return text


def malformed(detail: str) -> StrongroomError:
    """Return the error for a webhook that is signed but not understood."""
    return StrongroomError("webhook_malformed", "The webhook is not understood.", detail=detail)

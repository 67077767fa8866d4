"""From a raw request to a checked `Call`, in the order refusals must come.

Who asks (401), whether they may (403), for whom (400), which version, then the body: size, media
type, JSON, fields, and last the idempotency key. Nothing of a body is read for a stranger.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from strongroom.access import Value
from strongroom.api import errors, forms, headers, problems, strict
from strongroom.api.endpoint import Call, Endpoint, Limited, Owner, check_params
from strongroom.api.headers import RequestHeaders
from strongroom.identity import Arrival
from strongroom.kernel import canonical
from strongroom.kernel.errors import StrongroomError
from strongroom.payments import Idempotency
from strongroom.vault import PURPOSES

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_QUERY_BYTES_MAX = 2048
_EMPTY: dict[str, Any] = {}
_ANY = tuple({"purpose": purpose} for purpose in PURPOSES)
_APPROVED: dict[str, Value] = {"approvals": 2}
"""What the edge asks of a route that may need approval: whether any number of them would do."""


class ClientGone(Exception):
    """The caller hung up before its request was complete; nobody waits for an answer."""


async def admit(call: Call, endpoint: Endpoint, arrival: Arrival) -> None:
    """Find out who asks and whether they may.

    Raises:
        StrongroomError: `unauthenticated`, `permission_denied`, `merchant_required`, …
    """
    services = call.services
    call.action = endpoint.action
    source = call.source = arrival.source
    limiter = services.limiter
    call.arrival = arrival
    if endpoint.public:
        if endpoint.limited is not Limited.NOT:
            call.limit = await limiter.admit(None, endpoint, source)
            call.inside = limiter.enter(None, source)
        check_params(call.params)
        return
    limiter.check_address(source)
    try:
        authenticated = await services.callers.authenticate(arrival)
    except StrongroomError as error:
        if problems.status_of(error.code) < 500:  # else it cannot be known: no fault of the caller
            await limiter.refused(source)
        raise
    principal = call.principal = await services.break_glass.marked(authenticated.principal)
    call.content_digest = authenticated.content_digest
    call.limit = await limiter.admit(principal, endpoint, source)
    call.inside = limiter.enter(principal, source)
    merchant = None if endpoint.owner is Owner.INSTALLATION else principal.merchant
    if merchant is None and endpoint.owner is Owner.MERCHANT:
        raise errors.merchant_required()
    services.authorizer.check_any(
        principal,
        action=endpoint.action,
        merchant=merchant,
        contexts=_contexts_of(endpoint.purposeful, endpoint.approvable),
        source=source,
    )
    if principal.break_glass:
        await services.break_glass.acts(
            principal, action=endpoint.action, merchant=merchant, request=call.request
        )
    call.owner = merchant
    check_params(call.params)


async def take(
    call: Call, endpoint: Endpoint, found: RequestHeaders, scope: Scope, receive: Receive
) -> None:
    """Read query, body and idempotency key of an admitted call.

    Raises:
        StrongroomError: what is wrong with them.
        ClientGone: the caller hung up.
    """
    headers.check_version(found.version)
    call.approval = found.approval
    call.query = _query(scope.get("query_string", b""), endpoint)
    if endpoint.raw:
        call.raw = await _body(receive, found, endpoint.body_bytes_max)
        _check_digest(call, call.raw)
        call.headers = _text_headers(scope["headers"])
        return
    if endpoint.form is not None:
        forms.check_form(found.content_type)
        call.body = forms.decode(
            await _body(receive, found, endpoint.body_bytes_max), endpoint.form
        )
        return
    if endpoint.request is None:
        if found.has_body:
            raise errors.body_not_allowed()
        _check_digest(call, b"")
        return
    key = headers.idempotency_key(found.idempotency_key) if endpoint.keyed else ""
    if found.has_body:
        headers.check_json(found.content_type)
    raw = await _body(receive, found, endpoint.body_bytes_max)
    _check_digest(call, raw)
    document = strict.decode(raw) if raw else _EMPTY
    call.body = strict.convert(document, endpoint.request)
    if endpoint.keyed:
        call.idempotency = _idempotency(call, endpoint, scope, document, key)


@cache
def _contexts_of(purposeful: bool, approvable: bool) -> tuple[Mapping[str, Value], ...]:
    plain: tuple[Mapping[str, Value], ...] = _ANY if purposeful else ({},)
    return tuple({**given, **_APPROVED} for given in plain) if approvable else plain


def _check_digest(call: Call, raw: bytes) -> None:
    """Refuse a body that is not the one its sender signed for (RFC 9530)."""
    wanted = call.content_digest
    if wanted is not None and not hmac.compare_digest(hashlib.sha256(raw).digest(), wanted):
        raise errors.content_digest()


def _idempotency(
    call: Call, endpoint: Endpoint, scope: Scope, document: dict[str, Any], key: str
) -> Idempotency:
    shown = document if endpoint.redact is None else endpoint.redact(document)
    payload = headers.VERSIONS[0].encode() + b"\n" + canonical.dumps(shown)
    mode = "" if call.principal is None else call.principal.mode
    return Idempotency(key, f"{mode} {endpoint.method} {scope['path']}", payload)


async def _body(receive: Receive, found: RequestHeaders, limit: int) -> bytes:
    if found.content_length is not None and not _within(found.content_length, limit):
        raise errors.body_too_large(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        whole: bytes = message.get("body", b"")
        if len(whole) > limit:
            raise errors.body_too_large(limit)
        return whole
    parts = bytearray()
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        parts += message.get("body", b"")
        if len(parts) > limit:
            raise errors.body_too_large(limit)
        if not message.get("more_body"):
            return bytes(parts)
        message = await receive()


def _within(content_length: str, limit: int) -> bool:
    digits = content_length.isascii() and content_length.isdigit() and len(content_length) < 12
    return digits and int(content_length) <= limit


def _query(raw: bytes, endpoint: Endpoint) -> Any:
    """Return the typed query; unknown, repeated and unprintable parameters are refused."""
    if not raw or endpoint.lenient_query:
        return endpoint.query()
    values: dict[str, Any] = {}
    for name, value in _pairs(raw):
        if name in values:
            raise errors.invalid("query", "Every parameter may be sent once.")
        strict.check_printable(name, param="query")
        strict.check_printable(value, param="query")
        values[name] = value
    for field in msgspec.structs.fields(endpoint.query):
        text = values.get(field.name)
        if field.name == "limit" and text is not None and text.isascii() and text.isdigit():
            values[field.name] = int(text[:9])
    return strict.convert(values, endpoint.query)


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    if len(raw) <= _QUERY_BYTES_MAX:
        try:
            return parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
            )
        except ValueError:
            pass
    raise StrongroomError("invalid_parameter", "The query of the URL is malformed.", param="query")


def _text_headers(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in raw:
        text = name.decode("latin-1")
        if text in found and "signature" in text:
            raise errors.duplicate_header(text)
        found[text] = value.decode("latin-1")
    return found

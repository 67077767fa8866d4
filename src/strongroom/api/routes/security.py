"""Reports of leaked API keys: taken from partners, callers and whoever holds the key itself.

Every report that can be read gets the same answer, whatever became of the keys in it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Literal

import msgspec

from strongroom.access import PUBLIC
from strongroom.api import errors, strict
from strongroom.api.endpoint import Call, Endpoint, Reply
from strongroom.api.render import encode
from strongroom.api.wire import Wire, data
from strongroom.identity.api_keys import Sender
from strongroom.kernel.edge_limits import (
    LEAK_REPORT_MAX_BYTES,
    LEAK_TOKENS_MAX,
    LEAK_TOKENS_OF_STRANGERS_MAX,
)

_TOKEN_MAX = 1_000
_PROOFS = ("authorization", "signature-input")


class LeakedToken(msgspec.Struct, frozen=True):
    """One finding; what partners say besides the token is not kept, and may change."""

    token: Annotated[str, msgspec.Meta(max_length=_TOKEN_MAX)]

    def __repr__(self) -> str:
        return "LeakedToken(…)"


class LeakReportAnswer(Wire, frozen=True, kw_only=True):
    """The answer to every report that could be read."""

    object: Annotated[Literal["leak_report"], data("public")] = "leak_report"
    received: Annotated[bool, data("public")] = True


_RECEIVED = encode(LeakReportAnswer())


async def report_leaked_keys(call: Call) -> Reply:
    """Take a report of leaked keys and end those that are ours."""
    leaks = call.services.leaks
    source = "" if call.arrival is None else call.arrival.source
    sender = leaks.partner(call.headers, call.raw, source=source) or await _caller(call)
    tokens = _tokens(call.raw, LEAK_TOKENS_MAX if sender.trusted else LEAK_TOKENS_OF_STRANGERS_MAX)
    await leaks.take(tokens, sender, source=source)
    return Reply(200, _RECEIVED)


async def _caller(call: Call) -> Sender:
    """Return who reports by a credential of its own, or a stranger who brings none."""
    if call.arrival is None or not any(name in call.headers for name in _PROOFS):
        return Sender(actor="anonymous", trusted=False)
    found = await call.services.callers.authenticate(call.arrival)
    wanted = found.content_digest
    if wanted is not None and not hmac.compare_digest(hashlib.sha256(call.raw).digest(), wanted):
        raise errors.content_digest()
    return Sender(actor=found.principal.id, trusted=True)


def _tokens(raw: bytes, at_most: int) -> list[str]:
    found = strict.convert(strict.decode(raw), list[LeakedToken])
    if len(found) > at_most:
        raise errors.too_many_tokens(at_most)
    return [one.token for one in found]


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/security/leaked-keys",
        action=PUBLIC,
        summary="Report leaked API keys; those of ours end at once",
        handler=report_leaked_keys,
        answers={200: LeakReportAnswer},
        errors=(
            "leak_report_unsigned",
            "unauthenticated",
            "content_digest_mismatch",
            "invalid_json",
            "invalid_parameter",
            "missing_parameter",
            "batch_too_large",
        ),
        raw=True,
        body_bytes_max=LEAK_REPORT_MAX_BYTES,
    ),
)

"""Reveal: card numbers in clear, for callers that policies name and purposes that they list."""

from __future__ import annotations

from strongroom.api import problems
from strongroom.api.approving import APPROVAL_ERRORS, judge
from strongroom.api.endpoint import Call, Endpoint, Reply
from strongroom.api.model import ListAnswer
from strongroom.api.render import encode
from strongroom.api.token_model import (
    REVEAL_BODY_BYTES_MAX,
    RevealBatchBody,
    RevealBody,
    RevealedAnswer,
)
from strongroom.kernel.errors import StrongroomError
from strongroom.vault import Revealed

_ERRORS = ("purpose_required", "reveal_limit", *APPROVAL_ERRORS)


async def reveal_token(call: Call) -> Reply:
    """Show the card number of one token."""
    body: RevealBody = call.body
    token = call.params["token_id"]
    assert call.principal is not None  # noqa: S101 (no route with an action lets a stranger in)
    try:
        number = await call.services.vault.reveal(
            call.merchant,
            token,
            principal=call.principal,
            purpose=body.purpose,
            authorize=judge(call, resource=token, parameters={"purpose": body.purpose}),
            request_id=call.request,
        )
    except StrongroomError as error:
        if error.param == "token":
            error.param = None
        raise
    return Reply(200, encode(_shown(Revealed(token=token, number=number))))


async def reveal_tokens(call: Call) -> Reply:
    """Show the card numbers of up to a thousand tokens, in the order they were asked for."""
    body: RevealBatchBody = call.body
    assert call.principal is not None  # noqa: S101 (no route with an action lets a stranger in)
    found = await call.services.vault.reveal_batch(
        call.merchant,
        body.tokens,
        principal=call.principal,
        purpose=body.purpose,
        authorize=judge(
            call,
            resource="tokens",
            parameters={"purpose": body.purpose, "tokens": list(body.tokens)},
        ),
        request_id=call.request,
    )
    answer = ListAnswer(data=list(map(_shown, found)), has_more=False, url="/v1/tokens/reveal")
    return Reply(200, encode(answer))


def _shown(result: Revealed) -> RevealedAnswer:
    """Return the wire form of a result: the last step, and the only one that opens the number."""
    if result.number is not None:
        return RevealedAnswer(token=result.token, number=result.number.reveal())
    code = result.problem or "internal_error"
    known = code if code in problems.PROBLEMS else "internal_error"
    return RevealedAnswer(token=result.token, code=known)


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/tokens/{token_id}/reveal",
        action="token:reveal",
        summary="Show a card number",
        handler=reveal_token,
        request=RevealBody,
        answers={200: RevealedAnswer},
        errors=(*_ERRORS, "token_not_found", "token_expired"),
        purposeful=True,
        approvable=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/tokens/reveal",
        action="token:reveal_batch",
        summary="Show up to a thousand card numbers",
        handler=reveal_tokens,
        request=RevealBatchBody,
        answers={200: ListAnswer[RevealedAnswer]},
        errors=(*_ERRORS, "token_not_found", "batch_too_large"),
        body_bytes_max=REVEAL_BODY_BYTES_MAX,
        purposeful=True,
        approvable=True,
    ),
)

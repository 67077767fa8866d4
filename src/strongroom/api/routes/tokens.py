"""Tokens: a card goes in, what may be shown of it comes out."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from strongroom.api import errors
from strongroom.api.endpoint import Call, Endpoint, Reply
from strongroom.api.model import (
    BATCH_BODY_BYTES_MAX,
    CardBody,
    ListAnswer,
    TokenAnswer,
    TokenBatchBody,
    TokenBody,
)
from strongroom.api.render import encode, token_view
from strongroom.api.token_model import ResolveBody
from strongroom.kernel.errors import StrongroomError
from strongroom.vault import CardInput, TokenKind

T = TypeVar("T")

CARD_ERRORS = (
    "incorrect_number",
    "invalid_number_length",
    "invalid_cvc",
    "invalid_expiry_month",
    "invalid_expiry_year",
    "invalid_holder_name",
    "invalid_data_subject",
    "expired_card",
    "data_subject_busy",
    "test_card_in_live_mode",
    "live_card_in_test_mode",
)


ENCRYPTED_CARD_ERRORS = (
    "encrypted_card_invalid",
    "encrypted_card_expired",
    "encrypted_card_replayed",
)


async def create_token(call: Call) -> Reply:
    """Put a card into the vault."""
    body: TokenBody = call.body
    vault = call.services.vault
    if body.card is not None and body.encrypted_card is None:
        token = await vault.tokenize(
            call.merchant,
            card_input(body.card),
            saved=body.save,
            actor=call.actor,
            request_id=call.request,
            kind=kind_of(body),
        )
    elif body.encrypted_card is not None and body.card is None:
        made = await vault.tokenize_encrypted(
            call.merchant,
            body.encrypted_card,
            saved=body.save,
            actor=call.actor,
            request_id=call.request,
            kind=kind_of(body),
        )
        token = made.view
    else:
        raise errors.exactly_one("card", "encrypted_card", given=body.card is not None)
    return Reply(201, encode(token_view(token, live=call.live)))


async def create_tokens(call: Call) -> Reply:
    """Put up to a thousand cards into the vault, all or none."""
    body: TokenBatchBody = call.body
    vault = call.services.vault
    if body.cards is not None and body.encrypted_cards is None:
        tokens = await vault.tokenize_batch(
            call.merchant,
            [card_input(card) for card in body.cards],
            saved=body.save,
            actor=call.actor,
            request_id=call.request,
            kind=kind_of(body),
        )
    elif body.encrypted_cards is not None and body.cards is None:
        tokens = await vault.tokenize_encrypted_batch(
            call.merchant,
            body.encrypted_cards,
            saved=body.save,
            actor=call.actor,
            request_id=call.request,
            kind=kind_of(body),
        )
    else:
        raise errors.exactly_one("cards", "encrypted_cards", given=body.cards is not None)
    views = [token_view(token, live=call.live) for token in tokens]
    return Reply(201, encode(ListAnswer(data=views, has_more=False, url="/v1/tokens/batch")))


async def read_token(call: Call) -> Reply:
    """Show what may be shown of a token's card."""
    token = await _on_path(call.services.vault.describe(call.merchant, call.params["token_id"]))
    return Reply(200, encode(token_view(token, live=call.live)))


async def delete_token(call: Call) -> Reply:
    """Erase a card from the vault."""
    await _on_path(
        call.services.vault.delete(
            call.merchant, call.params["token_id"], actor=call.actor, request_id=call.request
        )
    )
    return Reply(204, b"", b"")


async def _on_path(work: Awaitable[T]) -> T:
    """Wait for work on a token that the path names: no field of the request is to blame."""
    try:
        return await work
    except StrongroomError as error:
        error.param = None
        raise


async def resolve_token(call: Call) -> Reply:
    """Show the token that an alias of digits stands for."""
    body: ResolveBody = call.body
    token = await _on_path(call.services.vault.resolve(call.merchant, body.alias))
    return Reply(200, encode(token_view(token, live=call.live)))


def kind_of(body: TokenBody | TokenBatchBody) -> TokenKind:
    """Return what sort of token a body asks for."""
    return TokenKind(
        single_use=body.single_use,
        expires_in_s=body.expires_in,
        digits=body.format == "digits",
        keep_last4=body.keep_last4,
    )


def card_input(card: CardBody) -> CardInput:
    """Return a card as the vault takes it."""
    return CardInput(
        number=card.number,
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        cvc=card.cvc,
        holder_name=card.holder_name,
        data_subject=card.data_subject,
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/tokens",
        action="token:create",
        summary="Put a card into the vault",
        handler=create_token,
        request=TokenBody,
        answers={201: TokenAnswer},
        errors=(*CARD_ERRORS, *ENCRYPTED_CARD_ERRORS, "conflicting_parameters"),
        browser=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/tokens/batch",
        action="token:create",
        summary="Put up to a thousand cards into the vault, all or none",
        handler=create_tokens,
        request=TokenBatchBody,
        answers={201: ListAnswer[TokenAnswer]},
        errors=(
            *CARD_ERRORS,
            *ENCRYPTED_CARD_ERRORS,
            "conflicting_parameters",
            "batch_too_large",
        ),
        body_bytes_max=BATCH_BODY_BYTES_MAX,
    ),
    Endpoint(
        method="POST",
        path="/v1/tokens/resolve",
        action="token:read",
        summary="Show the token of an alias",
        handler=resolve_token,
        request=ResolveBody,
        answers={200: TokenAnswer},
        errors=("token_not_found", "token_expired"),
    ),
    Endpoint(
        method="GET",
        path="/v1/tokens/{token_id}",
        action="token:read",
        summary="Show a token",
        handler=read_token,
        answers={200: TokenAnswer},
        errors=("token_not_found", "token_expired"),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/tokens/{token_id}",
        action="token:delete",
        summary="Erase a card from the vault",
        handler=delete_token,
        answers={204: None},
        errors=("token_not_found", "token_contended"),
    ),
)

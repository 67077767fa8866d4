"""Payments: take, show, list, capture, cancel, review. The rules are in the room `payments`."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from strongroom.api import errors
from strongroom.api.endpoint import Call, Endpoint, Reply
from strongroom.api.headers import JSON, PROBLEM
from strongroom.api.model import (
    CancelBody,
    CaptureBody,
    ListAnswer,
    PaymentAnswer,
    PaymentBody,
    PaymentMethodBody,
    PaymentQuery,
    ProblemAnswer,
    ReviewBody,
)
from strongroom.api.render import encode, payment_view
from strongroom.api.routes.tokens import CARD_ERRORS, ENCRYPTED_CARD_ERRORS, card_input
from strongroom.api.strict import check_no_card_number
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import PAGE_LIMIT_DEFAULT
from strongroom.kernel.money import Money, exponent
from strongroom.kernel.secret import EncryptedCard
from strongroom.payments import (
    Answer,
    CaptureMethod,
    CreatePayment,
    EncryptedSource,
    Status,
    TokenSource,
)
from strongroom.vault import CardInput

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_REPLAYED = ((b"idempotency-replayed", b"true"),)
KEY_ERRORS = (
    "idempotency_key_missing",
    "idempotency_key_invalid",
    "idempotency_key_in_use",
    "idempotency_key_reused",
)
_MOVE_ERRORS = (
    *KEY_ERRORS,
    "payment_not_found",
    "operation_in_progress",
    "gateway_unavailable",
)


async def create_payment(call: Call) -> Reply:
    """Take a payment."""
    command = _command(call.body, live=call.live)
    try:
        made = await call.services.payments.create(
            call.merchant, command, caller=call.caller, idempotency=call.idempotency
        )
    except StrongroomError as error:
        if error.param is not None and error.param.startswith(("card.", "token", "encrypted_card")):
            error.param = f"payment_method.{error.param}"
        raise
    return answered(made)


async def read_payment(call: Call) -> Reply:
    """Show a payment."""
    payment = await call.services.payments.get(call.merchant, call.params["payment_id"])
    return Reply(200, encode(payment_view(payment, live=call.live)))


async def list_payments(call: Call) -> Reply:
    """Show payments, newest first."""
    query: PaymentQuery = call.query
    if query.starting_after is not None and query.ending_before is not None:
        raise errors.conflicting("starting_after", "ending_before")
    page = await call.services.payments.list(
        call.merchant,
        limit=query.limit or PAGE_LIMIT_DEFAULT,
        starting_after=query.starting_after,
        ending_before=query.ending_before,
        status=None if query.status is None else Status(query.status),
        reference=query.reference,
        within=call.visible("state", "amount", "currency"),
    )
    views = [payment_view(payment, live=call.live) for payment in page.data]
    return Reply(200, encode(ListAnswer(data=views, has_more=page.has_more, url="/v1/payments")))


async def capture_payment(call: Call) -> Reply:
    """Capture part or all of what is authorized."""
    return answered(
        await call.services.payments.capture(
            call.merchant,
            call.params["payment_id"],
            amount_minor=call.body.amount,
            caller=call.caller,
            idempotency=call.idempotency,
        )
    )


async def cancel_payment(call: Call) -> Reply:
    """Release what is authorized and not captured."""
    return answered(
        await call.services.payments.cancel(
            call.merchant,
            call.params["payment_id"],
            caller=call.caller,
            idempotency=call.idempotency,
        )
    )


async def review_payment(call: Call) -> Reply:
    """End the review of a held payment."""
    return answered(
        await call.services.payments.review(
            call.merchant,
            call.params["payment_id"],
            approve=call.body.decision == "approve",
            caller=call.caller,
            idempotency=call.idempotency,
        )
    )


def answered(answer: Answer) -> Reply:
    """Return a stored answer as it is to be sent."""
    media = PROBLEM if answer.status >= 400 else JSON
    return Reply(answer.status, answer.body, media, _REPLAYED if answer.replayed else ())


def without_card(document: dict[str, Any]) -> dict[str, Any]:
    """Return a payment's request without card data: what an idempotency key is compared over.

    The vault adds its keyed commitment to the card; a security code is never compared.
    """
    method = document["payment_method"]
    kept = {"token": method["token"]} if method.get("token") is not None else {"card": None}
    return {**document, "payment_method": kept}


def _command(body: PaymentBody, *, live: bool) -> CreatePayment:
    exponent(body.currency)
    if body.return_url is not None:
        _check_return_url(body.return_url, live=live)
        check_no_card_number(unquote_plus(body.return_url), param="return_url")
    if body.reference is not None:
        check_no_card_number(body.reference, param="reference")
    if body.description is not None:
        check_no_card_number(body.description, param="description")
    if body.metadata:
        for text in (*body.metadata, *body.metadata.values()):
            check_no_card_number(text, param="metadata")
    return CreatePayment(
        amount=Money(body.amount, body.currency),
        capture_method=CaptureMethod(body.capture_method),
        source=_source(body.payment_method),
        reference=body.reference,
        description=body.description,
        metadata=body.metadata,
        return_url=body.return_url,
    )


def _source(method: PaymentMethodBody) -> CardInput | TokenSource | EncryptedSource:
    given = (method.card, method.token, method.encrypted_card)
    if sum(value is not None for value in given) != 1:
        raise errors.conflicting("payment_method.card", "payment_method.token")
    if method.token is not None:
        return TokenSource(method.token, method.cvc)
    if method.cvc is not None:
        raise errors.invalid("payment_method.cvc", "With a card the cvc belongs inside it.")
    if method.card is not None:
        return card_input(method.card)
    return EncryptedSource(method.encrypted_card or EncryptedCard(""))


_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
"""The characters of a URL (RFC 3986 section 2); all others must be percent-encoded."""


def _check_return_url(url: str, *, live: bool) -> None:
    """Take absolute https URLs without credentials; http to this machine in test mode."""
    try:
        parts = urlsplit(url)
        host, secure = parts.hostname, parts.scheme == "https"
        local = parts.scheme == "http" and host in _LOOPBACK and not live
        good = (secure or local) and host and parts.port != 0 and "@" not in parts.netloc
        good = good and "%" not in parts.netloc and _URL.fullmatch(url) is not None
    except ValueError:
        good = False
    if not good:
        raise errors.invalid("return_url", "Use an absolute https URL without user or password.")


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/payments",
        action="payment:create",
        summary="Take a payment",
        handler=create_payment,
        request=PaymentBody,
        answers={201: PaymentAnswer, 202: PaymentAnswer, 402: ProblemAnswer},
        errors=(
            *KEY_ERRORS,
            *CARD_ERRORS,
            *ENCRYPTED_CARD_ERRORS,
            "conflicting_parameters",
            "card_declined",
            "payment_blocked",
            "currency_not_supported",
            "amount_not_positive",
            "amount_too_large",
            "amount_not_supported",
            "card_number_in_text",
            "token_not_found",
            "token_expired",
            "token_used",
            "gateway_unavailable",
        ),
        keyed=True,
        redact=without_card,
    ),
    Endpoint(
        method="GET",
        path="/v1/payments",
        action="payment:list",
        summary="List payments, newest first",
        handler=list_payments,
        query=PaymentQuery,
        answers={200: ListAnswer[PaymentAnswer]},
        errors=("conflicting_parameters",),
    ),
    Endpoint(
        method="GET",
        path="/v1/payments/{payment_id}",
        action="payment:read",
        summary="Show a payment",
        handler=read_payment,
        answers={200: PaymentAnswer},
        errors=("payment_not_found",),
    ),
    Endpoint(
        method="POST",
        path="/v1/payments/{payment_id}/capture",
        action="payment:capture",
        summary="Capture part or all of what is authorized",
        handler=capture_payment,
        request=CaptureBody,
        answers={200: PaymentAnswer, 202: PaymentAnswer, 402: ProblemAnswer},
        errors=(
            *_MOVE_ERRORS,
            "payment_not_capturable",
            "amount_not_positive",
            "amount_exceeds_capturable",
            "capture_rejected",
        ),
        keyed=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/payments/{payment_id}/cancel",
        action="payment:cancel",
        summary="Release what is authorized and not captured",
        handler=cancel_payment,
        request=CancelBody,
        answers={200: PaymentAnswer, 202: PaymentAnswer, 402: ProblemAnswer},
        errors=(*_MOVE_ERRORS, "payment_not_cancelable", "cancel_rejected"),
        keyed=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/payments/{payment_id}/review",
        action="payment:review",
        summary="Approve or reject a payment that is held for review",
        handler=review_payment,
        request=ReviewBody,
        answers={200: PaymentAnswer, 202: PaymentAnswer, 402: ProblemAnswer},
        errors=(*_MOVE_ERRORS, "payment_not_in_review", "payment_not_cancelable"),
        keyed=True,
    ),
)

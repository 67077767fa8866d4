"""Refunds of captured payments."""

from __future__ import annotations

from strongroom.api.endpoint import Call, Endpoint, Reply
from strongroom.api.model import ListAnswer, ProblemAnswer, RefundAnswer, RefundBody
from strongroom.api.render import encode, refund_view
from strongroom.api.routes.payments import KEY_ERRORS, answered
from strongroom.api.strict import check_no_card_number


async def create_refund(call: Call) -> Reply:
    """Give money back: part or all of what was captured."""
    body: RefundBody = call.body
    if body.reason is not None:
        check_no_card_number(body.reason, param="reason")
    return answered(
        await call.services.payments.refund(
            call.merchant,
            call.params["payment_id"],
            amount_minor=body.amount,
            reason=body.reason,
            caller=call.caller,
            idempotency=call.idempotency,
        )
    )


async def list_refunds(call: Call) -> Reply:
    """Show the refunds of a payment, oldest first."""
    payment_id = call.params["payment_id"]
    refunds = await call.services.payments.refunds(call.merchant, payment_id)
    views = [refund_view(refund, live=call.live) for refund in refunds]
    url = f"/v1/payments/{payment_id}/refunds"
    return Reply(200, encode(ListAnswer(data=views, has_more=False, url=url)))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/payments/{payment_id}/refunds",
        action="refund:create",
        summary="Give back part or all of what was captured",
        handler=create_refund,
        request=RefundBody,
        answers={201: RefundAnswer, 402: ProblemAnswer},
        errors=(
            *KEY_ERRORS,
            "payment_not_found",
            "payment_not_refundable",
            "amount_not_positive",
            "amount_exceeds_refundable",
            "card_number_in_text",
            "operation_in_progress",
            "refund_failed",
            "gateway_unavailable",
        ),
        keyed=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/payments/{payment_id}/refunds",
        action="refund:read",
        summary="List the refunds of a payment",
        handler=list_refunds,
        answers={200: ListAnswer[RefundAnswer]},
        errors=("payment_not_found",),
    ),
)

"""Refunds of captured payments."""

from __future__ import annotations

from strongroom.access import Value
from strongroom.access.approvals import Parameter
from strongroom.api.approving import APPROVAL_ERRORS, approved
from strongroom.api.endpoint import Call, Endpoint, Reply
from strongroom.api.model import ListAnswer, ProblemAnswer, RefundAnswer, RefundBody
from strongroom.api.render import encode, refund_view
from strongroom.api.routes.payments import KEY_ERRORS, answered
from strongroom.api.strict import check_no_card_number
from strongroom.payments import Answer


async def create_refund(call: Call) -> Reply:
    """Give money back: part or all of what was captured."""
    body: RefundBody = call.body
    if body.reason is not None:
        check_no_card_number(body.reason, param="reason")
    permitted = await _alone_or_approved(call, body)
    if isinstance(permitted, Answer):
        return answered(permitted)
    return answered(
        await call.services.payments.refund(
            call.merchant,
            call.params["payment_id"],
            amount_minor=permitted,
            reason=body.reason,
            caller=call.caller,
            idempotency=call.idempotency,
        )
    )


async def _alone_or_approved(call: Call, body: RefundBody) -> Answer | int | None:
    """Let a refund pass that one may give alone, or that was approved; return its amount.

    Refunds of one payment count together, so that a large one is not cut into small ones. All that
    is left (None) becomes the amount that was approved: what is left may grow meanwhile. Returns
    the answer when the same request was carried out before: a repetition needs no new approval.
    """
    services, payment_id = call.services, call.params["payment_id"]
    amount, context = body.amount or 0, dict[str, Value]()
    if services.approvals.limits_refunds:
        known = await services.payments.known(call.merchant, call.idempotency)
        if known is not None:
            return known
        payment = await services.payments.get(call.merchant, payment_id)
        amount = body.amount or payment.refundable_minor
        before = payment.refunded_minor + payment.refunding_minor
        context["alone_up_to"] = services.approvals.alone_up_to(payment.currency)
        context["amount"] = before + amount
    parameters: dict[str, Parameter] = {"amount": amount}
    if body.reason is not None:
        parameters["reason"] = body.reason
    await approved(
        call,
        action="refund:create",
        resource=payment_id,
        parameters=parameters,
        context={"amount": amount, **context},
        used_for=call.idempotency.key,
    )
    return amount or None


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
            *APPROVAL_ERRORS,
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
        approvable=True,
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

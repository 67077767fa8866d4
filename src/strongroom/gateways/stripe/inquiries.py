"""Reads Stripe's answers to the question what became of an operation. Never raises.

Without the payment's id the answer is a list page, newest first, searched for our operation id. Two
intents with one operation id would be a double charge and are reported, never picked from.
"""

from __future__ import annotations

from strongroom.gateways.model import Operation, OperationKind, Outcome, Result
from strongroom.gateways.reading import (
    bounded_wait,
    decode,
    inquiry_outcome,
    transport_outcome,
    unknown,
)
from strongroom.gateways.stripe.answers import read_intent, read_refund
from strongroom.gateways.stripe.wire import (
    OPERATION,
    PAYMENT_INTENT,
    PAYMENT_INTENT_PAGE,
    REFUND_PAGE,
    PaymentIntent,
    Refund,
)
from strongroom.vault import GatewayAnswer


def read_inquiry(op: Operation, answer: GatewayAnswer, *, live: bool) -> Outcome:
    """Read the answer to `inquire(op)`."""
    decided = transport_outcome(answer, in_flight="conflict")
    if decided is not None:
        return inquiry_outcome(decided)
    if answer.status != 200:
        wait = bounded_wait(answer.retry_after_s)
        return unknown(f"http_{answer.status:d}", retry_after_s=wait)
    if op.kind is OperationKind.REFUND:
        return _refund_page(op, answer)
    if op.gateway_reference is None:
        return _intent_page(op, answer, live=live)
    intent = decode(PAYMENT_INTENT, answer.body)
    if intent is None:
        return unknown("unparsable")
    return read_intent(op, intent, live=live, direct=False)


def _intent_page(op: Operation, answer: GatewayAnswer, *, live: bool) -> Outcome:
    page = decode(PAYMENT_INTENT_PAGE, answer.body)
    if page is None:
        return unknown("unparsable")
    found = [intent for intent in page.data if intent.metadata.get(OPERATION) == op.id]
    if not found:
        return _next_page(page.data, has_more=page.has_more)
    if len(found) > 1:
        return unknown("duplicate_operation")
    return read_intent(op, found[0], live=live, direct=False)


def _refund_page(op: Operation, answer: GatewayAnswer) -> Outcome:
    page = decode(REFUND_PAGE, answer.body)
    if page is None:
        return unknown("unparsable")
    found = [refund for refund in page.data if refund.metadata.get(OPERATION) == op.id]
    if not found:
        return _next_page(page.data, has_more=page.has_more)
    if len(found) > 1:
        return unknown("duplicate_operation")
    return read_refund(op, found[0])


def _next_page(data: list[PaymentIntent] | list[Refund], *, has_more: bool) -> Outcome:
    if not has_more:
        return Outcome(result=Result.NOT_FOUND, raw_code="not_listed")
    if not data:
        return unknown("empty_page")
    return Outcome(result=Result.MORE, raw_code="next_page", cursor=data[-1].id)

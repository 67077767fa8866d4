"""Reads Stripe's answers to what we asked it to do. Never raises: what is not proven is `UNKNOWN`.

An answer counts only when amount, currency, mode and our own ids in its metadata are what we sent.
"""

from __future__ import annotations

from strongroom.gateways.declines import BLOCKING, decline_for, is_known
from strongroom.gateways.model import Decline, Operation, OperationKind, Outcome, Result
from strongroom.gateways.reading import (
    bounded_wait,
    canceled_decline,
    decode,
    network_code,
    raw,
    redirect_or_none,
    rejected,
    risk_of,
    transport_outcome,
    unknown,
)
from strongroom.gateways.stripe.amounts import from_stripe
from strongroom.gateways.stripe.wire import (
    ERROR,
    OPERATION,
    PAYMENT,
    PAYMENT_INTENT,
    REFUND,
    ChargeOutcome,
    PaymentError,
    PaymentIntent,
    Refund,
)
from strongroom.vault import GatewayAnswer

RETRYABLE_CODES = frozenset({"rate_limit", "lock_timeout"})
"""Stripe did not start on the request: it may be sent again."""

_REFUSING_TYPES = frozenset({"card_error", "invalid_request_error"})
"""Error types that say nothing was done; `api_error` and `idempotency_error` prove nothing."""

_CARD_DATA = frozenset(
    "incorrect_number invalid_number incorrect_cvc invalid_cvc expired_card invalid_expiry_month "
    "invalid_expiry_year incorrect_zip incorrect_address".split()
)
_REFUSALS = {
    "amount_too_large": "amount_too_large",
    "amount_too_small": "invalid_amount",
    "capture_charge_authorization_expired": "authorization_expired",
    "charge_already_captured": "already_captured",
    "charge_already_refunded": "already_refunded",
    "charge_disputed": "disputed",
    "charge_expired_for_capture": "authorization_expired",
    "payment_intent_unexpected_state": "not_capturable",
    "resource_missing": "payment_not_found",
}
_SAME_MEANING = {
    "payment_intent_authentication_failure": "authentication_failed",
    "highest_risk_level": "fraudulent",
}
_AUTHENTICATION = frozenset({"requires_action", "requires_source_action"})
_NO_CARD = frozenset({"requires_payment_method", "requires_source"})
_OPEN = frozenset({"requires_capture", "requires_confirmation", "processing"})
_OPEN |= _AUTHENTICATION | _NO_CARD


def read(op: Operation, answer: GatewayAnswer, *, live: bool) -> Outcome:
    """Read the direct answer to a money-moving request."""
    decided = transport_outcome(answer, in_flight="idempotency_key_in_use")
    if decided is not None:
        return decided
    if answer.status != 200:
        return _refused(op, answer, live=live)
    if op.kind is OperationKind.REFUND:
        refund = decode(REFUND, answer.body)
        return unknown("unparsable") if refund is None else read_refund(op, refund)
    intent = decode(PAYMENT_INTENT, answer.body)
    if intent is None:
        return unknown("unparsable")
    return read_intent(op, intent, live=live, direct=True)


def read_intent(op: Operation, intent: PaymentIntent, *, live: bool, direct: bool) -> Outcome:
    """Read a payment intent as the state of an authorization, a capture or a void.

    A direct answer must be exactly what was asked; a later look (`direct=False`) may find that the
    payment has moved on, and then the totals in the outcome say how far.
    """
    mismatch = _mismatch(op, intent, live=live)
    if mismatch is not None:
        return unknown(mismatch)
    if op.kind is OperationKind.AUTHORIZE:
        return _authorization(op, intent, direct=direct)
    if op.kind is OperationKind.CAPTURE:
        return _capture(op, intent, direct=direct)
    if op.kind is OperationKind.VOID:
        return _void(op, intent, direct=direct)
    return unknown("operation_not_supported")


def read_refund(op: Operation, refund: Refund) -> Outcome:
    """Read a refund object."""
    asked = op.amount
    echo = (refund.currency.upper(), from_stripe(refund.amount, asked.currency))
    if echo != (asked.currency, asked.minor) or refund.metadata.get(OPERATION) != op.id:
        return unknown("echo_mismatch")
    if refund.payment_intent != op.gateway_reference:
        return unknown("echo_mismatch")
    status = refund.status or "none"
    if status == "succeeded":
        return Outcome(result=Result.SUCCEEDED, raw_code=status, gateway_reference=refund.id)
    if status in ("pending", "requires_action"):
        return Outcome(result=Result.PENDING, raw_code=status, gateway_reference=refund.id)
    if status in ("failed", "canceled"):
        reason = raw(refund.failure_reason) if refund.failure_reason else status
        return rejected("refund_failed", reason, gateway_reference=refund.id)
    return unknown(f"status_{raw(status)}"[:64])


def _mismatch(op: Operation, intent: PaymentIntent, *, live: bool) -> str | None:
    if intent.livemode != live:
        return "mode_mismatch"
    if intent.currency.upper() != op.amount.currency:
        return "echo_mismatch"
    if intent.metadata.get(PAYMENT) != op.payment_id:
        return "echo_mismatch"
    if op.gateway_reference is not None and intent.id != op.gateway_reference:
        return "echo_mismatch"
    if op.kind is not OperationKind.AUTHORIZE:
        return None
    if from_stripe(intent.amount, op.amount.currency) != op.amount.minor:
        return "echo_mismatch"
    return None if intent.metadata.get(OPERATION) == op.id else "echo_mismatch"


def _authorization(op: Operation, intent: PaymentIntent, *, direct: bool) -> Outcome:
    if intent.status in ("succeeded", "requires_capture"):
        return _approved(op, intent, direct=direct)
    if intent.status in _AUTHENTICATION:
        return _action(op, intent)
    if intent.status == "processing":
        return _outcome(op, intent, Result.PENDING)
    if intent.status == "canceled":
        return _outcome(op, intent, Result.DECLINED, decline=canceled_decline())
    if intent.status in _NO_CARD and intent.last_payment_error is not None:
        return _declined(op, intent, intent.last_payment_error)
    return unknown(f"status_{raw(intent.status)}"[:64])


def _approved(op: Operation, intent: PaymentIntent, *, direct: bool) -> Outcome:
    received = from_stripe_or_none(intent.amount_received, op)
    capturable = from_stripe_or_none(intent.amount_capturable, op)
    if intent.status == "requires_capture":
        if op.capture or received != 0 or capturable != op.amount.minor:
            return unknown("capture_mismatch")
        review = (_charge_outcome(intent) or ChargeOutcome()).type == "manual_review"
        return _outcome(op, intent, Result.HELD if review else Result.APPROVED)
    if received is None or not 0 < received <= op.amount.minor:
        return unknown("capture_mismatch")
    if (op.capture or direct) and not (op.capture and received == op.amount.minor):
        return unknown("capture_mismatch")
    return _outcome(op, intent, Result.APPROVED)


def _action(op: Operation, intent: PaymentIntent) -> Outcome:
    step = intent.next_action.redirect_to_url if intent.next_action else None
    url = redirect_or_none(step.url if step else None, plain_http=False)
    if url is None:
        return unknown("redirect_url_invalid")
    return _outcome(op, intent, Result.ACTION_REQUIRED, redirect_url=url)


def _declined(op: Operation, intent: PaymentIntent, error: PaymentError) -> Outcome:
    outcome = _charge_outcome(intent)
    blocked = outcome is not None and outcome.type == "blocked"
    result, decline = _decline(error, outcome, blocked=blocked)
    return _outcome(op, intent, result, decline=decline, raw_code=_raw_of(error))


def _capture(op: Operation, intent: PaymentIntent, *, direct: bool) -> Outcome:
    if intent.status == "succeeded":
        if from_stripe_or_none(intent.amount_received, op) != op.amount.minor:
            return unknown("echo_mismatch")
        return _outcome(op, intent, Result.SUCCEEDED)
    if intent.status == "canceled":
        return rejected("already_voided", "canceled", gateway_reference=intent.id)
    return _not_done(intent, direct=direct)


def _void(op: Operation, intent: PaymentIntent, *, direct: bool) -> Outcome:
    if intent.status == "canceled":
        return _outcome(op, intent, Result.SUCCEEDED)
    if intent.status == "succeeded":
        return rejected("already_captured", "succeeded", gateway_reference=intent.id)
    return _not_done(intent, direct=direct)


def _not_done(intent: PaymentIntent, *, direct: bool) -> Outcome:
    if direct or intent.status not in _OPEN:
        return unknown(f"status_{raw(intent.status)}"[:64])
    return Outcome(result=Result.NOT_FOUND, raw_code=intent.status, gateway_reference=intent.id)


def _refused(op: Operation, answer: GatewayAnswer, *, live: bool) -> Outcome:
    body = decode(ERROR, answer.body)
    if body is None:
        return unknown("unparsable")
    error = body.error
    code = raw(error.code)
    if error.type not in _REFUSING_TYPES:
        return unknown(raw(error.code or error.type))
    if code in RETRYABLE_CODES:
        wait = bounded_wait(answer.retry_after_s) or 1
        return Outcome(result=Result.RETRY, raw_code=code, retry_after_s=wait)
    intent = error.payment_intent
    if intent is not None and op.kind is not OperationKind.REFUND:
        mismatch = _mismatch(op, intent, live=live)
        if mismatch is not None:
            return unknown(mismatch)
    if op.kind is OperationKind.AUTHORIZE and (answer.status == 402 or code in _CARD_DATA):
        if intent is not None:
            return _declined(op, intent, error)
        result, decline = _decline(error, None, blocked=False)
        return Outcome(result=result, raw_code=_raw_of(error), decline=decline)
    return rejected(_REFUSALS.get(code, "gateway_refused"), code)


def _decline(
    error: PaymentError, outcome: ChargeOutcome | None, *, blocked: bool
) -> tuple[Result, Decline]:
    seen = outcome or ChargeOutcome()
    network = error.network_decline_code or seen.network_decline_code
    decline = decline_for(
        _decline_code(error),
        network_code=network_code(network),
        advice=error.advice_code or seen.advice_code,
    )
    if blocked or decline.code in BLOCKING:
        return Result.BLOCKED, decline
    return Result.DECLINED, decline


def _decline_code(error: PaymentError) -> str | None:
    for code in (error.decline_code, error.code):
        same = _SAME_MEANING.get(code or "", code)
        if is_known(same):
            return same
    return None


def _raw_of(error: PaymentError) -> str:
    return raw(error.decline_code or error.code)


def _charge_outcome(intent: PaymentIntent) -> ChargeOutcome | None:
    return intent.charge.outcome if intent.charge else None


def _outcome(
    op: Operation,
    intent: PaymentIntent,
    result: Result,
    *,
    decline: Decline | None = None,
    redirect_url: str | None = None,
    raw_code: str | None = None,
) -> Outcome:
    charge = intent.charge
    card = charge.payment_method_details.card if charge and charge.payment_method_details else None
    authorized = intent.status in ("succeeded", "requires_capture")
    return Outcome(
        result=result,
        raw_code=raw_code or raw(intent.status),
        gateway_reference=intent.id,
        amount_authorized_minor=from_stripe(intent.amount, op.amount.currency) if authorized else 0,
        amount_captured_minor=from_stripe_or_none(intent.amount_received, op),
        decline=decline,
        redirect_url=redirect_url,
        risk=risk_of(charge.outcome.risk_level if charge and charge.outcome else None),
        network_transaction_id=network_code(card.network_transaction_id if card else None),
    )


def from_stripe_or_none(value: int | None, op: Operation) -> int | None:
    """Return an optional amount of Stripe's in our minor units."""
    return None if value is None else from_stripe(value, op.amount.currency)

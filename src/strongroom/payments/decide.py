"""Pure decisions about payments: what a command or a gateway's answer does to the state. No I/O.

A decision reserves before the gateway is called (`capturing_minor`, `refunding_minor`), so that two
requests that race can never ask for more than was authorized or captured.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec.structs import replace

from strongroom.gateways import Outcome, Result
from strongroom.kernel.money import MAX_AMOUNT_MINOR, Money
from strongroom.ledger import Movement, captured, refunded
from strongroom.payments.errors import Refusal
from strongroom.payments.model import (
    CaptureMethod,
    CardDisplay,
    CreatePayment,
    Kind,
    Operation,
    Payment,
    Progress,
    Status,
)
from strongroom.payments.states import Event, move

ACTION_TTL = timedelta(hours=1)
"""How long a cardholder may take to authenticate before the payment is canceled."""

ACTION_POLL = timedelta(minutes=5)
"""How often a payment that waits for authentication is looked up without a hint."""


UNAUTHORIZED = "before_authorization"
"""Reason of a void that was asked for while the cardholder still had to authenticate."""

RELEASES_REST = "releases_rest"
"""Reason of a capture at a gateway that takes one capture only: what it leaves is released."""

_RELEASABLE = (Status.AUTHORIZED, Status.PARTIALLY_CAPTURED, Status.REQUIRES_REVIEW)


class Step(msgspec.Struct, frozen=True):
    """A new state of a payment and one of its operations, with the money it moves."""

    payment: Payment
    operation: Operation
    movements: tuple[Movement, ...] = ()
    done: bool = True
    """Whether the operation has an answer for its caller."""


def decide_amount(amount: Money) -> Refusal | None:
    """Return why an amount cannot be charged, or None."""
    if amount.minor <= 0:
        return Refusal.AMOUNT_NOT_POSITIVE
    if amount.minor > MAX_AMOUNT_MINOR:
        return Refusal.AMOUNT_TOO_LARGE
    return None


def decide_create(
    command: CreatePayment,
    *,
    merchant: str,
    card: CardDisplay,
    ids: tuple[str, str],
    gateway: str,
    claim: UUID | None,
    now: datetime,
    patience: timedelta,
) -> Step | Refusal:
    """Return the first state of a payment: processing, with an authorization about to be sent."""
    refusal = decide_amount(command.amount)
    if refusal is not None:
        return refusal
    payment_id, operation_id = ids
    payment = Payment(
        merchant=merchant,
        id=payment_id,
        version=1,
        status=Status.PROCESSING,
        amount_minor=command.amount.minor,
        currency=command.amount.currency,
        capture_method=command.capture_method,
        card=card,
        reference=command.reference,
        description=command.description,
        metadata=command.metadata,
        return_url=command.return_url,
        gateway=gateway,
        created_at=now,
        updated_at=now,
    )
    operation = _operation(
        payment, operation_id, Kind.AUTHORIZE, payment.amount_minor, claim, now, patience
    )
    return Step(payment, operation, done=False)


def decide_capture(
    payment: Payment,
    *,
    amount_minor: int | None,
    operation: str,
    claim: UUID | None,
    now: datetime,
    patience: timedelta,
    multi_capture: bool = True,
) -> Step | Refusal:
    """Decide whether `amount_minor` (None: all that is left) may be captured, and reserve it.

    Where the gateway takes one capture only, the whole rest is reserved and then released.
    """
    if payment.status not in (Status.AUTHORIZED, Status.PARTIALLY_CAPTURED):
        return Refusal.NOT_CAPTURABLE
    amount = payment.capturable_minor if amount_minor is None else amount_minor
    if amount_minor is None and amount == 0 and payment.capturing_minor:
        return Refusal.OPERATION_IN_PROGRESS
    if amount <= 0:
        return Refusal.AMOUNT_NOT_POSITIVE
    if amount > payment.capturable_minor:
        return Refusal.AMOUNT_EXCEEDS_CAPTURABLE
    made = _operation(payment, operation, Kind.CAPTURE, amount, claim, now, patience)
    if multi_capture:
        reserve = payment.capturing_minor + amount
    elif payment.capturing_minor:
        return Refusal.OPERATION_IN_PROGRESS
    else:
        reserve, made = payment.capturable_minor, replace(made, reason=RELEASES_REST)
    return Step(replace(payment, capturing_minor=reserve, updated_at=now), made, done=False)


def decide_void(
    payment: Payment,
    *,
    operation: str,
    claim: UUID | None,
    now: datetime,
    patience: timedelta,
) -> Step | Refusal:
    """Decide whether what is not captured may be released; reserves it, so no capture can start."""
    if payment.status is Status.REQUIRES_ACTION:
        void = _operation(payment, operation, Kind.VOID, payment.amount_minor, claim, now, patience)
        return Step(
            replace(payment, updated_at=now), replace(void, reason=UNAUTHORIZED), done=False
        )
    if payment.status not in _RELEASABLE:
        return Refusal.NOT_CANCELABLE
    if payment.capturing_minor:
        return Refusal.OPERATION_IN_PROGRESS
    amount = payment.authorized_minor - payment.captured_minor
    void = _operation(payment, operation, Kind.VOID, amount, claim, now, patience)
    return Step(replace(payment, capturing_minor=amount, updated_at=now), void, done=False)


def decide_refund(
    payment: Payment,
    *,
    amount_minor: int | None,
    reason: str | None,
    operation: str,
    claim: UUID | None,
    now: datetime,
    patience: timedelta,
) -> Step | Refusal:
    """Decide whether `amount_minor` (None: all that is left) may be refunded, and reserve it."""
    if payment.captured_minor == 0:
        return Refusal.NOT_REFUNDABLE
    amount = payment.refundable_minor if amount_minor is None else amount_minor
    if amount_minor is None and amount == 0:
        return Refusal.OPERATION_IN_PROGRESS if payment.refunding_minor else Refusal.NOT_REFUNDABLE
    if amount <= 0:
        return Refusal.AMOUNT_NOT_POSITIVE
    if amount > payment.refundable_minor:
        return Refusal.AMOUNT_EXCEEDS_REFUNDABLE
    reserved = replace(payment, refunding_minor=payment.refunding_minor + amount, updated_at=now)
    made = _operation(payment, operation, Kind.REFUND, amount, claim, now, patience)
    return Step(reserved, replace(made, reason=reason), done=False)


def decide_approve(payment: Payment, *, now: datetime) -> Payment | Refusal:
    """Decide whether a held payment may go on; the caller captures it when that was asked for."""
    if payment.status is not Status.REQUIRES_REVIEW:
        return Refusal.NOT_IN_REVIEW
    if payment.capturing_minor:
        return Refusal.OPERATION_IN_PROGRESS
    return replace(payment, status=move(payment.status, Event.APPROVE), updated_at=now)


def decide_outcome(
    payment: Payment, operation: Operation, outcome: Outcome, *, now: datetime
) -> Step:
    """Return what a gateway's answer to a pending operation does to its payment.

    An answer that settles nothing (`PENDING`, `UNKNOWN`, `RETRY`) leaves the payment as it is and
    the operation pending: recovery will ask again.
    """
    if outcome.result in (Result.PENDING, Result.UNKNOWN, Result.RETRY):
        return Step(payment, _checked(operation, now), done=False)
    if operation.kind is Kind.AUTHORIZE:
        if payment.status not in (Status.PROCESSING, Status.REQUIRES_ACTION):
            return Step(payment, _ended(operation, Progress.FAILED, outcome, now))
        return _authorization(payment, operation, outcome, now)
    if outcome.result is Result.SUCCEEDED:
        return _succeeded(payment, operation, outcome, now)
    if outcome.result is Result.REJECTED:
        return _rejected(payment, operation, outcome, now)
    return Step(payment, _checked(operation, now), done=False)


def _authorization(payment: Payment, operation: Operation, outcome: Outcome, now: datetime) -> Step:
    reference = outcome.gateway_reference or payment.gateway_reference
    known = replace(payment, gateway_reference=reference, updated_at=now)
    result = outcome.result
    if result is Result.APPROVED:
        return _approved(known, operation, outcome, now)
    if result is Result.ACTION_REQUIRED:
        return _challenged(known, operation, outcome, now)
    if result is Result.HELD:
        held = replace(
            known,
            status=move(known.status, Event.HOLD),
            authorized_minor=known.amount_minor,
            action_url=None,
        )
        return Step(held, _ended(operation, Progress.SUCCEEDED, outcome, now))
    if result in (Result.DECLINED, Result.BLOCKED, Result.REJECTED):
        event = Event.BLOCK if result is Result.BLOCKED else Event.DECLINE
        return _ended_without_money(known, operation, outcome, event, now)
    if result is Result.NOT_FOUND:
        return _ended_without_money(known, operation, outcome, Event.EXPIRE, now)
    return Step(payment, _checked(operation, now), done=False)


def _approved(payment: Payment, operation: Operation, outcome: Outcome, now: datetime) -> Step:
    amount = payment.amount_minor
    ended = _ended(operation, Progress.SUCCEEDED, outcome, now)
    automatic = payment.capture_method is CaptureMethod.AUTOMATIC
    event = Event.AUTHORIZE_AND_CAPTURE if automatic else Event.AUTHORIZE
    approved = replace(
        payment,
        status=move(payment.status, event),
        authorized_minor=amount,
        captured_minor=amount if automatic else 0,
        action_url=None,
    )
    movements = (captured(amount, payment.currency),) if automatic else ()
    return Step(approved, ended, movements)


def _challenged(payment: Payment, operation: Operation, outcome: Outcome, now: datetime) -> Step:
    waiting = replace(operation, next_check_at=now + ACTION_POLL, updated_at=now)
    if payment.status is Status.REQUIRES_ACTION:
        return Step(payment, waiting, done=False)
    challenged = replace(
        payment,
        status=move(payment.status, Event.CHALLENGE),
        action_url=outcome.redirect_url,
    )
    return Step(challenged, waiting)


def _ended_without_money(
    payment: Payment, operation: Operation, outcome: Outcome, event: Event, now: datetime
) -> Step:
    decline = outcome.decline
    ended = replace(
        payment,
        status=move(payment.status, event),
        decline_code=decline.code if decline else "processing_error",
        decline_message=(
            decline.message if decline else "The card was not charged. Try the payment again."
        ),
        action_url=None,
    )
    return Step(ended, _ended(operation, Progress.FAILED, outcome, now))


def _succeeded(payment: Payment, operation: Operation, outcome: Outcome, now: datetime) -> Step:
    amount = operation.amount_minor
    ended = _ended(operation, Progress.SUCCEEDED, outcome, now)
    if operation.kind is Kind.CAPTURE:
        done = payment.captured_minor + amount
        closes = operation.reason == RELEASES_REST
        rest = closes or done == payment.authorized_minor
        after = replace(
            payment,
            status=move(payment.status, Event.CAPTURE_REST if rest else Event.CAPTURE_PART),
            authorized_minor=done if closes else payment.authorized_minor,
            captured_minor=done,
            capturing_minor=0 if closes else payment.capturing_minor - amount,
            updated_at=now,
        )
        return Step(after, ended, (captured(amount, payment.currency),))
    if operation.kind is Kind.REFUND:
        after = replace(
            payment,
            refunded_minor=payment.refunded_minor + amount,
            refunding_minor=payment.refunding_minor - amount,
            updated_at=now,
        )
        return Step(after, ended, (refunded(amount, payment.currency),))
    return _voided(payment, operation, outcome, now)


def _voided(payment: Payment, operation: Operation, outcome: Outcome, now: datetime) -> Step:
    """End a void. One that was sent before the authorization had an answer reserved nothing."""
    reserved = 0 if operation.reason == UNAUTHORIZED else operation.amount_minor
    if payment.status not in (*_RELEASABLE, Status.REQUIRES_ACTION):
        return Step(payment, _ended(operation, Progress.FAILED, outcome, now))
    if payment.capturing_minor != reserved:
        return Step(payment, _checked(operation, now), done=False)
    partial = payment.status is Status.PARTIALLY_CAPTURED
    voided = replace(
        payment,
        status=move(payment.status, Event.RELEASE_REST if partial else Event.VOID),
        authorized_minor=payment.captured_minor,
        capturing_minor=0,
        action_url=None,
        updated_at=now,
    )
    return Step(voided, _ended(operation, Progress.SUCCEEDED, outcome, now))


def _rejected(payment: Payment, operation: Operation, outcome: Outcome, now: datetime) -> Step:
    amount = operation.amount_minor
    ended = _ended(operation, Progress.FAILED, outcome, now)
    if operation.kind is Kind.REFUND:
        freed = replace(payment, refunding_minor=payment.refunding_minor - amount)
    elif operation.reason == UNAUTHORIZED:
        freed = payment
    elif operation.reason == RELEASES_REST:
        freed = replace(payment, capturing_minor=0)
    else:
        freed = replace(payment, capturing_minor=payment.capturing_minor - amount)
    return Step(replace(freed, updated_at=now), ended)


def _operation(
    payment: Payment,
    operation: str,
    kind: Kind,
    amount_minor: int,
    claim: UUID | None,
    now: datetime,
    patience: timedelta,
) -> Operation:
    return Operation(
        merchant=payment.merchant,
        id=operation,
        payment=payment.id,
        kind=kind,
        status=Progress.PENDING,
        amount_minor=amount_minor,
        gateway_reference=payment.gateway_reference,
        claim=claim,
        next_check_at=now + patience,
        created_at=now,
        updated_at=now,
    )


def _ended(operation: Operation, status: Progress, outcome: Outcome, now: datetime) -> Operation:
    decline = outcome.decline
    return replace(
        operation,
        status=status,
        decline_code=decline.code if decline else None,
        decline_message=decline.message if decline else None,
        gateway_reference=outcome.gateway_reference or operation.gateway_reference,
        updated_at=now,
    )


def _checked(operation: Operation, now: datetime) -> Operation:
    """Put off the next look: 1 s doubling to 5 minutes."""
    wait_s = min(2**operation.checks, 300)
    return replace(
        operation,
        checks=operation.checks + 1,
        next_check_at=now + timedelta(seconds=wait_s),
        updated_at=now,
    )

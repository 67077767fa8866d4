"""Turns decisions into Changes: state, operation, postings, journal entry and answer together."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from strongroom.journal import Entry, record
from strongroom.ledger import Ledger
from strongroom.payments import idempotency, records
from strongroom.payments.decide import Step
from strongroom.payments.model import Answer, Caller, Kind, Operation, Payment, Progress
from strongroom.storage import Change

RECOVERY = Caller("system:recovery", None)
"""Who acts when nobody asks: the recovery of unknown outcomes."""


def opened(change: Change, step: Step, caller: Caller, *, created: bool) -> None:
    """Add a reservation that is about to be sent: new operation, reserved amounts."""
    if created:
        records.add_payment(change, step.payment)
    else:
        records.add_payment_state(change, step.payment)
    records.add_operation(change, step.operation)
    entry = _entry(step.payment, step.operation, caller, "requested", None)
    record(change, entry, at=step.operation.created_at)


def settled(
    change: Change, step: Step, caller: Caller, ledger: Ledger, answer: Answer | None
) -> None:
    """Add what a gateway's answer did: new state, postings, entry, and the caller's answer."""
    payment, operation = step.payment, step.operation
    records.add_payment_state(change, payment)
    records.add_operation_state(change, operation)
    for movement in step.movements:
        ledger.post(
            change,
            movement,
            merchant=payment.merchant,
            payment=payment.id,
            operation=operation.id,
            at=payment.updated_at,
        )
    outcome = _outcome(payment, operation)
    entry = _entry(payment, operation, caller, outcome, operation.decline_code)
    record(change, entry, at=operation.updated_at)
    if answer is not None and operation.claim is not None:
        idempotency.answer(change, payment.merchant, operation.claim, answer.status, answer.body)


def reviewed(change: Change, payment: Payment, caller: Caller) -> None:
    """Add the approval of a held payment."""
    records.add_payment_state(change, payment)
    record(
        change,
        Entry(
            action="payments:payment:approve",
            subject=payment.id,
            outcome=payment.status.value,
            merchant=payment.merchant,
            actor=caller.principal,
            request=caller.request,
        ),
        at=payment.updated_at,
    )


def refused(
    change: Change, payment: Payment, *, verb: str, code: str, caller: Caller, at: datetime
) -> None:
    """Add the entry of a command that was decided against."""
    record(
        change,
        Entry(
            action=f"payments:payment:{verb}",
            subject=payment.id,
            outcome="refused",
            reason=code,
            merchant=payment.merchant,
            actor=caller.principal,
            request=caller.request,
        ),
        at=at,
    )


def release(change: Change, merchant: str, claim: UUID | None) -> None:
    """Add the release of a claimed key, where there is one."""
    if claim is not None:
        idempotency.release(change, merchant, claim)


def _outcome(payment: Payment, operation: Operation) -> str:
    if operation.kind is Kind.AUTHORIZE:
        return payment.status.value
    return "succeeded" if operation.status is Progress.SUCCEEDED else "failed"


def _entry(
    payment: Payment, operation: Operation, caller: Caller, outcome: str, reason: str | None
) -> Entry:
    # The gateway's own reference stays out: it may look like a card number, which would refuse
    # the entry and with it the outcome. It stands in the payment.
    facts: dict[str, str | int | bool] = {
        "operation": operation.id,
        "amount": operation.amount_minor,
        "currency": payment.currency,
        "gateway": payment.gateway,
    }
    if outcome == "requested":
        facts["token"] = payment.card.token
    else:
        facts["status"] = payment.status.value
    return Entry(
        action=f"payments:payment:{operation.kind.value}",
        subject=payment.id,
        outcome=outcome,
        reason=reason,
        facts=facts,
        merchant=payment.merchant,
        actor=caller.principal,
        request=caller.request,
    )

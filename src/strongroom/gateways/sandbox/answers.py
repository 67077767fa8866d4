"""Reads the sandbox gateway's answers and inquiries. Never raises: unproven is `UNKNOWN`.

An answer counts only when amount, currency, our operation id and the charge are what we asked for.
"""

from __future__ import annotations

from strongroom.gateways.declines import decline_for
from strongroom.gateways.model import Operation, OperationKind, Outcome, Result
from strongroom.gateways.reading import (
    bounded_wait,
    canceled_decline,
    decode,
    inquiry_outcome,
    network_code,
    raw,
    redirect_or_none,
    rejected,
    risk_of,
    transport_outcome,
    unknown,
)
from strongroom.gateways.sandbox.requests import WIRE_KIND
from strongroom.gateways.sandbox.wire import (
    CHARGE,
    ERROR,
    RESULT,
    Charge,
    Failure,
    OperationEcho,
)
from strongroom.vault import GatewayAnswer

_REFUSALS = {
    "amount_too_large": "amount_too_large",
    "charge_already_captured": "already_captured",
    "charge_already_refunded": "already_refunded",
    "charge_already_voided": "already_voided",
    "charge_not_approved": "not_capturable",
    "charge_not_captured": "not_capturable",
    "charge_not_held": "not_capturable",
    "charge_not_found": "payment_not_found",
    "idempotency_key_missing": "gateway_refused",
    "invalid_request": "gateway_refused",
}
"""Refusals that certainly changed nothing; any other error code proves nothing."""
_WITH_AMOUNT = frozenset({OperationKind.CAPTURE, OperationKind.REFUND})


def read(op: Operation, answer: GatewayAnswer) -> Outcome:
    """Read the direct answer to a money-moving request."""
    decided = transport_outcome(answer, in_flight="idempotency_in_flight")
    if decided is not None:
        return decided
    if answer.status != 200:
        return _refused(answer)
    if op.kind is not OperationKind.AUTHORIZE:
        return _result(op, answer)
    charge = decode(CHARGE, answer.body)
    return unknown("unparsable") if charge is None else _charge(op, charge, direct=True)


def read_inquiry(op: Operation, answer: GatewayAnswer) -> Outcome:
    """Read the answer to `inquire(op)`."""
    decided = transport_outcome(answer, in_flight="conflict")
    if decided is not None:
        return inquiry_outcome(decided)
    if answer.status == 404:
        body = decode(ERROR, answer.body)
        if body is not None and body.error.code == "operation_not_found":
            return Outcome(result=Result.NOT_FOUND, raw_code="operation_not_found")
    if answer.status != 200:
        wait = bounded_wait(answer.retry_after_s)
        return unknown(f"http_{answer.status:d}", retry_after_s=wait)
    return _result(op, answer)


def _result(op: Operation, answer: GatewayAnswer) -> Outcome:
    body = decode(RESULT, answer.body)
    if body is None:
        return unknown("unparsable")
    done, charge = body.operation, body.charge
    if done.charge != charge.id or not _echoes(op, done):
        return unknown("echo_mismatch")
    if op.kind is OperationKind.AUTHORIZE:
        return _charge(op, charge, direct=False)
    if charge.id != op.gateway_reference or charge.currency != op.amount.currency:
        return unknown("echo_mismatch")
    return _follow_up(op, done, charge)


def _echoes(op: Operation, done: OperationEcho) -> bool:
    if done.reference != op.id or done.kind != WIRE_KIND[op.kind]:
        return False
    if done.currency != op.amount.currency:
        return False
    return op.kind not in _WITH_AMOUNT or done.amount == op.amount.minor


def _charge(op: Operation, charge: Charge, *, direct: bool) -> Outcome:
    echo = (charge.reference, charge.amount, charge.currency)
    if echo != (op.id, op.amount.minor, op.amount.currency):
        return unknown("echo_mismatch")
    if op.gateway_reference is not None and charge.id != op.gateway_reference:
        return unknown("echo_mismatch")
    if charge.status == "approved":
        return _approved(op, charge, direct=direct)
    if charge.status == "held":
        nothing = charge.captured_amount == 0
        return _outcome(charge, Result.HELD) if nothing else unknown("capture_mismatch")
    if charge.status == "action_required":
        return _action(charge)
    if charge.status == "declined" and charge.decline is not None:
        return _declined(charge, charge.decline)
    if charge.status == "voided":
        return _voided(charge)
    return unknown(f"status_{raw(charge.status)}"[:64])


def _approved(op: Operation, charge: Charge, *, direct: bool) -> Outcome:
    """A direct answer is exactly what was asked; a later look may find more or less captured."""
    captured = charge.captured_amount
    if captured > charge.amount:
        return unknown("capture_mismatch")
    if op.capture and captured != charge.amount:
        return unknown("capture_mismatch")
    if direct and not op.capture and (captured or charge.capturable_amount != charge.amount):
        return unknown("capture_mismatch")
    return _outcome(charge, Result.APPROVED)


def _action(charge: Charge) -> Outcome:
    url = redirect_or_none(charge.action.redirect_url if charge.action else None, plain_http=True)
    if url is None:
        return unknown("redirect_url_invalid")
    return _outcome(charge, Result.ACTION_REQUIRED, redirect_url=url)


def _declined(charge: Charge, failure: Failure) -> Outcome:
    result = Result.BLOCKED if charge.outcome == "blocked" else Result.DECLINED
    return _outcome(charge, result, failure=failure)


def _voided(charge: Charge) -> Outcome:
    return Outcome(
        result=Result.DECLINED,
        raw_code="voided",
        gateway_reference=charge.id,
        amount_authorized_minor=0,
        amount_captured_minor=charge.captured_amount,
        decline=canceled_decline(),
    )


def _follow_up(op: Operation, done: OperationEcho, charge: Charge) -> Outcome:
    reference = done.id if op.kind is OperationKind.REFUND else charge.id
    if done.status == "failed":
        reason = raw(done.failure.code) if done.failure else "failed"
        code = "refund_failed" if op.kind is OperationKind.REFUND else "gateway_refused"
        return rejected(code, reason, gateway_reference=reference)
    results = {"succeeded": Result.SUCCEEDED, "pending": Result.PENDING}
    result = results.get(done.status)
    if result is None:
        return unknown(f"status_{raw(done.status)}"[:64])
    if op.kind is OperationKind.CAPTURE and not _covers(op, charge):
        return unknown("capture_mismatch")
    return Outcome(
        result=result,
        raw_code=done.status,
        gateway_reference=reference,
        amount_authorized_minor=charge.amount,
        amount_captured_minor=charge.captured_amount,
    )


def _covers(op: Operation, charge: Charge) -> bool:
    return op.amount.minor <= charge.captured_amount <= charge.amount


def _refused(answer: GatewayAnswer) -> Outcome:
    body = decode(ERROR, answer.body)
    if body is None:
        return unknown("unparsable")
    code = raw(body.error.code)
    ours = _REFUSALS.get(code)
    return unknown(code) if ours is None else rejected(ours, code)


def _outcome(
    charge: Charge,
    result: Result,
    *,
    redirect_url: str | None = None,
    failure: Failure | None = None,
) -> Outcome:
    decline = None
    if failure is not None:
        decline = decline_for(failure.code, network_code=network_code(failure.network_code))
    authorized = charge.status in ("approved", "held")
    return Outcome(
        result=result,
        raw_code=raw(failure.code) if failure else raw(charge.status),
        gateway_reference=charge.id,
        amount_authorized_minor=charge.amount if authorized else 0,
        amount_captured_minor=charge.captured_amount,
        decline=decline,
        redirect_url=redirect_url,
        risk=risk_of(charge.risk.level if charge.risk else None),
        network_transaction_id=network_code(charge.network_transaction_id),
    )

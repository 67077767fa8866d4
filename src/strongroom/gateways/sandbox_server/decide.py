"""What the gateway and its issuers decide. Pure: no clock, no store, no I/O."""

from __future__ import annotations

from datetime import date

from msgspec.structs import replace

from strongroom.gateways.sandbox_server.cards import BEHAVIORS, Authentication, Behavior
from strongroom.gateways.sandbox_server.errors import Refused
from strongroom.gateways.sandbox_server.model import (
    Card,
    ChargeRequest,
    ChargeRow,
    State,
    Status,
)
from strongroom.kernel.secret import luhn_valid

_YEARS_AHEAD_MAX = 50


def decide_charge(request: ChargeRequest, behavior: Behavior, *, today: date, now: int) -> State:
    """Decide how a new charge begins."""
    code = _card_fault(request.card, today=today)
    if code is not None:
        return State(Status.DECLINED, decline=code)
    if _wants_3ds(request, behavior):
        if request.off_session:
            return State(Status.DECLINED, decline="authentication_required")
        return State(Status.ACTION_REQUIRED, authentication="required")
    return decide_issuer(request.amount, behavior, capture=request.capture, now=now)


def decide_issuer(amount: int, behavior: Behavior, *, capture: bool, now: int) -> State:
    """Decide as the issuer does once the card data and 3DS are in order."""
    verification = amount == 0 and behavior.verifies
    if behavior.decline is not None and not verification:
        return State(Status.DECLINED, decline=behavior.decline)
    if behavior.held:
        return State(Status.HELD)
    if capture:
        return State(Status.APPROVED, captured=amount, captured_at=now)
    return State(Status.APPROVED)


def decide_authentication(row: ChargeRow, *, passed: bool, now: int) -> State:
    """Decide how a charge goes on when its card holder has been to the 3DS page."""
    if not passed:
        return State(Status.DECLINED, decline="authentication_failed", authentication="failed")
    behavior = BEHAVIORS[row.behavior]
    state = decide_issuer(row.amount, behavior, capture=row.capture, now=now)
    return replace(state, authentication="succeeded")


def decide_capture(row: ChargeRow, amount: int | None) -> tuple[State, int]:
    """Decide a capture; captures of a held charge end the hold.

    Returns:
        The new state and the captured amount in minor units.
    """
    if row.state.status is Status.VOIDED:
        raise Refused(400, "charge_already_voided", "The charge was voided.")
    _require(row, Status.APPROVED, Status.HELD)
    if row.capturable == 0:
        raise Refused(400, "charge_already_captured", "Nothing is left to capture.")
    amount = _within(amount, row.capturable)
    captured = row.state.captured + amount
    return replace(row.state, status=Status.APPROVED, captured=captured), amount


def decide_void(row: ChargeRow) -> tuple[State, int]:
    """Decide a void: what is not captured is released; returns state and released amount."""
    state = row.state
    if state.status is Status.VOIDED or (state.voided and row.capturable == 0):
        raise Refused(400, "charge_already_voided", "The charge was voided.")
    _require(row, Status.APPROVED, Status.HELD, Status.ACTION_REQUIRED)
    waiting = state.status is Status.ACTION_REQUIRED
    amount = row.amount if waiting else row.capturable
    if state.captured and amount == 0:
        raise Refused(400, "charge_already_captured", "The charge was captured; refund it.")
    status = state.status if state.captured else Status.VOIDED
    return replace(state, status=status, voided=amount), amount


def decide_release(row: ChargeRow) -> tuple[State, int]:
    """Decide the end of a hold; returns the new state and the amount captured by it."""
    if row.state.status is not Status.HELD:
        raise Refused(400, "charge_not_held", "The charge does not await a review.")
    captured = row.amount if row.capture else 0
    return replace(row.state, status=Status.APPROVED, captured=captured), captured


def decide_refund(row: ChargeRow, amount: int | None) -> tuple[State, int]:
    """Decide a refund; returns the new state and the refunded amount."""
    if row.state.captured == 0:
        raise Refused(400, "charge_not_captured", "Nothing was captured; void it instead.")
    if row.refundable == 0:
        raise Refused(400, "charge_already_refunded", "Nothing is left to refund.")
    amount = _within(amount, row.refundable)
    return replace(row.state, refunded=row.state.refunded + amount), amount


def check_cvc(card: Card, behavior: Behavior) -> str:
    """Return what the issuer says of the security code: `pass`, `fail` or `unchecked`."""
    if behavior.cvc is not None and (card.cvc is not None or behavior.decline):
        return behavior.cvc
    if card.cvc is None:
        return "unchecked"
    return "pass" if len(card.cvc) == _cvc_length(card.number) else "fail"


def check_avs(card: Card, behavior: Behavior) -> str:
    """Return what the issuer says of the address."""
    if behavior.avs is not None:
        return behavior.avs
    return "unchecked" if card.billing is None else "match"


def _card_fault(card: Card, *, today: date) -> str | None:
    if not luhn_valid(card.number):
        return "incorrect_number"
    if not 1 <= card.exp_month <= 12:
        return "invalid_expiry_month"
    if not 2000 <= card.exp_year <= today.year + _YEARS_AHEAD_MAX:
        return "invalid_expiry_year"
    if (card.exp_year, card.exp_month) < (today.year, today.month):
        return "expired_card"
    if card.cvc is not None and len(card.cvc) != _cvc_length(card.number):
        return "incorrect_cvc"
    return None


def _cvc_length(number: str) -> int:
    return 4 if number.startswith(("34", "37")) else 3


def _wants_3ds(request: ChargeRequest, behavior: Behavior) -> bool:
    match behavior.authentication:
        case Authentication.REQUIRED:
            return True
        case Authentication.ONCE:
            return not request.off_session
        case Authentication.SUPPORTED:
            return request.request_3ds
    return False


def _require(row: ChargeRow, *statuses: Status) -> None:
    if row.state.status not in statuses:
        now = row.state.status.name.lower()
        raise Refused(400, "charge_not_approved", f"The charge is {now}.")


def _within(amount: int | None, limit: int) -> int:
    if amount is None:
        return limit
    if amount > limit:
        raise Refused(400, "amount_too_large", f"At most {limit} is left.", param="amount")
    return amount

"""Renders charges and operations as the JSON that callers and webhooks see."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import msgspec

from strongroom.gateways.sandbox_server.cards import BEHAVIORS
from strongroom.gateways.sandbox_server.model import (
    ChargeRow,
    Kind,
    OperationRow,
    OperationStatus,
    State,
    Status,
)
from strongroom.gateways.sandbox_server.store import Store

Json = dict[str, object]

_DO_NOT_HONOR: Final = "05"
DECLINES: Final[dict[str, tuple[str, str]]] = {
    "generic_decline": (_DO_NOT_HONOR, "The card was declined."),
    "do_not_honor": (_DO_NOT_HONOR, "The card was declined."),
    "call_issuer": ("01", "The card was declined. The card holder should call the bank."),
    "insufficient_funds": ("51", "The card has insufficient funds."),
    "lost_card": ("41", "The card was reported lost."),
    "stolen_card": ("43", "The card was reported stolen."),
    "pickup_card": ("04", "The card cannot be used."),
    "restricted_card": ("62", "The card is restricted."),
    "expired_card": ("54", "The card has expired."),
    "invalid_expiry_month": ("54", "The expiry month is not a month."),
    "invalid_expiry_year": ("54", "The expiry year is not valid."),
    "incorrect_cvc": ("N7", "The security code is incorrect."),
    "incorrect_number": ("14", "The card number is incorrect."),
    "processing_error": ("96", "An error happened while the card was processed."),
    "issuer_not_available": ("91", "The bank could not be reached."),
    "try_again_later": ("19", "The card was declined for now."),
    "reenter_transaction": ("19", "The payment could not be processed by the bank."),
    "card_velocity_exceeded": ("65", "The card was used too often."),
    "transaction_not_allowed": ("57", "The card does not support this kind of purchase."),
    "card_not_supported": ("57", "The card does not support this kind of purchase."),
    "currency_not_supported": ("57", "The card does not support the currency."),
    "do_not_try_again": ("03", "The card was declined for good."),
    "revocation_of_authorization": ("R1", "The card holder revoked the authorization."),
    "authentication_required": ("1A", "The card must be authenticated with 3DS."),
    "authentication_failed": ("1A", "The 3DS authentication failed."),
    "fraudulent": ("59", "The payment was blocked as fraudulent."),
}
"""Decline code → response code of the network (ISO 8583 field 39) and message."""

REFUND_FAILED: Final = {"code": "refund_failed", "message": "The bank could not take the refund."}
_INVALID: Final = frozenset({"incorrect_number", "invalid_expiry_month", "invalid_expiry_year"})
_OUTCOMES: Final = {
    Status.APPROVED: "authorized",
    Status.VOIDED: "authorized",
    Status.HELD: "manual_review",
    Status.ACTION_REQUIRED: "pending",
}
_OPERATION_STATUS: Final = {
    Status.DECLINED: OperationStatus.FAILED,
    Status.ACTION_REQUIRED: OperationStatus.PENDING,
}


class Answers:
    """Renders rows of one store; knows the public URL for the 3DS pages."""

    def __init__(self, store: Store, *, page_key: bytes, public_url: str) -> None:
        self._store = store
        self._page_key = page_key
        self._public_url = public_url

    def charge(self, number: int, row: ChargeRow, state: State | None = None) -> Json:
        """Return the charge as it is, or as it was in `state`."""
        state = state or row.state
        charge_id = self._store.id_of(number, "ch")
        behavior = BEHAVIORS[row.behavior]
        open_minor = row.amount - state.captured - state.voided
        capturable = open_minor if state.status in (Status.APPROVED, Status.HELD) else 0
        return {
            "id": charge_id,
            "object": "charge",
            "status": state.status.name.lower(),
            "amount": row.amount,
            "currency": row.currency,
            "capturable_amount": capturable,
            "captured_amount": state.captured,
            "voided_amount": state.voided,
            "refunded_amount": state.refunded,
            "capture": row.capture,
            "card": {"brand": row.brand, "last4": row.last4},
            "decline": decline(state.decline),
            "action": self._action(charge_id, state),
            "authentication": {"status": state.authentication} if state.authentication else None,
            "risk": {"level": behavior.risk},
            "outcome": _outcome(row, state),
            "checks": {"cvc": row.cvc, "avs": row.avs},
            "network_transaction_id": f"{number % 10**9:09d}{row.created % 10**6:06d}",
            "reference": row.reference,
            "merchant_reference": row.merchant_reference,
            "created": row.created,
        }

    def own_operation(self, number: int, row: ChargeRow) -> Json:
        """Return the operation that made the charge."""
        status = _OPERATION_STATUS.get(row.state.status, OperationStatus.SUCCEEDED)
        failure = decline(row.state.decline)
        return self._operation(number, row, Kind.CHARGE, status, row.currency, number, failure)

    def operation(
        self, number: int, row: OperationRow, charge: ChargeRow, *, first: bool = False
    ) -> Json:
        """Return a follow-up operation as it is, or as it was `first` answered."""
        status = row.first_status if first else row.status
        failed = status is OperationStatus.FAILED
        return self._operation(
            number, row, row.kind, status, charge.currency, row.charge,
            REFUND_FAILED if failed else None,
        )  # fmt: skip

    def page_token(self, charge_id: str) -> str:
        """Return what makes the address of a charge's 3DS page unguessable."""
        return hmac.digest(self._page_key, charge_id.encode(), hashlib.sha256).hex()[:32]

    def _action(self, charge_id: str, state: State) -> Json | None:
        if state.status is not Status.ACTION_REQUIRED:
            return None
        url = f"{self._public_url}/3ds/{charge_id}/{self.page_token(charge_id)}"
        return {"type": "redirect", "redirect_url": url}

    def _operation(
        self,
        number: int,
        row: ChargeRow | OperationRow,
        kind: Kind,
        status: OperationStatus,
        currency: str,
        charge: int,
        failure: Json | dict[str, str] | None,
    ) -> Json:
        return {
            "id": self._store.id_of(number, "sop"),
            "object": "operation",
            "kind": kind.name.lower(),
            "status": status.name.lower(),
            "amount": row.amount,
            "currency": currency,
            "reference": row.reference,
            "charge": self._store.id_of(charge, "ch"),
            "failure": failure,
            "created": row.created,
        }


def decline(code: str | None) -> Json | None:
    """Return a decline as callers see it."""
    if code is None:
        return None
    network_code, message = DECLINES[code]
    return {"code": code, "message": message, "network_code": network_code}


def _outcome(row: ChargeRow, state: State) -> str:
    if state.status is Status.DECLINED:
        if BEHAVIORS[row.behavior].risk == "highest" and state.decline == "fraudulent":
            return "blocked"
        return "invalid" if state.decline in _INVALID else "issuer_declined"
    if row.amount == 0 and state.status is Status.APPROVED:
        return "verified"
    return _OUTCOMES[state.status]


encode = msgspec.json.Encoder().encode

"""The verbs of the sandbox gateway: charge, capture, void, release, refund, authenticate, inquire.

Each verb runs without awaiting anything, so two calls never see each other half done. An answer
given once is not stored: it is rendered again from the row's first state, byte for byte.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from strongroom.gateways.sandbox_server import decide
from strongroom.gateways.sandbox_server.answers import Answers, Json, encode
from strongroom.gateways.sandbox_server.cards import BEHAVIORS, behavior_of, brand_of
from strongroom.gateways.sandbox_server.errors import Refused, invalid, not_found
from strongroom.gateways.sandbox_server.later import Later
from strongroom.gateways.sandbox_server.model import (
    CaptureRequest,
    ChargeRequest,
    ChargeRow,
    Kind,
    OperationRow,
    OperationStatus,
    PlainRequest,
    RefundRequest,
    Row,
    State,
    Status,
)
from strongroom.gateways.sandbox_server.store import Store

FollowUp = CaptureRequest | RefundRequest | PlainRequest

_EVENTS: Final = {
    Kind.CAPTURE: "charge.captured",
    Kind.VOID: "charge.voided",
    Kind.RELEASE: "charge.released",
}
_REFUND_EVENTS: Final = {
    OperationStatus.PENDING: "refund.pending",
    OperationStatus.SUCCEEDED: "refund.succeeded",
    OperationStatus.FAILED: "refund.failed",
}
_DISPUTES: Final = {"dispute": "needs_response", "inquiry": "inquiry"}


class Events(Protocol):
    """Where the verbs tell what happened."""

    def wanted(self, *, told: bool) -> bool:
        """Return whether an event is sent that the caller was `told` of in an answer."""
        ...

    def publish(self, kind: str, data: Json) -> None:
        """Hand an event over for delivery."""
        ...


class Done(NamedTuple):
    """The JSON answer to a call that was processed, now or before."""

    body: bytes
    replayed: bool


class Gateway:
    """The gateway and its issuers."""

    def __init__(
        self,
        *,
        store: Store,
        answers: Answers,
        events: Events,
        later: Later,
        fingerprint_key: bytes,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._answers = answers
        self._events = events
        self._later = later
        self._fingerprint_key = fingerprint_key
        self._clock = clock

    def charge(self, key: bytes, request: ChargeRequest) -> Done:
        """Take a charge; a decline is an answer, not an error."""
        keys = self.fingerprint(key) + self.fingerprint(b"charge\n" + encode(request))
        if (known := self._replay(keys)) is not None:
            return known
        if request.amount == 0 and request.capture:
            raise invalid("An amount of 0 verifies a card: send capture false.", param="amount")
        row = self._new_charge(request, keys)
        number = self._store.append(row)
        self._announce_charge(number, row, told=True)
        return Done(encode(self._answers.charge(number, row)), replayed=False)

    def follow_up(self, kind: Kind, key: bytes, charge_id: str, request: FollowUp) -> Done:
        """Capture, void, release or refund a charge."""
        scope = f"{kind.name}\n{charge_id}\n".encode()
        keys = self.fingerprint(key) + self.fingerprint(scope + encode(request))
        if (known := self._replay(keys)) is not None:
            return known
        number, charge = self._find(charge_id)
        state, amount = _decide(kind, charge, request)
        charge = replace(charge, state=state)
        late = kind is Kind.REFUND and BEHAVIORS[charge.behavior].refund == "late"
        status = OperationStatus.PENDING if late else OperationStatus.SUCCEEDED
        row = OperationRow(
            int(self._clock()), request.reference, kind, number, amount, keys, status, status, state
        )
        self._store.replace(number, charge)
        operation = self._store.append(row)
        self._announce_operation(operation, row, charge)
        return Done(self._result(operation, row), replayed=False)

    def authenticate(self, charge_id: str, *, passed: bool) -> ChargeRow:
        """End the 3DS of a charge; once it is over, nothing changes any more."""
        number, row = self._find(charge_id)
        if row.state.status is not Status.ACTION_REQUIRED:
            return row
        state = decide.decide_authentication(row, passed=passed, now=int(self._clock()))
        row = replace(row, state=state)
        self._store.replace(number, row)
        self._announce_charge(number, row, told=False)
        return row

    def show(self, charge_id: str) -> bytes:
        """Return a charge as it is now."""
        return encode(self._answers.charge(*self._find(charge_id)))

    def look(self, charge_id: str) -> ChargeRow:
        """Return the row of a charge."""
        return self._find(charge_id)[1]

    def inquire(self, reference: str, kind: Kind | None) -> bytes:
        """Return what became of the operation with the caller's reference."""
        found = self._store.by_reference(reference, kind)
        if not found:
            raise not_found("operation")
        return self._result(*found[0])

    def fingerprint(self, data: bytes) -> bytes:
        """Return 8 bytes that stand for a key or body, and that only this gateway can make."""
        return hashlib.blake2b(data, digest_size=8, key=self._fingerprint_key).digest()

    def resume(self) -> None:
        """Take up the late refunds that an earlier process left open."""
        for number, row in self._store.oldest_first():
            if isinstance(row, OperationRow) and row.kind is Kind.REFUND:
                self._refund_later(number, row)

    def _new_charge(self, request: ChargeRequest, keys: bytes) -> ChargeRow:
        card, now = request.card, int(self._clock())
        name = behavior_of(card.number)
        behavior = BEHAVIORS[name]
        today = datetime.fromtimestamp(now, UTC).date()
        state = decide.decide_charge(request, behavior, today=today, now=now)
        return ChargeRow(
            created=now,
            reference=request.reference,
            amount=request.amount,
            currency=request.currency,
            behavior=name,
            brand=brand_of(card.number),
            last4=card.number[-4:],
            cvc=decide.check_cvc(card, behavior),
            avs=decide.check_avs(card, behavior),
            keys=keys,
            first=state,
            state=state,
            capture=request.capture,
            merchant_reference=request.merchant_reference,
            return_url=request.return_url if state.authentication else None,
        )

    def _replay(self, keys: bytes) -> Done | None:
        found = self._store.by_key(keys[:8])
        if found is None:
            return None
        number, row = found
        if row.keys != keys:
            raise Refused(
                422, "idempotency_key_reused", "The key was used for another request before."
            )
        if isinstance(row, ChargeRow):
            return Done(encode(self._answers.charge(number, row, row.first)), replayed=True)
        return Done(self._result(number, row, first=True), replayed=True)

    def _result(self, number: int, row: Row, *, first: bool = False) -> bytes:
        if isinstance(row, ChargeRow):
            operation = self._answers.own_operation(number, row)
            return encode({"operation": operation, "charge": self._answers.charge(number, row)})
        charge = self._charge_of(row)
        if charge is None:
            raise not_found("operation")
        state = row.state if first else None
        return encode(
            {
                "operation": self._answers.operation(number, row, charge, first=first),
                "charge": self._answers.charge(row.charge, charge, state),
            }
        )

    def _find(self, charge_id: str) -> tuple[int, ChargeRow]:
        number = self._store.number_of(charge_id, "ch")
        row = self._store.get(number)
        if not isinstance(row, ChargeRow):
            raise not_found("charge")
        return number, row

    def _charge_of(self, row: OperationRow) -> ChargeRow | None:
        """Return the charge of an operation; None when it is older than what is kept."""
        charge = self._store.get(row.charge)
        return charge if isinstance(charge, ChargeRow) else None

    def _announce_charge(self, number: int, row: ChargeRow, *, told: bool) -> None:
        state = row.state
        if state.captured:
            self._after_capture(number, row)
        if not self._events.wanted(told=told):
            return
        data: Json = {
            "operation": self._answers.own_operation(number, row),
            "charge": self._answers.charge(number, row),
            "dispute": None,
        }
        self._events.publish(f"charge.{state.status.name.lower()}", data)
        if state.captured:
            self._events.publish("charge.captured", data)

    def _announce_operation(self, number: int, row: OperationRow, charge: ChargeRow) -> None:
        if row.kind is Kind.REFUND:
            self._refund_later(number, row)
        elif row.kind in (Kind.CAPTURE, Kind.RELEASE) and row.amount:
            self._after_capture(row.charge, charge)
        kind = _EVENTS.get(row.kind) or _REFUND_EVENTS[row.status]
        self._publish_operation(kind, number, row, charge, told=True)
        if row.kind is Kind.RELEASE and row.amount:
            self._publish_operation("charge.captured", number, row, charge, told=True)

    def _publish_operation(
        self, kind: str, number: int, row: OperationRow, charge: ChargeRow, *, told: bool
    ) -> None:
        if self._events.wanted(told=told):
            data: Json = {
                "operation": self._answers.operation(number, row, charge),
                "charge": self._answers.charge(row.charge, charge),
                "dispute": None,
            }
            self._events.publish(kind, data)

    def _refund_later(self, number: int, row: OperationRow) -> None:
        charge = self._charge_of(row)
        behavior = BEHAVIORS[charge.behavior].refund if charge else ""
        if row.status is OperationStatus.PENDING:
            self._later.add(lambda: self._end_refund(number, OperationStatus.SUCCEEDED))
        elif row.status is OperationStatus.SUCCEEDED and behavior == "fails":
            self._later.add(lambda: self._end_refund(number, OperationStatus.FAILED))

    def _end_refund(self, number: int, status: OperationStatus) -> None:
        row = self._store.get(number)
        charge = self._charge_of(row) if isinstance(row, OperationRow) else None
        if not isinstance(row, OperationRow) or charge is None:
            return
        row = replace(row, status=status)
        if status is OperationStatus.FAILED:
            refunded = charge.state.refunded - row.amount
            charge = replace(charge, state=replace(charge.state, refunded=refunded))
            self._store.replace(row.charge, charge)
        self._store.replace(number, row)
        self._publish_operation(_REFUND_EVENTS[status], number, row, charge, told=False)

    def _after_capture(self, number: int, row: ChargeRow) -> None:
        what = BEHAVIORS[row.behavior].after_capture
        if what is not None:
            self._later.add(lambda: self._open_dispute(number, what))

    def _open_dispute(self, number: int, what: str) -> None:
        row = self._store.get(number)
        if not isinstance(row, ChargeRow) or not self._events.wanted(told=False):
            return
        dispute: Json = {
            "id": self._store.id_of(number, "dp"),
            "reason": "fraudulent",
            "status": _DISPUTES.get(what, "warning"),
            "amount": row.state.captured,
            "currency": row.currency,
        }
        kind = "dispute.opened" if what in _DISPUTES else "fraud_warning.created"
        operation = self._answers.own_operation(number, row)
        charge = self._answers.charge(number, row)
        self._events.publish(kind, {"operation": operation, "charge": charge, "dispute": dispute})


def _decide(kind: Kind, charge: ChargeRow, request: FollowUp) -> tuple[State, int]:
    match request:
        case CaptureRequest():
            return decide.decide_capture(charge, request.amount)
        case RefundRequest():
            return decide.decide_refund(charge, request.amount)
    return decide.decide_void(charge) if kind is Kind.VOID else decide.decide_release(charge)

"""Payments, operations and the commands that change them: frozen values, amounts in minor units."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from strongroom.kernel.money import Money
from strongroom.kernel.secret import Cvc, EncryptedCard
from strongroom.vault import CardInput


class Status(enum.Enum):
    """Where a payment stands; the moves between them are in `states.py`."""

    PROCESSING = "processing"
    REQUIRES_ACTION = "requires_action"
    REQUIRES_REVIEW = "requires_review"
    AUTHORIZED = "authorized"
    PARTIALLY_CAPTURED = "partially_captured"
    CAPTURED = "captured"
    CANCELED = "canceled"
    DECLINED = "declined"
    BLOCKED = "blocked"


class CaptureMethod(enum.Enum):
    """Whether money is captured with the authorization or by later calls."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


class Kind(enum.Enum):
    """What an operation asks of the gateway."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"


class Progress(enum.Enum):
    """Whether an operation has ended."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class CardDisplay(msgspec.Struct, frozen=True):
    """What may be shown of a card (PCI DSS 3.4.1): BIN and last four digits."""

    token: str
    brand: str
    bin: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as stored. Amounts are minor units of `currency`.

    `capturing_minor` and `refunding_minor` are reserved by operations in flight.
    """

    merchant: str
    id: str
    version: int
    status: Status
    amount_minor: int
    currency: str
    capture_method: CaptureMethod
    authorized_minor: int = 0
    captured_minor: int = 0
    capturing_minor: int = 0
    refunded_minor: int = 0
    refunding_minor: int = 0
    card: CardDisplay
    reference: str | None
    description: str | None
    metadata: dict[str, str]
    return_url: str | None
    decline_code: str | None = None
    decline_message: str | None = None
    action_url: str | None = None
    gateway: str
    gateway_reference: str | None = None
    created_at: datetime
    updated_at: datetime

    @property
    def amount(self) -> Money:
        """The amount that was asked for."""
        return Money(self.amount_minor, self.currency)

    @property
    def capturable_minor(self) -> int:
        """What may still be captured, in minor units."""
        if self.status not in (Status.AUTHORIZED, Status.PARTIALLY_CAPTURED):
            return 0
        return self.authorized_minor - self.captured_minor - self.capturing_minor

    @property
    def refundable_minor(self) -> int:
        """What may still be refunded, in minor units."""
        return self.captured_minor - self.refunded_minor - self.refunding_minor


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing asked of the gateway on behalf of a payment."""

    merchant: str
    id: str
    payment: str
    kind: Kind
    status: Progress
    amount_minor: int
    reason: str | None = None
    decline_code: str | None = None
    decline_message: str | None = None
    gateway_reference: str | None = None
    claim: UUID | None = None
    checks: int = 0
    next_check_at: datetime
    created_at: datetime
    updated_at: datetime


class Refund(msgspec.Struct, frozen=True):
    """A refund as callers see it; its id is the operation's with prefix `ref_`."""

    id: str
    payment: Payment
    amount_minor: int
    status: str
    reason: str | None
    failure_code: str | None
    created_at: datetime


Permit = Callable[[Mapping[str, str | int], int], object]
"""Asks the policies about a payment by its attributes (access/schema.cedarschema), and by how much
of it was given back or is about to be, in minor units."""


class Caller(msgspec.Struct, frozen=True):
    """Who asks, for the journal: principal id, request id.

    `permit` asks the policies about the very payment, and raises when they forbid it.
    """

    principal: str
    request: str | None
    permit: Permit | None = None

    def may(self, payment: Payment, *, operation: str, amount_minor: int) -> None:
        """Raise `permission_denied` when policies forbid this with the payment as it is."""
        left = {"capture": payment.capturable_minor, "refund": payment.refundable_minor}
        if self.permit is not None:
            self.permit(
                {
                    "state": payment.status.value,
                    "operation": operation,
                    "amount": amount_minor,
                    "left": left.get(operation, payment.amount_minor),
                    "currency": payment.currency,
                },
                payment.refunded_minor + payment.refunding_minor,
            )


class TokenSource(msgspec.Struct, frozen=True):
    """A card that is in the vault already, with a fresh security code or without one."""

    token: str
    cvc: Cvc | None = None


class EncryptedSource(msgspec.Struct, frozen=True):
    """A card that a client encrypted; only the vault opens it."""

    encrypted: EncryptedCard


class CreatePayment(msgspec.Struct, frozen=True, kw_only=True):
    """A payment to be taken."""

    amount: Money
    capture_method: CaptureMethod
    source: CardInput | TokenSource | EncryptedSource
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] = {}
    return_url: str | None = None


class Idempotency(msgspec.Struct, frozen=True):
    """An idempotency key with what it was used for (IETF draft idempotency-key-header).

    `payload` is the canonical request without card data; cards enter the comparison only as the
    vault's keyed commitment.
    """

    key: str
    scope: str
    payload: bytes


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer kept under an idempotency key: status and exact body bytes."""

    status: int
    body: bytes
    replayed: bool = False


class Renderer(Protocol):
    """Turns results into answers; the API implements it, so that stored bytes are sent bytes."""

    def payment(
        self, payment: Payment, *, created: bool, pending: bool, request: str | None
    ) -> Answer:
        """Return the answer for a payment; `pending` while the outcome is still looked up."""
        ...

    def refund(self, refund: Refund, *, request: str | None) -> Answer:
        """Return the answer for a refund."""
        ...

    def rejected(
        self,
        payment: Payment,
        *,
        kind: str,
        code: str | None,
        message: str | None,
        request: str | None,
    ) -> Answer:
        """Return the answer for a capture or void that the gateway refused for good."""
        ...


class Page(msgspec.Struct, frozen=True):
    """One page of a list, newest first."""

    data: list[Any]
    has_more: bool

"""What the sandbox gateway is told, what it remembers, and what it answers.

A row never holds a card number or a security code: of a card it keeps the brand, the last four
digits and the name of the behavior.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import Meta

Amount = Annotated[int, Meta(ge=0, le=999_999_999_999)]
Positive = Annotated[int, Meta(ge=1, le=999_999_999_999)]
Currency = Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z")]
Reference = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.:-]{1,64}\Z")]
Text = Annotated[str, Meta(max_length=200)]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The part of every request's body that all have."""

    reference: Reference


class Billing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The card holder's address, as far as issuers check it."""

    line1: Text | None = None
    postal_code: Text | None = None


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A card in clear, for the time of one call."""

    number: Annotated[str, Meta(pattern=r"\A[0-9]{12,19}\Z")]
    exp_month: Annotated[int, Meta(ge=0, le=99)]
    exp_year: Annotated[int, Meta(ge=0, le=9999)]
    cvc: Annotated[str, Meta(pattern=r"\A[0-9]{1,8}\Z")] | None = None
    holder_name: Text | None = None
    billing: Billing | None = None

    def __repr__(self) -> str:
        return "Card(…)"


class ChargeRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/charges`."""

    amount: Amount
    currency: Currency
    card: Card
    capture: bool = True
    return_url: Annotated[str, Meta(max_length=2048)] | None = None
    merchant_reference: Text | None = None
    off_session: bool = False
    request_3ds: bool = False


class CaptureRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/charges/{id}/capture`."""

    amount: Positive | None = None


class RefundRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/charges/{id}/refunds`."""

    amount: Positive | None = None
    reason: Text | None = None


class PlainRequest(Request, frozen=True, kw_only=True):
    """`POST /v1/charges/{id}/void` and `/release`."""


class Status(IntEnum):
    """Where a charge stands; the wire name is the lower-case name."""

    APPROVED = 0
    HELD = 1
    DECLINED = 2
    ACTION_REQUIRED = 3
    VOIDED = 4


class Kind(IntEnum):
    """What an operation does."""

    CHARGE = 0
    CAPTURE = 1
    VOID = 2
    RELEASE = 3
    REFUND = 4


class OperationStatus(IntEnum):
    """How an operation ended."""

    SUCCEEDED = 0
    PENDING = 1
    FAILED = 2


class State(msgspec.Struct, frozen=True, array_like=True):
    """The part of a charge that changes."""

    status: Status
    captured: int = 0
    voided: int = 0
    refunded: int = 0
    decline: str | None = None
    authentication: str | None = None
    captured_at: int = 0
    """When the charge captured itself (`capture: true`); 0 when it did not."""


class ChargeRow(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """A charge and the operation that made it."""

    created: int
    reference: str
    amount: int
    currency: str
    behavior: str
    brand: str
    last4: str
    cvc: str
    avs: str
    keys: bytes
    first: State
    state: State
    capture: bool = True
    merchant_reference: str | None = None
    return_url: str | None = None

    @property
    def capturable(self) -> int:
        """What may still be captured or voided, in minor units."""
        if self.state.status not in (Status.APPROVED, Status.HELD):
            return 0
        return self.amount - self.state.captured - self.state.voided

    @property
    def refundable(self) -> int:
        """What may still be refunded, in minor units."""
        return self.state.captured - self.state.refunded


class OperationRow(msgspec.Struct, frozen=True, array_like=True, tag="o"):
    """A capture, void, release or refund, with the charge's state right after it."""

    created: int
    reference: str
    kind: Kind
    charge: int
    """The row number of its charge."""
    amount: int
    keys: bytes
    first_status: OperationStatus
    status: OperationStatus
    state: State
    failure: str | None = None


Row = ChargeRow | OperationRow

"""Stripe's objects as far as we read them. Types are strict, fields we do not use are ignored."""

from __future__ import annotations

from typing import Annotated

import msgspec

from strongroom.gateways.reading import Code, Count, GatewayId, Url

API_VERSION = "2026-10-28.endive"
"""The version every call pins; the newest one the official SDK 16.1 speaks."""

OPERATION = "strongroom_operation"
PAYMENT = "strongroom_payment"
"""Metadata keys: what inquiries and echo checks look for."""

_Key = Annotated[str, msgspec.Meta(max_length=100)]
_Value = Annotated[str, msgspec.Meta(max_length=1_000)]
Metadata = Annotated[dict[_Key, _Value], msgspec.Meta(max_length=100)]
"""Twice what Stripe's limits are: others than we may write metadata of any text."""


class RedirectToUrl(msgspec.Struct, frozen=True):
    """Where the shopper authenticates."""

    url: Url | None = None


class NextAction(msgspec.Struct, frozen=True):
    """What a payment intent waits for."""

    type: Code
    redirect_to_url: RedirectToUrl | None = None


class ChargeOutcome(msgspec.Struct, frozen=True):
    """What Stripe Radar and the issuer said."""

    type: Code | None = None
    risk_level: Code | None = None
    network_decline_code: Code | None = None
    advice_code: Code | None = None


class CardDetails(msgspec.Struct, frozen=True):
    """Card facts of a charge."""

    network_transaction_id: Code | None = None


class PaymentMethodDetails(msgspec.Struct, frozen=True):
    """How a charge was paid."""

    card: CardDetails | None = None


class Charge(msgspec.Struct, frozen=True):
    """An expanded `latest_charge`."""

    id: GatewayId
    outcome: ChargeOutcome | None = None
    payment_method_details: PaymentMethodDetails | None = None


class PaymentError(msgspec.Struct, frozen=True):
    """The `error` of a refused call, or a payment intent's `last_payment_error`."""

    type: Code | None = None
    code: Code | None = None
    decline_code: Code | None = None
    network_decline_code: Code | None = None
    advice_code: Code | None = None
    payment_intent: PaymentIntent | None = None


class PaymentIntent(msgspec.Struct, frozen=True):
    """A payment at Stripe."""

    id: GatewayId
    status: Code
    amount: Count
    currency: Annotated[str, msgspec.Meta(pattern=r"\A[a-z]{3}\Z")]
    livemode: bool
    metadata: Metadata
    amount_received: Count | None = None
    amount_capturable: Count | None = None
    next_action: NextAction | None = None
    last_payment_error: PaymentError | None = None
    latest_charge: GatewayId | Charge | None = None

    @property
    def charge(self) -> Charge | None:
        """The latest charge when the answer has it expanded."""
        return self.latest_charge if isinstance(self.latest_charge, Charge) else None


class PaymentIntentPage(msgspec.Struct, frozen=True):
    """One page of a list of payment intents."""

    data: list[PaymentIntent]
    has_more: bool


class Refund(msgspec.Struct, frozen=True):
    """Money on its way back."""

    id: GatewayId
    amount: Count
    currency: Annotated[str, msgspec.Meta(pattern=r"\A[a-z]{3}\Z")]
    status: Code | None
    metadata: Metadata
    payment_intent: GatewayId | None = None
    failure_reason: Code | None = None


class RefundPage(msgspec.Struct, frozen=True):
    """One page of a list of refunds."""

    data: list[Refund]
    has_more: bool


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every 4xx."""

    error: PaymentError


class EventReference(msgspec.Struct, frozen=True):
    """An expanded reference inside an event object."""

    id: GatewayId


class EventObject(msgspec.Struct, frozen=True):
    """What an event is about."""

    object: Code
    id: GatewayId | None = None
    payment_intent: GatewayId | EventReference | None = None
    metadata: Metadata | None = None


class EventData(msgspec.Struct, frozen=True):
    """Wrapper of the event's object."""

    object: EventObject


class Event(msgspec.Struct, frozen=True):
    """A webhook body."""

    id: GatewayId
    type: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9_.]{1,100}\Z")]
    created: Count
    livemode: bool
    data: EventData


PAYMENT_INTENT = msgspec.json.Decoder(PaymentIntent)
PAYMENT_INTENT_PAGE = msgspec.json.Decoder(PaymentIntentPage)
REFUND = msgspec.json.Decoder(Refund)
REFUND_PAGE = msgspec.json.Decoder(RefundPage)
ERROR = msgspec.json.Decoder(ErrorAnswer)
EVENT = msgspec.json.Decoder(Event)

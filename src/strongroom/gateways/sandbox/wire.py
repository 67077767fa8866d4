"""The sandbox gateway's objects as far as we read them (docs/sandbox.md). Types are strict."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from strongroom.gateways.reading import Code, Count, GatewayId, Url

Reference = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{0,64}\Z")]
Currency = Annotated[str, msgspec.Meta(pattern=r"\A[A-Z]{3}\Z")]


class Failure(msgspec.Struct, frozen=True):
    """A decline, or why an operation failed."""

    code: Code
    network_code: Code | None = None


class Action(msgspec.Struct, frozen=True):
    """What the shopper must do."""

    redirect_url: Url


class RiskLevel(msgspec.Struct, frozen=True):
    """The gateway's fraud estimate."""

    level: Code


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """A payment at the sandbox."""

    id: GatewayId
    object: Literal["charge"]
    status: Code
    amount: Count
    currency: Currency
    capturable_amount: Count
    captured_amount: Count
    refunded_amount: Count
    reference: Reference
    outcome: Code
    decline: Failure | None = None
    action: Action | None = None
    risk: RiskLevel | None = None
    network_transaction_id: Code | None = None


class OperationEcho(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway did."""

    id: GatewayId
    object: Literal["operation"]
    kind: Code
    status: Code
    amount: Count
    currency: Currency
    reference: Reference
    charge: GatewayId
    failure: Failure | None = None


class ResultAnswer(msgspec.Struct, frozen=True):
    """The answer to captures, voids, releases, refunds and inquiries."""

    operation: OperationEcho
    charge: Charge


class ErrorBody(msgspec.Struct, frozen=True):
    """Why a call was refused."""

    code: Code


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every 4xx."""

    error: ErrorBody


class EventOperation(msgspec.Struct, frozen=True):
    """The operation an event is about."""

    reference: Reference


class EventCharge(msgspec.Struct, frozen=True):
    """The charge an event is about."""

    id: GatewayId


class EventData(msgspec.Struct, frozen=True):
    """What an event is about."""

    charge: EventCharge
    operation: EventOperation | None = None


class Event(msgspec.Struct, frozen=True):
    """A webhook body."""

    id: GatewayId
    object: Literal["event"]
    type: Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9_.]{1,100}\Z")]
    created: Count
    data: EventData


CHARGE = msgspec.json.Decoder(Charge)
RESULT = msgspec.json.Decoder(ResultAnswer)
ERROR = msgspec.json.Decoder(ErrorAnswer)
EVENT = msgspec.json.Decoder(Event)

"""What payments and a connector say to each other: operations, outcomes, events, capabilities.

A connector is pure: it builds requests and reads answers, and never sends anything or sees a card.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from strongroom.kernel.money import Money
from strongroom.kernel.secret import Secret
from strongroom.vault import GatewayAnswer, OutboundRequest

Retry = Literal["never", "later", "after_authentication", "fix_data"]
Risk = Literal["normal", "elevated", "highest"]
Topic = Literal["payment", "refund", "dispute", "fraud_warning", "other"]


class OperationKind(enum.Enum):
    """What an operation asks of the gateway; the value is part of its idempotency key."""

    AUTHORIZE = "authorize"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    CONFIRM = "confirm"


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing we want a gateway to do once.

    `amount` is what is asked; void and confirm concern all that is left, so theirs is not sent.
    `gateway_reference` is the payment's id at the gateway, known after its authorization.
    Without a `return_url` a payment that needs authentication may be declined by the gateway.
    """

    id: str
    kind: OperationKind
    payment_id: str
    amount: Money
    capture: bool = True
    gateway_reference: str | None = None
    reference: str | None = None
    description: str | None = None
    return_url: str | None = None
    has_cvc: bool = True
    request_3ds: bool = False


class Result(enum.Enum):
    """What became of an operation. Only `UNKNOWN`, `PENDING` and `MORE` call for an inquiry."""

    APPROVED = "approved"
    """Authorized, and captured too when the operation asked for it."""
    HELD = "held"
    """Authorized, awaits review at the gateway, nothing captured."""
    ACTION_REQUIRED = "action_required"
    """The shopper must authenticate at `redirect_url`."""
    DECLINED = "declined"
    BLOCKED = "blocked"
    """Declined by the gateway's own fraud rules."""
    SUCCEEDED = "succeeded"
    """The capture, void, refund or confirm is done."""
    REJECTED = "rejected"
    """Refused for good: nothing was done."""
    PENDING = "pending"
    """The gateway still works on it: ask again."""
    NOT_FOUND = "not_found"
    """Inquiry only: never processed, so far (see `Capabilities.not_found_final_after_s`)."""
    UNKNOWN = "unknown"
    """The answer proves nothing; `raw_code` says why."""
    RETRY = "retry"
    """Certainly not processed: the same request may be sent again after `retry_after_s`."""
    MORE = "more"
    """Inquiry only: ask again with `cursor`."""


class Decline(msgspec.Struct, frozen=True):
    """Why not: `code` in Stripe's vocabulary for the merchant, `message` safe for the shopper."""

    code: str
    message: str
    retry: Retry
    network_code: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer says about an operation, in our words and our minor units.

    `gateway_reference` is the payment's id at the gateway, for a refund the refund's. The amounts
    are totals of the payment. `raw_code` is the gateway's status or error code, or our reason.
    """

    result: Result
    raw_code: str
    gateway_reference: str | None = None
    amount_authorized_minor: int | None = None
    amount_captured_minor: int | None = None
    decline: Decline | None = None
    redirect_url: str | None = None
    risk: Risk | None = None
    network_transaction_id: str | None = None
    retry_after_s: int | None = None
    cursor: str | None = None


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway can do, and the times its inquiry rests on.

    An operation must not be sent later than `send_within_s` after its id was made. `NOT_FOUND` is
    final only `not_found_final_after_s` after it was last sent; before, it means `PENDING`.
    `confirm` says whether the gateway has a call that ends `HELD`; if not, capture or void.
    """

    idempotency: bool
    inquiry: bool
    partial_capture: bool
    multi_capture: bool
    automatic_capture: bool
    three_ds: bool
    confirm: bool
    retryable_statuses: frozenset[int]
    retryable_codes: frozenset[str]
    origins: tuple[str, ...]
    send_within_s: int
    not_found_final_after_s: int
    idempotency_window_s: int
    inquiry_pages_max: int


class GatewayEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A verified webhook: a hint to ask the gateway. Deduplicate on (`gateway`, `id`)."""

    gateway: str
    id: str
    type: str
    topic: Topic
    gateway_reference: str | None
    operation_id: str | None
    created_s: int


class Connector(Protocol):
    """One account at one gateway. Builders raise StrongroomError; `parse…` of answers never do."""

    @property
    def name(self) -> str:
        """The account's name, as stored with every payment."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What this gateway can do."""
        ...

    def authorize(self, op: Operation) -> OutboundRequest:
        """Build the request that authorizes (and captures, if asked) a card payment."""
        ...

    def capture(self, op: Operation) -> OutboundRequest:
        """Build the request that captures `op.amount` of an authorization."""
        ...

    def void(self, op: Operation) -> OutboundRequest:
        """Build the request that releases all that is not captured."""
        ...

    def refund(self, op: Operation) -> OutboundRequest:
        """Build the request that pays `op.amount` back."""
        ...

    def confirm(self, op: Operation) -> OutboundRequest:
        """Build the request that ends a hold."""
        ...

    def build(self, op: Operation) -> OutboundRequest:
        """Build the request for `op.kind`; the same operation always gives the same bytes."""
        ...

    def inquire(self, op: Operation, *, cursor: str | None = None) -> OutboundRequest:
        """Build the read-only request that asks what became of `op`."""
        ...

    def parse(self, op: Operation, answer: GatewayAnswer) -> Outcome:
        """Read the answer to `build(op)`."""
        ...

    def parse_inquiry(self, op: Operation, answer: GatewayAnswer) -> Outcome:
        """Read the answer to `inquire(op)`; never `RETRY`."""
        ...

    def parse_webhook(
        self,
        headers: Mapping[str, str],
        raw_body: bytes,
        *,
        now: datetime,
        secrets: Sequence[Secret[str]] | None = None,
    ) -> GatewayEvent:
        """Verify and read a webhook; `secrets` defaults to the account's.

        Raises:
            StrongroomError: `webhook_signature_invalid` or `webhook_malformed`.
        """
        ...

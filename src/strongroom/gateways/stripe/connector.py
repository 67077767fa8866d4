"""The Stripe connector: PaymentIntents over the pinned API version, one call per operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from strongroom.gateways.account import GatewayAccount
from strongroom.gateways.model import (
    Capabilities,
    GatewayEvent,
    Operation,
    OperationKind,
    Outcome,
)
from strongroom.gateways.signing import bearer
from strongroom.gateways.stripe import answers, events, inquiries, requests
from strongroom.kernel.secret import Secret
from strongroom.vault import GatewayAnswer, OutboundRequest


class StripeConnector:
    """One Stripe account."""

    def __init__(self, account: GatewayAccount) -> None:
        self._account = account
        self._authorization = bearer(account.secret)
        self._capabilities = Capabilities(
            idempotency=True,
            inquiry=True,
            partial_capture=True,
            multi_capture=False,
            automatic_capture=True,
            three_ds=True,
            confirm=False,
            retryable_statuses=frozenset({425, 429}),
            retryable_codes=answers.RETRYABLE_CODES,
            origins=(account.base_url,),
            send_within_s=requests.SEND_WITHIN_S,
            not_found_final_after_s=300,
            idempotency_window_s=24 * 3600,
            inquiry_pages_max=400,
        )

    @property
    def name(self) -> str:
        """The account's name."""
        return self._account.name

    @property
    def capabilities(self) -> Capabilities:
        """What Stripe can do with cards by default (no multicapture, no hold to confirm)."""
        return self._capabilities

    def authorize(self, op: Operation) -> OutboundRequest:
        """Build `POST /v1/payment_intents` with `confirm=true`."""
        return requests.authorize(self._account.base_url, self._authorization, op)

    def capture(self, op: Operation) -> OutboundRequest:
        """Build `POST /v1/payment_intents/{id}/capture`."""
        return requests.capture(self._account.base_url, self._authorization, op)

    def void(self, op: Operation) -> OutboundRequest:
        """Build `POST /v1/payment_intents/{id}/cancel`."""
        return requests.void(self._account.base_url, self._authorization, op)

    def refund(self, op: Operation) -> OutboundRequest:
        """Build `POST /v1/refunds`."""
        return requests.refund(self._account.base_url, self._authorization, op)

    def confirm(self, op: Operation) -> OutboundRequest:
        """Refuse: a payment in review at Stripe is captured or canceled, not released.

        Raises:
            StrongroomError: `operation_not_supported`, always.
        """
        raise requests.not_supported()

    def build(self, op: Operation) -> OutboundRequest:
        """Build the request for `op.kind`."""
        builders = {
            OperationKind.AUTHORIZE: self.authorize,
            OperationKind.CAPTURE: self.capture,
            OperationKind.VOID: self.void,
            OperationKind.REFUND: self.refund,
            OperationKind.CONFIRM: self.confirm,
        }
        return builders[op.kind](op)

    def inquire(self, op: Operation, *, cursor: str | None = None) -> OutboundRequest:
        """Build a read: the payment intent by id, else the list of its minute."""
        return requests.inquire(self._account.base_url, self._authorization, op, cursor)

    def parse(self, op: Operation, answer: GatewayAnswer) -> Outcome:
        """Read the answer to `build(op)`."""
        return answers.read(op, answer, live=self._account.live)

    def parse_inquiry(self, op: Operation, answer: GatewayAnswer) -> Outcome:
        """Read the answer to `inquire(op)`."""
        return inquiries.read_inquiry(op, answer, live=self._account.live)

    def parse_webhook(
        self,
        headers: Mapping[str, str],
        raw_body: bytes,
        *,
        now: datetime,
        secrets: Sequence[Secret[str]] | None = None,
    ) -> GatewayEvent:
        """Verify and read a webhook."""
        return events.read_event(
            self._account.name,
            headers,
            raw_body,
            now=now,
            secrets=self._account.webhook_secrets if secrets is None else secrets,
            live=self._account.live,
        )

"""The sandbox connector: our own gateway program, spoken to like any other."""

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
from strongroom.gateways.sandbox import answers, events, requests
from strongroom.gateways.signing import bearer
from strongroom.kernel.secret import Secret
from strongroom.vault import GatewayAnswer, OutboundRequest


class SandboxConnector:
    """One account at a sandbox gateway."""

    def __init__(self, account: GatewayAccount) -> None:
        self._account = account
        self._authorization = bearer(account.secret)
        self._capabilities = Capabilities(
            idempotency=True,
            inquiry=True,
            partial_capture=True,
            multi_capture=True,
            automatic_capture=True,
            three_ds=True,
            confirm=True,
            retryable_statuses=frozenset({425, 429}),
            retryable_codes=frozenset(),
            origins=(account.base_url,),
            send_within_s=600,
            not_found_final_after_s=6,
            idempotency_window_s=7 * 24 * 3600,
            inquiry_pages_max=1,
        )

    @property
    def name(self) -> str:
        """The account's name."""
        return self._account.name

    @property
    def capabilities(self) -> Capabilities:
        """What the sandbox can do: everything."""
        return self._capabilities

    def authorize(self, op: Operation) -> OutboundRequest:
        """Build `POST /v1/charges`."""
        return requests.authorize(self._account.base_url, self._authorization, op)

    def capture(self, op: Operation) -> OutboundRequest:
        """Build `POST /v1/charges/{id}/capture`."""
        return requests.follow_up(self._account.base_url, self._authorization, op)

    def void(self, op: Operation) -> OutboundRequest:
        """Build `POST /v1/charges/{id}/void`."""
        return requests.follow_up(self._account.base_url, self._authorization, op)

    def refund(self, op: Operation) -> OutboundRequest:
        """Build `POST /v1/charges/{id}/refunds`."""
        return requests.follow_up(self._account.base_url, self._authorization, op)

    def confirm(self, op: Operation) -> OutboundRequest:
        """Build `POST /v1/charges/{id}/release`."""
        return requests.follow_up(self._account.base_url, self._authorization, op)

    def build(self, op: Operation) -> OutboundRequest:
        """Build the request for `op.kind`."""
        if op.kind is OperationKind.AUTHORIZE:
            return self.authorize(op)
        return requests.follow_up(self._account.base_url, self._authorization, op)

    def inquire(self, op: Operation, *, cursor: str | None = None) -> OutboundRequest:
        """Build `GET /v1/operations`; there is never a second page."""
        return requests.inquire(self._account.base_url, self._authorization, op)

    def parse(self, op: Operation, answer: GatewayAnswer) -> Outcome:
        """Read the answer to `build(op)`."""
        return answers.read(op, answer)

    def parse_inquiry(self, op: Operation, answer: GatewayAnswer) -> Outcome:
        """Read the answer to `inquire(op)`."""
        return answers.read_inquiry(op, answer)

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
        )

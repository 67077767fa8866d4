"""The verbs of a payment: authorize, capture, cancel, refund, review, and what callers may read.

Each verb that moves money writes a reservation first, calls the gateway, and writes the outcome.
A crash or a lost answer in between leaves a pending operation that `recovery` ends.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit, urlunsplit

from strongroom.kernel.conditions import EVERYWHERE, Condition
from strongroom.kernel.errors import StrongroomError
from strongroom.payments import creating, events, operating, records, recovery
from strongroom.payments import idempotency as keys
from strongroom.payments.context import Context, as_refund
from strongroom.payments.decide import Step, decide_capture, decide_refund
from strongroom.payments.errors import Refusal, not_found
from strongroom.payments.idempotency import Key
from strongroom.payments.model import (
    Answer,
    Caller,
    CreatePayment,
    Idempotency,
    Kind,
    Page,
    Payment,
    Refund,
    Status,
)


class Payments:
    """Takes payments and keeps their state.

    A verb that was begun should run to its end: its callers do not cancel it when their own caller
    goes away. One that is cut off all the same is ended by `recover`.
    """

    def __init__(self, context: Context) -> None:
        self._ctx = context

    async def create(
        self,
        merchant: str,
        command: CreatePayment,
        *,
        caller: Caller,
        idempotency: Idempotency,
    ) -> Answer:
        """Take a payment: tokenize, reserve, call the gateway, post, answer.

        The answer is stored under the idempotency key in the same transaction as its effect.

        Raises:
            StrongroomError: the card or amount is refused, the key is in use or was used for
                another request, or the gateway certainly was not reached.
        """
        return await creating.create(
            self._ctx, merchant, command, caller=caller, source=idempotency
        )

    async def capture(
        self,
        merchant: str,
        payment_id: str,
        *,
        amount_minor: int | None,
        caller: Caller,
        idempotency: Idempotency,
    ) -> Answer:
        """Capture part or (None) all of what is authorized, in minor units."""

        def decider(payment: Payment, operation: str, key: Key, now: datetime) -> Step | Refusal:
            return decide_capture(
                payment,
                amount_minor=amount_minor,
                operation=operation,
                claim=key.id,
                now=now,
                patience=self._ctx.patience,
                multi_capture=self._ctx.connectors[payment.gateway].capabilities.multi_capture,
            )

        return await self._operate(merchant, payment_id, "capture", decider, caller, idempotency)

    async def cancel(
        self, merchant: str, payment_id: str, *, caller: Caller, idempotency: Idempotency
    ) -> Answer:
        """Release what is authorized and not captured."""
        return await operating.void(
            self._ctx, merchant, payment_id, caller=caller, source=idempotency
        )

    async def refund(
        self,
        merchant: str,
        payment_id: str,
        *,
        amount_minor: int | None,
        reason: str | None,
        caller: Caller,
        idempotency: Idempotency,
    ) -> Answer:
        """Refund part or (None) all of what is captured, in minor units."""

        def decider(payment: Payment, operation: str, key: Key, now: datetime) -> Step | Refusal:
            return decide_refund(
                payment,
                amount_minor=amount_minor,
                reason=reason,
                operation=operation,
                claim=key.id,
                now=now,
                patience=self._ctx.patience,
            )

        return await self._operate(merchant, payment_id, "refund", decider, caller, idempotency)

    async def review(
        self,
        merchant: str,
        payment_id: str,
        *,
        approve: bool,
        caller: Caller,
        idempotency: Idempotency,
    ) -> Answer:
        """End the review of a held payment: approve (and capture if automatic) or reject (void)."""
        if not approve:
            return await self.cancel(merchant, payment_id, caller=caller, idempotency=idempotency)
        answer, capture = await operating.approve(
            self._ctx, merchant, payment_id, caller=caller, source=idempotency
        )
        if capture or answer is None:
            return await self.capture(
                merchant, payment_id, amount_minor=None, caller=caller, idempotency=idempotency
            )
        return answer

    async def known(self, merchant: str, idempotency: Idempotency) -> Answer | None:
        """Return the answer that this very request was given before, if it was carried out.

        Raises:
            StrongroomError: `idempotency_key_in_use`, `idempotency_key_reused`.
        """
        found = await keys.resolve(self._ctx.database, keys.first(merchant, idempotency))
        return found if isinstance(found, Answer) else None

    async def get(self, merchant: str, payment_id: str) -> Payment:
        """Return a merchant's payment; raises `payment_not_found`."""
        return await self._ctx.payment(merchant, payment_id)

    async def refunds(self, merchant: str, payment_id: str) -> builtins.list[Refund]:
        """Return the refunds of a payment, oldest first."""
        payment = await self.get(merchant, payment_id)
        found = await records.operations(self._ctx.database, merchant, payment_id)
        return [as_refund(payment, o) for o in found if o.kind is Kind.REFUND]

    async def list(
        self,
        merchant: str,
        *,
        limit: int,
        starting_after: str | None = None,
        ending_before: str | None = None,
        status: Status | None = None,
        reference: str | None = None,
        within: Condition = EVERYWHERE,
    ) -> Page:
        """Return a page of payments that their reader may see, newest first."""
        found = await records.payments(
            self._ctx.database,
            merchant,
            limit=limit + 1,
            after=starting_after,
            before=ending_before,
            status=status,
            reference=reference,
            within=within,
        )
        more = len(found) > limit
        if more:
            found = found[1:] if ending_before else found[:-1]
        return Page(found, more)

    async def returned(self, merchant: str, payment_id: str) -> str:
        """Look a payment up after its cardholder came back; return where to send the browser."""
        payment = await self.get(merchant, payment_id)
        if payment.return_url is None:
            raise not_found()
        if payment.status is Status.REQUIRES_ACTION:
            await recovery.resolve_open(self._ctx, payment)
            payment = await self.get(merchant, payment_id)
        parts = urlsplit(str(payment.return_url))
        told = f"payment={payment.id}&status={payment.status.value}"
        return urlunsplit(parts._replace(query=f"{parts.query}&{told}" if parts.query else told))

    async def gateway_event(
        self, gateway: str, headers: Mapping[str, str], raw_body: bytes
    ) -> None:
        """Take a gateway's webhook: verify, store once, and have recovery look up what it says.

        Raises:
            StrongroomError: `gateway_not_found`, `webhook_signature_invalid`, `webhook_malformed`.
        """
        await events.receive(self._ctx, gateway, headers, raw_body)

    async def recover(self, limit: int = 50) -> int:
        """Ask gateways about pending operations whose time has come; return how many there were."""
        found = await recovery.due(self._ctx, limit)
        results = await asyncio.gather(
            *(recovery.recover_one(self._ctx, o) for o in found),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, StrongroomError):
                raise result
        return len(found)

    async def waiting_for(self, merchant: str, tokens: Sequence[str]) -> bool:
        """Return whether a payment waits, for a review or its cardholder, that needs a token."""
        return bool(tokens) and await records.waiting_for(self._ctx.database, merchant, tokens)

    async def unsettled(self) -> int:
        """Return how many operations have waited for their outcome for more than a minute."""
        return await records.unsettled(self._ctx.database, self._ctx.now() - timedelta(minutes=1))

    async def purge(self) -> int:
        """Delete idempotency keys and gateway events past their retention; return how many."""
        now = self._ctx.now()
        purged = await keys.purge(self._ctx.database, now)
        return purged + await events.purge(self._ctx.database, now)

    async def _operate(
        self,
        merchant: str,
        payment_id: str,
        verb: str,
        decider: operating.Decider,
        caller: Caller,
        source: Idempotency,
    ) -> Answer:
        return await operating.operate(
            self._ctx, merchant, payment_id, verb, decider, caller=caller, source=source
        )

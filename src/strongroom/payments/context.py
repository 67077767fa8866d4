"""What the verbs of this room need from the rest of the house, in one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import msgspec

from strongroom.gateways import Connector, Routing
from strongroom.kernel.clock import Clock
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.ledger import Ledger
from strongroom.payments import records
from strongroom.payments.breaker import Breaker
from strongroom.payments.errors import not_found
from strongroom.payments.model import Operation, Payment, Refund, Renderer
from strongroom.storage import Committer, Database
from strongroom.vault import Vault

RACES = 20
"""How often a decision is made anew after another request changed the payment."""


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The lower rooms' doors and settings.

    `return_url` makes the address a cardholder's browser comes back to, from merchant and payment
    ids; `patience` is how long a pending operation is left to the request that made it; `observe`
    is told gateway, operation and result of each gateway call.
    """

    database: Database
    committer: Committer
    vault: Vault
    ledger: Ledger
    connectors: Mapping[str, Connector]
    routing: Routing
    renderer: Renderer
    return_url: Callable[[str, str], str]
    clock: Clock
    patience: timedelta
    breaker: Breaker
    observe: Callable[[str, str, str], None] = lambda gateway, operation, result: None

    def now(self) -> datetime:
        """Return the wall clock."""
        return self.clock.now()

    async def payment(self, merchant: str, payment_id: str) -> Payment:
        """Return a merchant's payment; raises `payment_not_found`."""
        found = await records.payment(self.database, merchant, payment_id)
        if found is None:
            raise not_found()
        return found

    async def reload(self, payment: Payment, operation: Operation) -> tuple[Payment, Operation]:
        """Return both as they are now, after another request changed them."""
        fresh = await self.payment(payment.merchant, payment.id)
        found = await records.operation(self.database, operation.merchant, operation.id)
        return fresh, found or operation


def as_refund(payment: Payment, operation: Operation) -> Refund:
    """Return a refund operation as callers see it."""
    return Refund(
        id=id_from("ref", uuid_of(operation.id, "op")),
        payment=payment,
        amount_minor=operation.amount_minor,
        status=operation.status.value,
        reason=operation.reason,
        failure_code=operation.decline_code,
        created_at=operation.created_at,
    )

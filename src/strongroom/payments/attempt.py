"""One gateway call with a bounded wait: builds, forwards, parses, and looks up what is unclear.

Answers are Outcomes, never exceptions: a lost connection is `UNKNOWN`, a refused one `RETRY`.
"""

from __future__ import annotations

import asyncio
from datetime import datetime

from strongroom.gateways import Connector, OperationKind, Outcome, Result
from strongroom.gateways import Operation as GatewayOperation
from strongroom.kernel.money import Money
from strongroom.payments.context import Context
from strongroom.payments.model import CaptureMethod, Kind, Operation, Payment
from strongroom.vault import CvcHandle, NotSent, OutboundRequest, OutcomeUnknown

UNCLEAR = (Result.PENDING, Result.UNKNOWN)
_INQUIRY_DELAYS_S = (0.05, 0.5)
"""When a caller waits, an unclear outcome is looked up at once and once more."""


def gateway_operation(
    payment: Payment, operation: Operation, *, return_url: str | None, has_cvc: bool = False
) -> GatewayOperation:
    """Return what the connector needs to know of an operation."""
    return GatewayOperation(
        id=operation.id,
        kind=OperationKind(operation.kind.value),
        payment_id=payment.id,
        amount=Money(operation.amount_minor, payment.currency),
        capture=payment.capture_method is CaptureMethod.AUTOMATIC,
        gateway_reference=payment.gateway_reference,
        reference=payment.reference,
        description=payment.description,
        return_url=return_url if payment.return_url else None,
        has_cvc=has_cvc,
    )


async def send(
    ctx: Context,
    connector: Connector,
    operation: GatewayOperation,
    request: OutboundRequest,
    *,
    merchant: str,
    token: str | None = None,
    cvc: CvcHandle | None = None,
) -> Outcome:
    """Send an operation to its gateway and return the outcome."""
    try:
        answer = await ctx.vault.forward(merchant, request, token=token, cvc=cvc)
        ctx.breaker.reached(connector.name)
        outcome = connector.parse(operation, answer)
    except NotSent:
        ctx.breaker.failed(connector.name)
        outcome = Outcome(result=Result.RETRY, raw_code="not_sent", retry_after_s=5)
    except OutcomeUnknown:
        outcome = Outcome(result=Result.UNKNOWN, raw_code="no_answer")
    ctx.observe(connector.name, operation.kind.value, outcome.result.value)
    return outcome


async def inquire(
    ctx: Context, connector: Connector, operation: GatewayOperation, *, merchant: str
) -> Outcome:
    """Ask the gateway what became of an operation; follows a bounded number of pages."""
    cursor: str | None = None
    for _ in range(connector.capabilities.inquiry_pages_max):
        request = connector.inquire(operation, cursor=cursor)
        try:
            answer = await ctx.vault.forward(merchant, request)
        except (NotSent, OutcomeUnknown):
            return Outcome(result=Result.PENDING, raw_code="inquiry_failed")
        outcome = connector.parse_inquiry(operation, answer)
        if outcome.result is not Result.MORE:
            ctx.observe(connector.name, "inquire", outcome.result.value)
            return outcome
        cursor = outcome.cursor
    return Outcome(result=Result.PENDING, raw_code="inquiry_too_long")


async def clear_up(
    ctx: Context,
    connector: Connector,
    operation: GatewayOperation,
    outcome: Outcome,
    *,
    merchant: str,
) -> Outcome:
    """While the caller waits, look an unclear outcome up; return it as it is if that fails."""
    for delay_s in _INQUIRY_DELAYS_S:
        if outcome.result not in UNCLEAR:
            break
        await asyncio.sleep(delay_s)
        found = await inquire(ctx, connector, operation, merchant=merchant)
        if found.result not in (*UNCLEAR, Result.NOT_FOUND, Result.RETRY):
            return found
    return outcome


def settled_absence(
    connector: Connector, operation: Operation, outcome: Outcome, now: datetime
) -> bool:
    """Return whether "never seen by the gateway" may be believed: only after a while."""
    age_s = (now - operation.created_at).total_seconds()
    return (
        outcome.result is Result.NOT_FOUND
        and age_s >= connector.capabilities.not_found_final_after_s
    )


def may_send(connector: Connector, operation: Operation, now: datetime) -> bool:
    """Return whether an operation without card data may still be sent (again)."""
    age_s = (now - operation.created_at).total_seconds()
    return operation.kind is not Kind.AUTHORIZE and age_s < connector.capabilities.send_within_s

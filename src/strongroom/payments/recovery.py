"""Ends operations whose outcome is unknown: asks the gateway before anything is done again.

An authorization is never sent again (its security code is gone); what carries no card data is sent
again under its own idempotency key, and only when the gateway says it never saw it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from strongroom.gateways import Connector, Outcome, Result
from strongroom.gateways import Operation as GatewayOperation
from strongroom.payments import attempt, operating, records, settling, writing
from strongroom.payments.context import Context
from strongroom.payments.decide import ACTION_TTL, decide_outcome
from strongroom.payments.model import Idempotency, Kind, Operation, Payment, Progress, Status

MIN_LEASE = timedelta(seconds=5)


async def due(ctx: Context, limit: int) -> list[Operation]:
    """Take pending operations whose time has come; other processes leave them alone meanwhile."""
    return await records.due_operations(
        ctx.database, ctx.now(), max(ctx.patience, MIN_LEASE), limit
    )


async def resolve_open(ctx: Context, payment: Payment) -> None:
    """Look up the authorization of a payment that waits for its cardholder."""
    for operation in await records.operations(ctx.database, payment.merchant, payment.id):
        if operation.status is Progress.PENDING and operation.kind is Kind.AUTHORIZE:
            await recover_one(ctx, operation)


async def recover_one(ctx: Context, operation: Operation) -> None:
    """Find out what became of one operation and write it."""
    payment = await ctx.payment(operation.merchant, operation.payment)
    connector = ctx.connectors.get(payment.gateway)
    if connector is None:
        return
    asked = attempt.gateway_operation(
        payment, operation, return_url=ctx.return_url(payment.merchant, payment.id)
    )
    outcome = await attempt.inquire(ctx, connector, asked, merchant=payment.merchant)
    if outcome.result is Result.NOT_FOUND:
        outcome = await _never_seen(ctx, connector, payment, operation, asked, outcome)
    if outcome.result is Result.ACTION_REQUIRED and _abandoned(payment, ctx.now()):
        await _void_abandoned(ctx, payment)
    step = decide_outcome(payment, operation, outcome, now=ctx.now())
    if step.done:
        await settling.settle(ctx, payment, operation, outcome, writing.RECOVERY)
    else:
        await records.put_off(ctx.database, step.operation)


async def _never_seen(
    ctx: Context,
    connector: Connector,
    payment: Payment,
    operation: Operation,
    asked: GatewayOperation,
    outcome: Outcome,
) -> Outcome:
    now = ctx.now()
    if attempt.may_send(connector, operation, now):
        sent = await attempt.send(
            ctx, connector, asked, connector.build(asked), merchant=payment.merchant
        )
        if sent.result is Result.RETRY:
            return Outcome(result=Result.PENDING, raw_code=sent.raw_code)
        return sent
    if not attempt.settled_absence(connector, operation, outcome, now):
        return Outcome(result=Result.PENDING, raw_code="not_found_yet")
    if operation.kind is Kind.AUTHORIZE:
        return outcome
    return Outcome(result=Result.REJECTED, raw_code="never_sent")


def _abandoned(payment: Payment, now: datetime) -> bool:
    return payment.status is Status.REQUIRES_ACTION and now - payment.created_at > ACTION_TTL


async def _void_abandoned(ctx: Context, payment: Payment) -> None:
    source = Idempotency(payment.id, "recovery:void_abandoned", b"")
    await operating.void(ctx, payment.merchant, payment.id, caller=writing.RECOVERY, source=source)

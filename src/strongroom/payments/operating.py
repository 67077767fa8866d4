"""Changing a payment that exists: capture, void, refund, and the review of a held one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace

from strongroom.gateways import Operation as GatewayOperation
from strongroom.kernel.ids import new_id
from strongroom.payments import attempt, idempotency, settling, writing
from strongroom.payments.context import RACES, Context
from strongroom.payments.decide import Step, decide_approve, decide_void
from strongroom.payments.errors import Refusal, refused
from strongroom.payments.model import (
    Answer,
    Caller,
    CaptureMethod,
    Idempotency,
    Payment,
    Status,
)
from strongroom.storage import Change, Verdict
from strongroom.vault import OutboundRequest

Decider = Callable[[Payment, str, idempotency.Key, datetime], Step | Refusal]
"""Decides a command from the payment, the new operation's id, the key and the time."""


async def operate(
    ctx: Context,
    merchant: str,
    payment_id: str,
    verb: str,
    decider: Decider,
    *,
    caller: Caller,
    source: Idempotency,
) -> Answer:
    """Reserve, call the gateway, write the outcome; decided anew when the payment changed."""
    key = idempotency.first(merchant, source)
    for _ in range(RACES):
        payment = await ctx.payment(merchant, payment_id)
        now = ctx.now()
        step = decider(payment, new_id("op"), key, now)
        if isinstance(step, Refusal):
            return await _refuse(ctx, payment, verb, step, key, caller)
        made = step.operation
        caller.may(payment, operation=made.kind.value, amount_minor=made.amount_minor)
        ctx.breaker.check(payment.gateway)
        asked = attempt.gateway_operation(step.payment, step.operation, return_url=None)
        request = ctx.connectors[payment.gateway].build(asked)
        change = Change()
        key.claim(change, now)
        writing.opened(change, step, caller, created=False)
        verdict = await ctx.committer.submit(change)
        if verdict is Verdict.COMMITTED:
            return await _carry_out(ctx, step, asked, request, caller)
        if verdict is Verdict.CLAIM_LOST:
            resolved = await idempotency.resolve(ctx.database, key)
            if isinstance(resolved, Answer):
                return resolved
            key = resolved
    raise refused(Refusal.OPERATION_IN_PROGRESS)


async def void(
    ctx: Context, merchant: str, payment_id: str, *, caller: Caller, source: Idempotency
) -> Answer:
    """Release what is authorized and not captured."""

    def decider(
        payment: Payment, operation: str, key: idempotency.Key, now: datetime
    ) -> Step | Refusal:
        return decide_void(
            payment, operation=operation, claim=key.id, now=now, patience=ctx.patience
        )

    return await operate(ctx, merchant, payment_id, "void", decider, caller=caller, source=source)


async def approve(
    ctx: Context, merchant: str, payment_id: str, *, caller: Caller, source: Idempotency
) -> tuple[Answer | None, bool]:
    """Approve a held payment.

    Returns the answer when there is one, and whether the payment must now be captured.
    """
    key = idempotency.first(merchant, source)
    for _ in range(RACES):
        payment = await ctx.payment(merchant, payment_id)
        automatic = payment.capture_method is CaptureMethod.AUTOMATIC
        if automatic and payment.status is Status.AUTHORIZED:
            return None, True
        approved = decide_approve(payment, now=ctx.now())
        if isinstance(approved, Refusal):
            return await _refuse(ctx, payment, "approve", approved, key, caller), False
        caller.may(payment, operation="approve", amount_minor=payment.amount_minor)
        answer = ctx.renderer.payment(
            approved, created=False, pending=False, request=caller.request
        )
        change = Change()
        writing.reviewed(change, approved, caller)
        if not automatic:
            key.claim(change, ctx.now(), answer=answer)
        verdict = await ctx.committer.submit(change)
        if verdict is Verdict.COMMITTED:
            return (None, True) if automatic else (answer, False)
        if verdict is Verdict.CLAIM_LOST:
            resolved = await idempotency.resolve(ctx.database, key)
            if isinstance(resolved, Answer):
                return resolved, False
            key = resolved
    raise refused(Refusal.OPERATION_IN_PROGRESS)


async def _carry_out(
    ctx: Context,
    step: Step,
    asked: GatewayOperation,
    request: OutboundRequest,
    caller: Caller,
) -> Answer:
    payment = replace(step.payment, version=step.payment.version + 1)
    connector = ctx.connectors[payment.gateway]
    outcome = await attempt.send(ctx, connector, asked, request, merchant=payment.merchant)
    outcome = await attempt.clear_up(ctx, connector, asked, outcome, merchant=payment.merchant)
    return await settling.settle(ctx, payment, step.operation, outcome, caller)


async def _refuse(
    ctx: Context,
    payment: Payment,
    verb: str,
    refusal: Refusal,
    key: idempotency.Key,
    caller: Caller,
) -> Answer:
    """Replay the key's answer if it has one; else record the refusal and raise it."""
    stored = await idempotency.resolve(ctx.database, key)
    if isinstance(stored, Answer):
        return stored
    change = Change()
    writing.refused(change, payment, verb=verb, code=refusal.value, caller=caller, at=ctx.now())
    await ctx.committer.submit(change)
    raise refused(refusal)

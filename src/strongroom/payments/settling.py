"""The second Change of every operation: what the gateway's answer does, written with the answer."""

from __future__ import annotations

import logging

from strongroom.gateways import Outcome, Result
from strongroom.kernel.errors import StrongroomError
from strongroom.payments import idempotency, records, writing
from strongroom.payments.context import RACES, Context, as_refund
from strongroom.payments.decide import decide_outcome
from strongroom.payments.model import (
    Answer,
    Caller,
    Kind,
    Operation,
    Payment,
    Progress,
    Status,
)
from strongroom.storage import Change, Verdict

_log = logging.getLogger("strongroom.payments")


async def settle(
    ctx: Context, payment: Payment, operation: Operation, outcome: Outcome, caller: Caller
) -> Answer:
    """Write what an outcome does and return the caller's answer.

    An outcome that settles nothing leaves the operation to recovery; the answer then says so.

    Raises:
        StrongroomError: `gateway_unavailable` when the operation certainly did not happen.
    """
    for _ in range(RACES):
        if outcome.result is Result.RETRY:
            return await _give_up(ctx, payment, operation, outcome, caller)
        step = decide_outcome(payment, operation, outcome, now=ctx.now())
        if not step.done:
            _log.warning("%s is unsettled: %s", operation.id, outcome.raw_code)
            await records.put_off(ctx.database, step.operation)
            return answer(ctx, payment, operation, caller)
        rendered = answer(ctx, step.payment, step.operation, caller)
        change = Change()
        writing.settled(change, step, caller, ctx.ledger, rendered)
        if await ctx.committer.submit(change) is Verdict.COMMITTED:
            return rendered
        payment, operation = await ctx.reload(payment, operation)
        if operation.status is not Progress.PENDING:
            break
    return await _answer_of_other(ctx, payment, operation, caller)


def answer(ctx: Context, payment: Payment, operation: Operation, caller: Caller) -> Answer:
    """Return what the caller of an operation is told."""
    if operation.kind is Kind.REFUND:
        return ctx.renderer.refund(as_refund(payment, operation), request=caller.request)
    authorize = operation.kind is Kind.AUTHORIZE
    if not authorize and operation.status is Progress.FAILED:
        return ctx.renderer.rejected(
            payment,
            kind=operation.kind.value,
            code=operation.decline_code,
            message=operation.decline_message,
            request=caller.request,
        )
    waiting = operation.status is Progress.PENDING
    return ctx.renderer.payment(
        payment,
        created=authorize,
        pending=waiting and payment.status is not Status.REQUIRES_ACTION,
        request=caller.request,
    )


async def _answer_of_other(
    ctx: Context, payment: Payment, operation: Operation, caller: Caller
) -> Answer:
    """Return the answer that another process stored for this operation, or the present state."""
    if operation.claim is not None:
        stored = await idempotency.stored_answer(ctx.database, payment.merchant, operation.claim)
        if stored is not None:
            return stored
    return answer(ctx, payment, operation, caller)


async def _give_up(
    ctx: Context, payment: Payment, operation: Operation, outcome: Outcome, caller: Caller
) -> Answer:
    """End an operation that certainly did not happen, free its key, and say so."""
    undone = Outcome(
        result=Result.NOT_FOUND if operation.kind is Kind.AUTHORIZE else Result.REJECTED,
        raw_code=outcome.raw_code,
    )
    for _ in range(RACES):
        step = decide_outcome(payment, operation, undone, now=ctx.now())
        change = Change()
        writing.settled(change, step, caller, ctx.ledger, None)
        writing.release(change, payment.merchant, operation.claim)
        if await ctx.committer.submit(change) is Verdict.COMMITTED:
            break
        payment, operation = await ctx.reload(payment, operation)
        if operation.status is not Progress.PENDING:
            return await _answer_of_other(ctx, payment, operation, caller)
    raise StrongroomError(
        "gateway_unavailable",
        "The payment gateway cannot be reached right now. Nothing was charged; try again.",
        detail=outcome.raw_code,
        retryable=True,
        retry_after_s=outcome.retry_after_s or 5,
    )

"""Taking a payment: card into the vault, reservation, gateway, outcome."""

from __future__ import annotations

from datetime import datetime

from strongroom.gateways import Connector, Outcome, route
from strongroom.gateways import Operation as GatewayOperation
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.payments import attempt, idempotency, settling, writing
from strongroom.payments.context import Context
from strongroom.payments.decide import Step, decide_amount, decide_create
from strongroom.payments.errors import Refusal, refused
from strongroom.payments.model import (
    Answer,
    Caller,
    CardDisplay,
    CreatePayment,
    EncryptedSource,
    Idempotency,
    TokenSource,
)
from strongroom.storage import Change, Verdict
from strongroom.vault import CardInput, CvcHandle, OutboundRequest, TokenView

_SPENT = ("encrypted_card_replayed", "encrypted_card_expired")
"""What the vault says of an encrypted card that may have made a payment already."""


async def create(
    ctx: Context, merchant: str, command: CreatePayment, *, caller: Caller, source: Idempotency
) -> Answer:
    """Take a payment and return its answer; see `Payments.create`."""
    refusal = decide_amount(command.amount)
    if refusal is not None:
        raise refused(refusal)
    gateway = route(ctx.routing, merchant=merchant)
    ctx.breaker.check(gateway)
    if isinstance(command.source, EncryptedSource):
        entered = await _encrypted(ctx, merchant, command.source, caller, source)
        if isinstance(entered, Answer):
            return entered
        key, card, cvc = entered
    else:
        key, card = await _card(ctx, merchant, command.source, caller, source)
        cvc = await _hold(ctx, merchant, command.source, card)
    try:
        opened = await _open(ctx, merchant, command, gateway, key, card, cvc, caller)
        if isinstance(opened, Answer):
            await _forget(ctx, merchant, command, card, caller)
            return opened
        step, asked, request = opened
        connector = ctx.connectors[gateway]
        outcome = await _attempt(ctx, connector, asked, request, step, cvc)
    except StrongroomError:
        await _forget(ctx, merchant, command, card, caller)
        raise
    finally:
        if cvc is not None:
            ctx.vault.drop_cvc(cvc)
    return await settling.settle(ctx, step.payment, step.operation, outcome, caller)


async def _open(
    ctx: Context,
    merchant: str,
    command: CreatePayment,
    gateway: str,
    key: idempotency.Key,
    card: CardDisplay,
    cvc: CvcHandle | None,
    caller: Caller,
) -> tuple[Step, GatewayOperation, OutboundRequest] | Answer:
    """Write the reservation under the key, or return the answer the key already has."""
    connector = ctx.connectors[gateway]
    while True:
        now = ctx.now()
        step = _decide(ctx, merchant, command, gateway, key, card, now)
        asked = attempt.gateway_operation(
            step.payment,
            step.operation,
            return_url=ctx.return_url(merchant, step.payment.id),
            has_cvc=cvc is not None,
        )
        request = connector.build(asked)
        change = Change()
        key.claim(change, now)
        writing.opened(change, step, caller, created=True)
        if await ctx.committer.submit(change) is Verdict.COMMITTED:
            return step, asked, request
        resolved = await idempotency.resolve(ctx.database, key)
        if isinstance(resolved, Answer):
            return resolved
        key = resolved


def _decide(
    ctx: Context,
    merchant: str,
    command: CreatePayment,
    gateway: str,
    key: idempotency.Key,
    card: CardDisplay,
    now: datetime,
) -> Step:
    step = decide_create(
        command,
        merchant=merchant,
        card=card,
        ids=(new_id("pay"), new_id("op")),
        gateway=gateway,
        claim=key.id,
        now=now,
        patience=ctx.patience,
    )
    if isinstance(step, Refusal):
        raise refused(step)
    return step


async def _attempt(
    ctx: Context,
    connector: Connector,
    asked: GatewayOperation,
    request: OutboundRequest,
    step: Step,
    cvc: CvcHandle | None,
) -> Outcome:
    payment = step.payment
    outcome = await attempt.send(
        ctx,
        connector,
        asked,
        request,
        merchant=payment.merchant,
        token=payment.card.token,
        cvc=cvc,
    )
    return await attempt.clear_up(ctx, connector, asked, outcome, merchant=payment.merchant)


async def _card(
    ctx: Context,
    merchant: str,
    given: CardInput | TokenSource,
    caller: Caller,
    source: Idempotency,
) -> tuple[idempotency.Key, CardDisplay]:
    if isinstance(given, TokenSource):
        view = await ctx.vault.take(
            merchant,
            given.token,
            use=f"{source.scope}\n{source.key}",
            actor=caller.principal,
            request_id=caller.request,
        )
        return idempotency.first(merchant, source), _display(view)
    commitment = await ctx.vault.commitment(merchant, given)
    view = await ctx.vault.tokenize(
        merchant, given, saved=False, actor=caller.principal, request_id=caller.request
    )
    return idempotency.first(merchant, source, commitment), _display(view)


async def _encrypted(
    ctx: Context, merchant: str, given: EncryptedSource, caller: Caller, source: Idempotency
) -> tuple[idempotency.Key, CardDisplay, CvcHandle | None] | Answer:
    """Have the vault open an encrypted card; a repeated request gets the answer it has already."""
    try:
        made = await ctx.vault.tokenize_encrypted(
            merchant,
            given.encrypted,
            saved=False,
            actor=caller.principal,
            hold_cvc=True,
            request_id=caller.request,
        )
    except StrongroomError as refusal:
        if refusal.code not in _SPENT:
            raise
        commitment = await ctx.vault.commitment_encrypted(merchant, given.encrypted)
        resolved = await idempotency.resolve(
            ctx.database, idempotency.first(merchant, source, commitment)
        )
        if not isinstance(resolved, Answer):
            raise
        return resolved
    return idempotency.first(merchant, source, made.commitment), _display(made.view), made.cvc


async def _hold(
    ctx: Context, merchant: str, given: CardInput | TokenSource, card: CardDisplay
) -> CvcHandle | None:
    if given.cvc is None:
        return None
    return await ctx.vault.hold_cvc(merchant, card.token, given.cvc)


async def _forget(
    ctx: Context, merchant: str, command: CreatePayment, card: CardDisplay, caller: Caller
) -> None:
    """Delete the token of a request that made no payment; it expires anyway if this fails."""
    if isinstance(command.source, TokenSource):
        return
    try:
        await ctx.vault.delete(
            merchant, card.token, actor=caller.principal, request_id=caller.request
        )
    except StrongroomError:
        return


def _display(view: TokenView) -> CardDisplay:
    return CardDisplay(
        view.token,
        view.brand,
        view.bin,
        view.last4,
        view.exp_month,
        view.exp_year,
        view.fingerprint,
    )

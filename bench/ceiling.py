"""The ceiling: the rows of a payment written by the committers from memory, nothing else done."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from strongroom.app import House, load
from strongroom.gateways import Outcome, Result
from strongroom.kernel.ids import new_id
from strongroom.kernel.money import Money
from strongroom.kernel.secret import Cvc, Pan, Secret
from strongroom.payments import (
    Answer,
    Caller,
    CaptureMethod,
    CreatePayment,
    Idempotency,
    idempotency,
    writing,
)
from strongroom.payments.decide import Step, decide_create, decide_outcome
from strongroom.payments.model import CardDisplay
from strongroom.storage import Change
from strongroom.vault import CardInput

_CALLER = Caller("system:bench", None)
_BODY = b"x" * 700
_CONCURRENCY = 64
_CARD = CardInput(
    number=Pan("4242424242424242"),
    exp_month=12,
    exp_year=2031,
    cvc=Cvc("123"),
    holder_name=Secret("Ada Lovelace"),
)


async def payments_per_s(data_dir: Path, seconds: float) -> float:
    """Write complete payments (token, reservation, outcome) for some seconds; return the rate."""
    async with House(load(data_dir, {})) as house:
        merchant = (await house.identity.list_merchants(limit=1))[0].id
        return await _run(house, merchant, seconds)


async def fill(house: House, merchant: str, count: int, tick: object = None) -> None:
    """Store `count` complete payments."""
    left = iter(range(count))

    async def work() -> None:
        for number in left:
            await _one(house, merchant, number)
            if tick is not None:
                tick(1)  # type: ignore[operator]

    await asyncio.gather(*(work() for _ in range(_CONCURRENCY * 4)))


async def _run(house: House, merchant: str, seconds: float) -> float:
    done = 0
    started = time.perf_counter()
    deadline = started + seconds

    async def work(worker: int) -> None:
        nonlocal done
        number = 0
        while time.perf_counter() < deadline:
            await _one(house, merchant, worker * 1_000_000 + number)
            number += 1
            done += 1

    await asyncio.gather(*(work(n) for n in range(_CONCURRENCY)))
    return done / (time.perf_counter() - started)


async def _one(house: House, merchant: str, number: int) -> None:
    view = await house.vault.tokenize(merchant, _CARD, saved=False, actor=_CALLER.principal)
    now = datetime.now(UTC)
    source = Idempotency(os.urandom(8).hex(), "POST /v1/payments", b"")
    key = idempotency.first(merchant, source)
    command = CreatePayment(
        amount=Money(100 + number % 9_000, "EUR"),
        capture_method=CaptureMethod.AUTOMATIC,
        source=_CARD,
        reference=f"order-{number}",
    )
    opened = decide_create(
        command,
        merchant=merchant,
        card=CardDisplay(
            view.token,
            view.brand,
            view.bin,
            view.last4,
            view.exp_month,
            view.exp_year,
            view.fingerprint,
        ),
        ids=(new_id("pay"), new_id("op")),
        gateway="sandbox",
        claim=key.id,
        now=now,
        patience=timedelta(seconds=30),
    )
    assert isinstance(opened, Step)
    first = Change()
    key.claim(first, now)
    writing.opened(first, opened, _CALLER, created=True)
    await house.committer.submit(first)
    outcome = Outcome(result=Result.APPROVED, gateway_reference="ch_bench", raw_code="approved")
    settled = decide_outcome(opened.payment, opened.operation, outcome, now=now)
    second = Change()
    writing.settled(second, settled, _CALLER, house.ledger, Answer(201, _BODY))
    await house.committer.submit(second)

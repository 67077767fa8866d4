"""What must be true after any fault: charged once, nothing lost, books balanced, journal whole."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

from strongroom.storage import Database
from strongroom.storage.embedded import EmbeddedPostgres
from tests.support.pay import gateway
from tests.support.stack import Stack

_OPEN = ("processing",)
_PENDING = (
    "SELECT count(*) FROM pay.operation o JOIN pay.payment p ON "
    "p.merchant_id = o.merchant_id AND p.id = o.payment_id "
    "WHERE o.status = 'pending' AND p.status <> 'requires_action'"
)


def await_settled(stack: Stack, within_s: float = 60) -> None:
    """Wait until no operation is pending."""
    left = asyncio.run(_await_settled(stack, within_s))
    assert left == 0, f"{left} operations are still pending"


async def _await_settled(stack: Stack, within_s: float) -> int:
    database = Database(EmbeddedPostgres(stack.data_dir).target("strongroom_pay"), size=1)
    await database.open()
    try:
        deadline = time.monotonic() + within_s
        while (left := int(await database.fetchval(_PENDING))) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return left
    finally:
        await database.close()


def check(stack: Stack) -> dict[str, Any]:
    """Compare our books with the gateway's; return our payments by id."""
    await_settled(stack)
    known = gateway(stack)
    assert known["duplicates"] == [], "an operation was processed twice by the gateway"

    async def read(house: Any) -> tuple[Any, Any, Any, Any]:
        payments = await house.database.fetch(
            "SELECT id, status, amount, authorized, captured, capturing, refunded, refunding, "
            "gateway_reference FROM pay.payment"
        )
        claims = await house.database.fetch("SELECT state FROM pay.idempotency")
        report = await _verify(house)
        return payments, claims, await house.ledger.proof(), report

    payments, claims, (total, drift), report = stack.admin(read)
    assert (total, drift) == (0, [])
    assert report.ok, report.problems
    assert Counter(row["state"] for row in claims)["running"] == 0
    assert sum(row["captured"] for row in payments) == known["captured_minor"]
    assert sum(row["refunded"] for row in payments) == known["refunded_minor"]
    assert all(row["capturing"] == row["refunding"] == 0 for row in payments)
    assert not [row for row in payments if row["status"] in _OPEN]
    references = [row["gateway_reference"] for row in payments if row["gateway_reference"]]
    assert len(references) == len(set(references))
    return {str(row["id"]): dict(row) for row in payments}


async def _verify(house: Any) -> Any:
    from strongroom.journal import verify_store
    from strongroom.journal.note import verifier_key

    key = verifier_key(house.keyring.signer()).text()
    return await verify_store(house.journal_database, public_keys=[key])

"""The books: what the database itself refuses, and that balances are the sum of postings."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from strongroom.kernel.ids import new_id, new_uuid7, uuid_of
from strongroom.ledger import Account, Ledger, Movement, captured, refunded
from strongroom.ledger.records import POSTING
from strongroom.storage import Change, Committer, ConstraintViolated
from strongroom.storage.change import StorageUnavailable
from tests.support.database import TestDatabase

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def post(ledger: Ledger, merchant: str, movement: Movement, operation: str = "") -> Change:
    change = Change()
    ledger.post(
        change,
        movement,
        merchant=merchant,
        payment=new_id("pay"),
        operation=operation or new_id("op"),
        at=NOW,
    )
    return change


async def test_balances_are_the_sum_of_postings_across_processes(pg: TestDatabase) -> None:
    database = await pg.database("strongroom_pay")
    committers = [await pg.committer(), await pg.committer()]
    ledgers = [Ledger(database, shard=n) for n in (1, 2)]
    merchant = new_id("mer")

    async def work(ledger: Ledger, committer: Committer) -> None:
        for _ in range(10):
            await asyncio.gather(
                *(committer.submit(post(ledger, merchant, captured(100, "EUR"))) for _ in range(5)),
                committer.submit(post(ledger, merchant, refunded(30, "EUR"))),
                committer.submit(post(ledger, merchant, captured(7, "JPY"))),
            )

    await asyncio.gather(*(work(*pair) for pair in zip(ledgers, committers, strict=True)))
    found = {(b.account, b.currency): b for b in await ledgers[0].balances(merchant)}
    receivable = found[Account.GATEWAY_RECEIVABLE, "EUR"]
    assert (receivable.debit_minor, receivable.credit_minor) == (10_000, 600)
    assert found[Account.MERCHANT_PAYABLE, "EUR"].balance_minor == -9_400
    assert found[Account.MERCHANT_PAYABLE, "JPY"].balance_minor == -140
    assert await ledgers[0].proof() == (0, [])


async def test_one_operation_posts_once(pg: TestDatabase) -> None:
    committer = await pg.committer()
    ledger = Ledger(await pg.database("strongroom_pay"))
    merchant, operation = new_id("mer"), new_id("op")
    await committer.submit(post(ledger, merchant, captured(100, "EUR"), operation))
    with pytest.raises(ConstraintViolated) as caught:
        await committer.submit(post(ledger, merchant, captured(100, "EUR"), operation))
    assert caught.value.constraint == "posting_operation"
    assert await ledger.proof() == (0, [])


async def test_the_database_refuses_a_transaction_that_is_not_zero(pg: TestDatabase) -> None:
    committer = await pg.committer()
    merchant = uuid_of(new_id("mer"), "mer")

    def lines(*amounts: int) -> Change:
        change = Change()
        transaction, payment, operation = new_uuid7(), new_uuid7(), new_uuid7()
        for number, amount in enumerate(amounts):
            account = "merchant_payable" if amount < 0 else "gateway_receivable"
            change.add(
                POSTING,
                (merchant, transaction, number, payment, operation, account, "EUR", amount, NOW),
            )
        return change

    good, bad = await asyncio.gather(
        committer.submit(lines(100, -100)),
        committer.submit(lines(100, -99)),
        return_exceptions=True,
    )
    assert not isinstance(good, BaseException)
    assert isinstance(bad, ConstraintViolated)
    assert bad.constraint == "posting_zero_sum"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger.posting SET amount = amount + 1",
        "DELETE FROM ledger.posting",
        "TRUNCATE ledger.posting",
    ],
)
async def test_postings_are_append_only(pg: TestDatabase, statement: str) -> None:
    committer = await pg.committer()
    ledger = Ledger(await pg.database("strongroom_pay"))
    await committer.submit(post(ledger, new_id("mer"), captured(1, "EUR")))
    serving = await pg.database("strongroom_pay")
    with pytest.raises(StorageUnavailable) as denied:
        await serving.execute(statement)
    assert "42501" in denied.value.detail
    root = await pg.database("postgres")
    with pytest.raises(ConstraintViolated) as refused:
        await root.execute(statement)
    assert refused.value.constraint == "posting_append_only"

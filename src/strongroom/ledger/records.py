"""The ledger's SQL: postings and sharded balances."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from strongroom.kernel.ids import id_from, new_uuid7
from strongroom.ledger.model import Account, Balance, Movement, Posting
from strongroom.storage import Add, Change, Database, Insert

POSTING = Insert(
    "ledger.posting",
    {
        "merchant_id": "uuid",
        "transaction_id": "uuid",
        "line": "int2",
        "payment_id": "uuid",
        "operation_id": "uuid",
        "account": "text",
        "currency": "text",
        "amount": "int8",
        "at": "timestamptz",
    },
)
BALANCE = Add(
    "ledger.balance",
    keys={"merchant_id": "uuid", "account": "text", "currency": "text", "shard": "int2"},
    sums={"debit": "int8", "credit": "int8"},
)


def add_movement(
    change: Change,
    movement: Movement,
    *,
    merchant: UUID,
    payment: UUID,
    operation: UUID,
    at: datetime,
    shard: int,
) -> None:
    """Add the two postings of a movement and their balances to a Change."""
    transaction = new_uuid7()
    amount, currency = movement.amount_minor, movement.currency
    debit, credit = movement.debit.value, movement.credit.value
    head = (merchant, transaction)
    change.add(POSTING, (*head, 1, payment, operation, debit, currency, amount, at))
    change.add(POSTING, (*head, 2, payment, operation, credit, currency, -amount, at))
    change.add(BALANCE, (merchant, debit, currency, shard, amount, 0))
    change.add(BALANCE, (merchant, credit, currency, shard, 0, amount))


async def postings(database: Database, merchant: UUID, payment: UUID) -> list[Posting]:
    """Return the postings of a payment, oldest first."""
    rows = await database.fetch(
        "SELECT transaction_id, line, payment_id, operation_id, account, currency, amount, at "
        "FROM ledger.posting WHERE merchant_id = $1 AND payment_id = $2 "
        "ORDER BY transaction_id, line LIMIT 1000",
        merchant,
        payment,
    )
    return [_posting(row) for row in rows]


async def balances(database: Database, merchant: UUID) -> list[Balance]:
    """Return the totals of a merchant's accounts, by currency and account."""
    rows = await database.fetch(
        "SELECT account, currency, sum(debit)::int8 AS debit, sum(credit)::int8 AS credit "
        "FROM ledger.balance WHERE merchant_id = $1 GROUP BY account, currency "
        "ORDER BY currency, account",
        merchant,
    )
    return [
        Balance(Account(row["account"]), row["currency"], row["debit"], row["credit"])
        for row in rows
    ]


async def drift(database: Database) -> list[tuple[str, str, str, int]]:
    """Return accounts whose balance is not the sum of their postings; empty when all agree."""
    rows = await database.fetch(
        "SELECT coalesce(p.merchant_id, b.merchant_id) AS merchant_id, "
        "coalesce(p.account, b.account) AS account, coalesce(p.currency, b.currency) AS currency, "
        "coalesce(p.total, 0) - coalesce(b.total, 0) AS gap FROM "
        "(SELECT merchant_id, account, currency, sum(amount) AS total FROM ledger.posting "
        "GROUP BY 1, 2, 3) p FULL JOIN "
        "(SELECT merchant_id, account, currency, sum(debit - credit) AS total "
        "FROM ledger.balance GROUP BY 1, 2, 3) b USING (merchant_id, account, currency) "
        "WHERE coalesce(p.total, 0) <> coalesce(b.total, 0)"
    )
    return [
        (id_from("mer", row["merchant_id"]), row["account"], row["currency"], int(row["gap"]))
        for row in rows
    ]


async def total(database: Database) -> int:
    """Return the sum of all postings in minor units; anything but zero is a broken ledger."""
    return int(await database.fetchval("SELECT coalesce(sum(amount), 0) FROM ledger.posting"))


def _posting(row: Any) -> Posting:
    return Posting(
        transaction=id_from("txn", row["transaction_id"]),
        line=row["line"],
        payment=id_from("pay", row["payment_id"]),
        operation=id_from("op", row["operation_id"]),
        account=Account(row["account"]),
        currency=row["currency"],
        amount_minor=row["amount"],
        at=row["at"],
    )

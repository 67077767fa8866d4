"""The payments room's SQL: payments and operations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from strongroom.kernel.conditions import EVERYWHERE, Condition
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.payments.model import (
    CaptureMethod,
    CardDisplay,
    Kind,
    Operation,
    Payment,
    Progress,
    Status,
)
from strongroom.storage import Change, Column, Database, Guard, Insert, Update, where

PAYMENT = Insert(
    "pay.payment",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "status": "text",
        "amount": "int8",
        "currency": "text",
        "capture_method": "text",
        "token": "text",
        "brand": "text",
        "bin": "text",
        "last4": "text",
        "exp_month": "int2",
        "exp_year": "int2",
        "fingerprint": "text",
        "reference": "text",
        "description": "text",
        "metadata": "jsonb",
        "return_url": "text",
        "gateway": "text",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
    },
)
PAYMENT_STATE = Guard(
    "pay.payment",
    keys={"merchant_id": "uuid", "id": "uuid"},
    sets={
        "status": "text",
        "authorized": "int8",
        "captured": "int8",
        "capturing": "int8",
        "refunded": "int8",
        "refunding": "int8",
        "decline_code": "text",
        "decline_message": "text",
        "action_url": "text",
        "gateway_reference": "text",
        "updated_at": "timestamptz",
    },
)
OPERATION = Insert(
    "pay.operation",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "payment_id": "uuid",
        "kind": "text",
        "status": "text",
        "amount": "int8",
        "reason": "text",
        "gateway_reference": "text",
        "claim_id": "uuid",
        "next_check_at": "timestamptz",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
    },
)
OPERATION_STATE = Update(
    "pay.operation",
    keys={"merchant_id": "uuid", "id": "uuid"},
    sets={
        "status": "text",
        "decline_code": "text",
        "decline_message": "text",
        "gateway_reference": "text",
        "checks": "int4",
        "next_check_at": "timestamptz",
        "updated_at": "timestamptz",
    },
)
VISIBLE_BY = {
    "merchant": Column("merchant_id", "uuid", str, lambda text: uuid_of(text, "mer")),
    "state": Column("status", "text", str),
    "amount": Column("amount", "bigint", int),
    "currency": Column("currency", "text", str),
}
"""The attributes by which policies may tell payments apart, and their columns."""

_PAYMENT_COLUMNS = (
    "merchant_id, id, version, status, amount, currency, capture_method, authorized, captured, "
    "capturing, refunded, refunding, token, brand, bin, last4, exp_month, exp_year, fingerprint, "
    "reference, description, metadata::text AS metadata, return_url, decline_code, "
    "decline_message, action_url, gateway, gateway_reference, created_at, updated_at"
)
_OPERATION_COLUMNS = (
    "merchant_id, id, payment_id, kind, status, amount, reason, decline_code, decline_message, "
    "gateway_reference, claim_id, checks, next_check_at, created_at, updated_at"
)


def add_payment(change: Change, payment: Payment) -> None:
    """Add a new payment to a Change."""
    card = payment.card
    change.add(
        PAYMENT,
        (
            uuid_of(payment.merchant, "mer"),
            uuid_of(payment.id, "pay"),
            payment.status.value,
            payment.amount_minor,
            payment.currency,
            payment.capture_method.value,
            card.token,
            card.brand,
            card.bin,
            card.last4,
            card.exp_month,
            card.exp_year,
            card.fingerprint,
            payment.reference,
            payment.description,
            msgspec.json.encode(payment.metadata).decode(),
            payment.return_url,
            payment.gateway,
            payment.created_at,
            payment.updated_at,
        ),
    )


def add_payment_state(change: Change, payment: Payment) -> None:
    """Add a payment's new state to a Change, guarded by the version it was decided on."""
    change.add(
        PAYMENT_STATE,
        (
            uuid_of(payment.merchant, "mer"),
            uuid_of(payment.id, "pay"),
            payment.version,
            payment.status.value,
            payment.authorized_minor,
            payment.captured_minor,
            payment.capturing_minor,
            payment.refunded_minor,
            payment.refunding_minor,
            payment.decline_code,
            payment.decline_message,
            payment.action_url,
            payment.gateway_reference,
            payment.updated_at,
        ),
    )


def add_operation(change: Change, operation: Operation) -> None:
    """Add a new operation to a Change."""
    change.add(
        OPERATION,
        (
            uuid_of(operation.merchant, "mer"),
            uuid_of(operation.id, "op"),
            uuid_of(operation.payment, "pay"),
            operation.kind.value,
            operation.status.value,
            operation.amount_minor,
            operation.reason,
            operation.gateway_reference,
            operation.claim,
            operation.next_check_at,
            operation.created_at,
            operation.updated_at,
        ),
    )


def add_operation_state(change: Change, operation: Operation) -> None:
    """Add an operation's new state to a Change; the payment's guard protects it."""
    change.add(
        OPERATION_STATE,
        (
            uuid_of(operation.merchant, "mer"),
            uuid_of(operation.id, "op"),
            operation.status.value,
            operation.decline_code,
            operation.decline_message,
            operation.gateway_reference,
            operation.checks,
            operation.next_check_at,
            operation.updated_at,
        ),
    )


async def payment(database: Database, merchant: str, payment_id: str) -> Payment | None:
    """Return a merchant's payment or None."""
    row = await database.fetchrow(
        f"SELECT {_PAYMENT_COLUMNS} FROM pay.payment "  # noqa: S608 (constant columns)
        "WHERE merchant_id = $1 AND id = $2",
        uuid_of(merchant, "mer"),
        uuid_of(payment_id, "pay"),
    )
    return None if row is None else _payment(row)


async def payments(
    database: Database,
    merchant: str,
    *,
    limit: int,
    after: str | None,
    before: str | None,
    status: Status | None,
    reference: str | None,
    within: Condition = EVERYWHERE,
) -> list[Payment]:
    """Return payments newest first; with `before` those just newer than it, in the same order.

    `within` is what its reader may see (`VISIBLE_BY`).
    """
    values: list[Any] = [uuid_of(merchant, "mer")]
    terms: list[str] = ["merchant_id = $1", where(within, VISIBLE_BY, values)]
    for column, value in (
        ("status =", status.value if status else None),
        ("reference =", reference),
        ("id <", uuid_of(after, "pay") if after else None),
        ("id >", uuid_of(before, "pay") if before else None),
    ):
        if value is not None:
            values.append(value)
            terms.append(f"{column} ${len(values)}")
    order = "ASC" if before else "DESC"
    rows = await database.fetch(
        f"SELECT {_PAYMENT_COLUMNS} FROM pay.payment "  # noqa: S608 (constant columns, bound values)
        f"WHERE {' AND '.join(terms)} ORDER BY id {order} LIMIT {int(limit)}",
        *values,
    )
    found = [_payment(row) for row in rows]
    return found[::-1] if before else found


async def operation(database: Database, merchant: str, operation_id: str) -> Operation | None:
    """Return one operation or None."""
    row = await database.fetchrow(
        f"SELECT {_OPERATION_COLUMNS} FROM pay.operation "  # noqa: S608 (constant columns)
        "WHERE merchant_id = $1 AND id = $2",
        uuid_of(merchant, "mer"),
        uuid_of(operation_id, "op"),
    )
    return None if row is None else _operation(row)


async def operations(database: Database, merchant: str, payment_id: str) -> list[Operation]:
    """Return the operations of a payment, oldest first, at most a thousand."""
    rows = await database.fetch(
        f"SELECT {_OPERATION_COLUMNS} FROM pay.operation "  # noqa: S608 (constant columns)
        "WHERE merchant_id = $1 AND payment_id = $2 ORDER BY id LIMIT 1000",
        uuid_of(merchant, "mer"),
        uuid_of(payment_id, "pay"),
    )
    return [_operation(row) for row in rows]


async def due_operations(
    database: Database, now: datetime, lease: timedelta, limit: int
) -> list[Operation]:
    """Take pending operations that are due; other workers leave them alone for `lease`."""
    rows = await database.fetch(
        f"UPDATE pay.operation SET next_check_at = $2 WHERE (merchant_id, id) IN ("  # noqa: S608
        "SELECT merchant_id, id FROM pay.operation WHERE status = 'pending' "
        "AND next_check_at <= $1 ORDER BY next_check_at LIMIT $3 FOR UPDATE SKIP LOCKED) "
        f"RETURNING {_OPERATION_COLUMNS}",
        now,
        now + lease,
        limit,
    )
    return [_operation(row) for row in rows]


async def waiting_for(database: Database, merchant: str, tokens: Sequence[str]) -> bool:
    """Return whether a payment with one of the tokens still has to ask its gateway for money."""
    return bool(
        await database.fetchval(
            "SELECT EXISTS (SELECT 1 FROM pay.payment WHERE merchant_id = $1 "
            "AND status IN ('requires_action', 'requires_review') AND token = ANY ($2::text[]))",
            uuid_of(merchant, "mer"),
            list(tokens),
        )
    )


async def unsettled(database: Database, before: datetime) -> int:
    """Count pending operations that were made before a moment, cardholders' waits left out."""
    return int(
        await database.fetchval(
            "SELECT count(*) FROM pay.operation o JOIN pay.payment p ON "
            "p.merchant_id = o.merchant_id AND p.id = o.payment_id "
            "WHERE o.status = 'pending' AND o.created_at < $1 AND p.status <> 'requires_action'",
            before,
        )
    )


async def put_off(database: Database, operation: Operation) -> None:
    """Write when a pending operation is looked at next; no effect once it has ended."""
    await database.execute(
        "UPDATE pay.operation SET checks = $3, next_check_at = $4, updated_at = $5 "
        "WHERE merchant_id = $1 AND id = $2 AND status = 'pending'",
        uuid_of(operation.merchant, "mer"),
        uuid_of(operation.id, "op"),
        operation.checks,
        operation.next_check_at,
        operation.updated_at,
    )


def _payment(row: Any) -> Payment:
    return Payment(
        merchant=id_from("mer", row["merchant_id"]),
        id=id_from("pay", row["id"]),
        version=row["version"],
        status=Status(row["status"]),
        amount_minor=row["amount"],
        currency=row["currency"],
        capture_method=CaptureMethod(row["capture_method"]),
        authorized_minor=row["authorized"],
        captured_minor=row["captured"],
        capturing_minor=row["capturing"],
        refunded_minor=row["refunded"],
        refunding_minor=row["refunding"],
        card=CardDisplay(
            row["token"],
            row["brand"],
            row["bin"],
            row["last4"],
            row["exp_month"],
            row["exp_year"],
            row["fingerprint"],
        ),
        reference=row["reference"],
        description=row["description"],
        metadata=msgspec.json.decode(row["metadata"], type=dict[str, str]),
        return_url=row["return_url"],
        decline_code=row["decline_code"],
        decline_message=row["decline_message"],
        action_url=row["action_url"],
        gateway=row["gateway"],
        gateway_reference=row["gateway_reference"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _operation(row: Any) -> Operation:
    return Operation(
        merchant=id_from("mer", row["merchant_id"]),
        id=id_from("op", row["id"]),
        payment=id_from("pay", row["payment_id"]),
        kind=Kind(row["kind"]),
        status=Progress(row["status"]),
        amount_minor=row["amount"],
        reason=row["reason"],
        decline_code=row["decline_code"],
        decline_message=row["decline_message"],
        gateway_reference=row["gateway_reference"],
        claim=row["claim_id"],
        checks=row["checks"],
        next_check_at=row["next_check_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )

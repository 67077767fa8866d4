"""The SQL of merchants, and nobody else's."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from strongroom.identity.model import Level, MerchantView
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.storage import Change, Database, Guard, Insert

MERCHANT = Insert(
    "iam.merchant",
    {
        "merchant_id": "uuid",
        "name": "text",
        "status": "text",
        "required_level": "int2",
        "created_at": "timestamptz",
        "version": "int4",
    },
)
MERCHANT_STATUS = Guard("iam.merchant", keys={"merchant_id": "uuid"}, sets={"status": "text"})
MERCHANT_LEVEL = Guard(
    "iam.merchant", keys={"merchant_id": "uuid"}, sets={"required_level": "int2"}
)

_MERCHANT = (
    "SELECT merchant_id, name, status, required_level, created_at, version FROM iam.merchant "
)
_MERCHANT_BY_ID = _MERCHANT + "WHERE merchant_id = $1"
_MERCHANTS_AFTER = _MERCHANT + "WHERE merchant_id > $1 ORDER BY merchant_id LIMIT $2"


class StoredMerchant(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant with the version its next change must find."""

    view: MerchantView
    version: int


def add_merchant(change: Change, merchant: MerchantView) -> None:
    """Add a new merchant to a Change."""
    row = (
        uuid_of(merchant.id, "mer"),
        merchant.name,
        merchant.status,
        int(merchant.required_level),
        merchant.created_at,
        1,
    )
    change.add(MERCHANT, row)


def set_status(change: Change, merchant: StoredMerchant, status: str) -> None:
    """Add a merchant's new status to a Change, guarded by its version."""
    change.add(MERCHANT_STATUS, (uuid_of(merchant.view.id, "mer"), merchant.version, status))


def set_level(change: Change, merchant: StoredMerchant, level: Level) -> None:
    """Add a merchant's new lowest level to a Change, guarded by its version."""
    change.add(MERCHANT_LEVEL, (uuid_of(merchant.view.id, "mer"), merchant.version, int(level)))


async def find_merchant(database: Database, merchant: UUID) -> StoredMerchant | None:
    """Return one merchant."""
    row = await database.fetchrow(_MERCHANT_BY_ID, merchant)
    return None if row is None else _merchant(row)


async def merchants_after(database: Database, *, after: UUID, limit: int) -> list[MerchantView]:
    """Return merchants, oldest first."""
    rows = await database.fetch(_MERCHANTS_AFTER, after, limit)
    return [_merchant(row).view for row in rows]


def _merchant(row: Any) -> StoredMerchant:
    view = MerchantView(
        id=id_from("mer", row["merchant_id"]),
        name=row["name"],
        status=row["status"],
        created_at=row["created_at"],
        required_level=Level(row["required_level"]),
    )
    return StoredMerchant(view=view, version=row["version"])

"""The SQL of the keys room, and nobody else's. Only wrapped keys pass through here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from strongroom.keys.model import KeyRecord, StoredKey
from strongroom.storage import Change, Claim, Database

_KEK_COLUMNS = {
    "id": "uuid",
    "purpose": "text",
    "region": "text",
    "version": "int4",
    "root_id": "text",
    "algorithm": "text",
    "wrapped": "bytea",
    "kcv": "bytea",
    "state": "text",
    "created_at": "timestamptz",
}
KEK = Claim("keys.kek", _KEK_COLUMNS, key=("purpose", "region", "version"), id_column="id")

_MERCHANT_COLUMNS = {
    "merchant_id": "uuid",
    "version": "int4",
    "id": "uuid",
    "kek_id": "uuid",
    "algorithm": "text",
    "wrapped": "bytea",
    "kcv": "bytea",
    "state": "text",
    "created_at": "timestamptz",
}
DEK = Claim("keys.dek", _MERCHANT_COLUMNS, key=("merchant_id", "version"), id_column="id")
INDEX = Claim("keys.index_key", _MERCHANT_COLUMNS, key=("merchant_id", "version"), id_column="id")

_SERVICE_COLUMNS = {
    "id": "uuid",
    "purpose": "text",
    "version": "int4",
    "kek_id": "uuid",
    "algorithm": "text",
    "wrapped": "bytea",
    "kcv": "bytea",
    "public_key": "bytea",
    "state": "text",
    "created_at": "timestamptz",
}
SERVICE = Claim("keys.service_key", _SERVICE_COLUMNS, key=("purpose", "version"), id_column="id")


def add_kek(change: Change, key: StoredKey) -> None:
    """Claim a key-encryption key's place."""
    record = key.record
    change.add(
        KEK,
        (
            record.id,
            record.purpose,
            record.region,
            record.version,
            record.parent,
            record.algorithm,
            key.wrapped,
            key.kcv,
            key.state,
            record.created_at,
        ),
    )


def add_merchant_key(change: Change, key: StoredKey) -> None:
    """Claim the place of a merchant's data or index key."""
    record = key.record
    change.add(
        DEK if record.kind == "dek" else INDEX,
        (
            UUID(record.owner),
            record.version,
            record.id,
            UUID(record.parent),
            record.algorithm,
            key.wrapped,
            key.kcv,
            key.state,
            record.created_at,
        ),
    )


def add_service_key(change: Change, key: StoredKey) -> None:
    """Claim the place of a key of the installation."""
    record = key.record
    change.add(
        SERVICE,
        (
            record.id,
            record.purpose,
            record.version,
            UUID(record.parent),
            record.algorithm,
            key.wrapped,
            key.kcv,
            key.public_key,
            key.state,
            record.created_at,
        ),
    )


async def installation(database: Database) -> tuple[UUID, str] | None:
    """Return id and mode of the installation this database belongs to."""
    row = await database.fetchrow("SELECT id, mode FROM meta.installation")
    return None if row is None else (row["id"], row["mode"])


_KEK = (
    "SELECT id, purpose, region, version, root_id, algorithm, wrapped, kcv, state, created_at "
    "FROM keys.kek "
)


async def keks(database: Database) -> list[StoredKey]:
    """Return all key-encryption keys, oldest version first."""
    rows = await database.fetch(_KEK + "ORDER BY purpose, region, version")
    return [_kek(row) for row in rows]


async def kek_by_id(database: Database, key_id: UUID) -> StoredKey | None:
    """Return one key-encryption key."""
    row = await database.fetchrow(_KEK + "WHERE id = $1", key_id)
    return None if row is None else _kek(row)


_DEK = (
    "SELECT d.merchant_id, d.version, d.id, d.kek_id, d.algorithm, d.wrapped, d.kcv, d.state, "
    "d.reserved, d.created_at, k.region FROM keys.dek d JOIN keys.kek k ON k.id = d.kek_id "
)
_INDEX = (
    "SELECT d.merchant_id, d.version, d.id, d.kek_id, d.algorithm, d.wrapped, d.kcv, d.state, "
    "0::bigint AS reserved, d.created_at, k.region "
    "FROM keys.index_key d JOIN keys.kek k ON k.id = d.kek_id "
)


async def newest_dek(database: Database, merchant: UUID) -> StoredKey | None:
    """Return the merchant's data key of the highest version, whatever its state."""
    row = await database.fetchrow(
        _DEK + "WHERE d.merchant_id = $1 ORDER BY d.version DESC LIMIT 1", merchant
    )
    return None if row is None else _merchant_key("dek", row)


async def dek(database: Database, merchant: UUID, version: int) -> StoredKey | None:
    """Return one version of a merchant's data key."""
    row = await database.fetchrow(
        _DEK + "WHERE d.merchant_id = $1 AND d.version = $2", merchant, version
    )
    return None if row is None else _merchant_key("dek", row)


async def newest_index_key(database: Database, merchant: UUID) -> StoredKey | None:
    """Return the merchant's index key of the highest version, whatever its state."""
    row = await database.fetchrow(
        _INDEX + "WHERE d.merchant_id = $1 ORDER BY d.version DESC LIMIT 1", merchant
    )
    return None if row is None else _merchant_key("index", row)


async def newest_service_key(database: Database, purpose: str) -> StoredKey | None:
    """Return the installation's key of the highest version for a purpose."""
    row = await database.fetchrow(
        "SELECT id, purpose, version, kek_id, algorithm, wrapped, kcv, public_key, state, "
        "created_at FROM keys.service_key WHERE purpose = $1 ORDER BY version DESC LIMIT 1",
        purpose,
    )
    return None if row is None else _service_key(row)


async def reserve(
    database: Database, merchant: UUID, version: int, *, count: int, limit: int
) -> int | None:
    """Set `count` more uses aside, durably; return the new total, or None past the limit."""
    total = await database.fetchval(
        "UPDATE keys.dek SET reserved = reserved + $3 WHERE merchant_id = $1 AND version = $2 "
        "AND state = 'active' AND reserved + $3 <= $4 RETURNING reserved",
        merchant,
        version,
        count,
        limit,
    )
    return None if total is None else int(total)


async def merchant_keys(
    database: Database, kind: str, *, after: tuple[UUID, int], limit: int
) -> Sequence[StoredKey]:
    """Return a page of the merchants' data or index keys for the inventory."""
    rows = await database.fetch(
        (_DEK if kind == "dek" else _INDEX)
        + "WHERE (d.merchant_id, d.version) > ($1, $2) ORDER BY d.merchant_id, d.version LIMIT $3",
        *after,
        limit,
    )
    return [_merchant_key(kind, row) for row in rows]


async def service_keys(database: Database) -> list[StoredKey]:
    """Return all keys of the installation."""
    rows = await database.fetch(
        "SELECT id, purpose, version, kek_id, algorithm, wrapped, kcv, public_key, state, "
        "created_at FROM keys.service_key ORDER BY purpose, version"
    )
    return [_service_key(row) for row in rows]


def _kek(row: Any) -> StoredKey:
    record = KeyRecord(
        kind="kek",
        id=row["id"],
        purpose=row["purpose"],
        region=row["region"],
        owner="",
        version=row["version"],
        parent=row["root_id"],
        algorithm=row["algorithm"],
        created_at=row["created_at"],
    )
    return StoredKey(record=record, wrapped=row["wrapped"], kcv=row["kcv"], state=row["state"])


def _merchant_key(kind: str, row: Any) -> StoredKey:
    record = KeyRecord(
        kind=kind,
        id=row["id"],
        purpose="data" if kind == "dek" else "index",
        region=row["region"],
        owner=str(row["merchant_id"]),
        version=row["version"],
        parent=str(row["kek_id"]),
        algorithm=row["algorithm"],
        created_at=row["created_at"],
    )
    return StoredKey(
        record=record,
        wrapped=row["wrapped"],
        kcv=row["kcv"],
        state=row["state"],
        reserved=row["reserved"],
    )


def _service_key(row: Any) -> StoredKey:
    record = KeyRecord(
        kind="service",
        id=row["id"],
        purpose=row["purpose"],
        region="",
        owner="",
        version=row["version"],
        parent=str(row["kek_id"]),
        algorithm=row["algorithm"],
        created_at=row["created_at"],
    )
    return StoredKey(
        record=record,
        wrapped=row["wrapped"],
        kcv=row["kcv"],
        state=row["state"],
        public_key=row["public_key"],
    )

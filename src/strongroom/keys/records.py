"""The SQL of the keys room, and nobody else's. Only wrapped keys pass through here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from strongroom.keys.model import StoredKey
from strongroom.keys.tables import CLIENT, DEK, INDEX, KEK, SERVICE, UNDER_KEKS, VISIBLE, KeyTable
from strongroom.storage import Change, Claim, Database, Guard, Insert

_MANIFEST = {
    "digest": "bytea",
    "signed_at": "timestamptz",
    "signature": "bytea",
}
NEW_MANIFEST = Claim(
    "keys.manifest", {"id": "int4", "seq": "int4", **_MANIFEST}, key=("id",), id_column="id"
)
NEXT_MANIFEST = Guard("keys.manifest", keys={"id": "int4"}, sets=_MANIFEST, version="seq")
REVOCATION = Insert("keys.revocation", {"key_id": "uuid", "state": "text", "at": "timestamptz"})


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The signed list of what the installation's keys are; `seq` goes up with every change."""

    seq: int
    digest: bytes
    signed_at: datetime
    signature: bytes


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The installation's own keys, the revocations and the manifest, read at one moment."""

    manifest: Manifest | None
    keys: Sequence[StoredKey]
    revocations: Sequence[tuple[UUID, str]]


NOTHING = Snapshot(manifest=None, keys=(), revocations=())


_READ = (
    "t.id, t.version, t.algorithm, t.wrapped, t.kcv, t.state, t.created_at, t.revision, "
    "t.state_at, t.signature, (SELECT max(r.state) FROM keys.revocation r WHERE r.key_id = t.id) "
    "AS revoked"
)


def select(table: KeyTable) -> str:
    """Return the statement that reads whole keys of a table; a WHERE may follow."""
    join = "" if table is KEK else "JOIN keys.kek k ON k.id = t.kek_id "
    return (
        f"SELECT {_READ}, t.{table.parent}::text AS parent, {table.read} "  # noqa: S608 (our own)
        f"FROM {table.name} t {join}"
    )


async def installation(database: Database) -> tuple[UUID, str] | None:
    """Return id and mode of the installation this database belongs to."""
    row = await database.fetchrow("SELECT id, mode FROM meta.installation")
    return None if row is None else (row["id"], row["mode"])


async def snapshot(database: Database) -> Snapshot:
    """Return everything the manifest speaks of, as of one moment."""
    async with database.transaction() as session:
        await session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        manifest = await session.fetchrow(
            "SELECT seq, digest, signed_at, signature FROM keys.manifest WHERE id = 1"
        )
        keks = await session.fetch(select(KEK) + "ORDER BY t.purpose, t.region, t.version")
        services = await session.fetch(select(SERVICE) + "ORDER BY t.purpose, t.version")
        revoked = await session.fetch(
            "SELECT key_id, state FROM keys.revocation ORDER BY key_id, state"
        )
    return Snapshot(
        manifest=None if manifest is None else Manifest(**dict(manifest)),
        keys=[*map(KEK.stored, keks), *map(SERVICE.stored, services)],
        revocations=[(row["key_id"], row["state"]) for row in revoked],
    )


async def manifest_seq(database: Database) -> int:
    """Return how often the installation's keys changed; 0 before the first manifest."""
    return int(await database.fetchval("SELECT seq FROM keys.manifest WHERE id = 1") or 0)


def write_manifest(change: Change, manifest: Manifest) -> None:
    """Write the first manifest, or the one after `seq - 1` if nobody else wrote it meanwhile."""
    values = (manifest.digest, manifest.signed_at, manifest.signature)
    if manifest.seq == 1:
        change.add(NEW_MANIFEST, (1, 1, *values))
    else:
        change.add(NEXT_MANIFEST, (1, manifest.seq - 1, *values))


def revoke(change: Change, key_id: UUID, state: str, at: datetime) -> None:
    """Say for good that a key was compromised or destroyed."""
    change.add(REVOCATION, (key_id, state, at))


async def keks(database: Database) -> list[StoredKey]:
    """Return all keys directly under the root, oldest version first."""
    rows = await database.fetch(select(KEK) + "ORDER BY t.purpose, t.region, t.version")
    return [KEK.stored(row) for row in rows]


async def kek_by_id(database: Database, key_id: UUID) -> StoredKey | None:
    """Return one key-encryption key."""
    row = await database.fetchrow(select(KEK) + "WHERE t.id = $1", key_id)
    return None if row is None else KEK.stored(row)


async def find(database: Database, table: KeyTable, key_id: UUID) -> StoredKey | None:
    """Return one key of a table."""
    row = await database.fetchrow(select(table) + "WHERE t.id = $1", key_id)
    return None if row is None else table.stored(row)


async def merchant_versions(database: Database, table: KeyTable, merchant: UUID) -> list[StoredKey]:
    """Return every version of a merchant's key, the newest first."""
    rows = await database.fetch(
        select(table) + "WHERE t.merchant_id = $1 ORDER BY t.version DESC", merchant
    )
    return [table.stored(row) for row in rows]


async def newest(database: Database, table: KeyTable, merchant: UUID) -> StoredKey | None:
    """Return the merchant's key of the highest version, whatever its state."""
    row = await database.fetchrow(
        select(table) + "WHERE t.merchant_id = $1 ORDER BY t.version DESC LIMIT 1", merchant
    )
    return None if row is None else table.stored(row)


async def newest_dek(database: Database, merchant: UUID) -> StoredKey | None:
    """Return the merchant's data key of the highest version, whatever its state."""
    return await newest(database, DEK, merchant)


async def dek(database: Database, merchant: UUID, version: int) -> StoredKey | None:
    """Return one version of a merchant's data key."""
    row = await database.fetchrow(
        select(DEK) + "WHERE t.merchant_id = $1 AND t.version = $2", merchant, version
    )
    return None if row is None else DEK.stored(row)


async def newest_service_key(database: Database, purpose: str) -> StoredKey | None:
    """Return the installation's key of the highest version for a purpose."""
    row = await database.fetchrow(
        select(SERVICE) + "WHERE t.purpose = $1 ORDER BY t.version DESC LIMIT 1", purpose
    )
    return None if row is None else SERVICE.stored(row)


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
    """Return a page of the merchants' keys of one kind for the inventory."""
    table = {"dek": DEK, "index": INDEX, "visible": VISIBLE}[kind]
    rows = await database.fetch(
        select(table)
        + "WHERE (t.merchant_id, t.version) > ($1, $2) ORDER BY t.merchant_id, t.version LIMIT $3",
        *after,
        limit,
    )
    return [table.stored(row) for row in rows]


async def service_keys(database: Database) -> list[StoredKey]:
    """Return all keys of the installation."""
    rows = await database.fetch(select(SERVICE) + "ORDER BY t.purpose, t.version")
    return [SERVICE.stored(row) for row in rows]


async def hashes_under_pepper(database: Database, version: int) -> int:
    """Return how many living API keys are hashed under a pepper."""
    return int(await database.fetchval("SELECT keys.hashes_under_pepper($1)", version))


async def client_keys(database: Database) -> list[StoredKey]:
    """Return all key pairs for client-side encryption, erased ones too: a dozen each year."""
    rows = await database.fetch(select(CLIENT) + "ORDER BY t.suite, t.version")
    return [CLIENT.stored(row) for row in rows]


async def unsigned(database: Database, table: KeyTable, *, limit: int) -> list[StoredKey]:
    """Return keys from before records were signed."""
    rows = await database.fetch(
        select(table) + "WHERE t.signature IS NULL ORDER BY t.id LIMIT $1", limit
    )
    return [table.stored(row) for row in rows]


async def sign(database: Database, table: KeyTable, keys: Sequence[StoredKey]) -> None:
    """Store the first signatures of keys that have none."""
    await database.execute(
        f"UPDATE {table.name} t SET signature = u.signature "  # noqa: S608 (our own table)
        "FROM unnest($1::uuid[], $2::bytea[]) AS u(id, signature) "
        "WHERE t.id = u.id AND t.signature IS NULL",
        [key.record.id for key in keys],
        [key.signature for key in keys],
    )


async def under(
    database: Database, table: KeyTable, kek: UUID, *, after: UUID, limit: int
) -> list[StoredKey]:
    """Return a page of the keys that a key-encryption key wraps, in order of their ids."""
    rows = await database.fetch(
        select(table) + "WHERE t.kek_id = $1 AND t.id > $2 AND t.state <> 'destroyed' "
        "ORDER BY t.kek_id, t.id LIMIT $3",
        kek,
        after,
        limit,
    )
    return [table.stored(row) for row in rows]


async def count_under(database: Database, kek: UUID) -> int:
    """Return how many living keys a key-encryption key wraps."""
    counts = " + ".join(
        f"(SELECT count(*) FROM {table.name} WHERE kek_id = $1 AND state <> 'destroyed')"  # noqa: S608 (our own tables)
        for table in UNDER_KEKS.values()
    )
    return int(await database.fetchval(f"SELECT {counts}", kek))


async def rewrap(database: Database, table: KeyTable, keys: Sequence[StoredKey]) -> int:
    """Store keys wrapped anew, each only if it is still the revision before; returns how many."""
    done = await database.execute(
        f"UPDATE {table.name} t SET kek_id = u.kek_id, wrapped = u.wrapped, "  # noqa: S608 (our own table)
        "revision = u.revision, signature = u.signature FROM unnest($1::uuid[], $2::uuid[], "
        "$3::bytea[], $4::int4[], $5::bytea[]) AS u(id, kek_id, wrapped, revision, signature) "
        "WHERE t.id = u.id AND t.revision = u.revision - 1",
        [key.record.id for key in keys],
        [UUID(key.record.parent) for key in keys],
        [key.wrapped for key in keys],
        [key.revision for key in keys],
        [key.signature for key in keys],
    )
    return int(done.rpartition(" ")[2])


async def merchants(database: Database, table: KeyTable, *, after: UUID, limit: int) -> list[UUID]:
    """Return a page of the merchants that have a key in a table, in order."""
    rows: list[Any] = await database.fetch(
        f"SELECT merchant_id FROM {table.name} WHERE merchant_id > $1 AND version = 1 "  # noqa: S608 (our own table)
        "ORDER BY merchant_id LIMIT $2",
        after,
        limit,
    )
    return [row["merchant_id"] for row in rows]


async def oldest_active(database: Database) -> list[tuple[str, str, datetime]]:
    """Return kind, purpose and time of creation of the oldest active key of each sort.

    Keys that renew themselves are left out: those of clients and of access tokens.
    """
    rows = await database.fetch(
        "SELECT 'kek', '', min(created_at) FROM keys.kek WHERE state = 'active' "
        "AND purpose <> 'records' HAVING count(*) > 0 "
        "UNION ALL SELECT 'record', purpose, min(created_at) FROM keys.kek WHERE state = 'active' "
        "AND purpose = 'records' GROUP BY purpose "
        "UNION ALL SELECT 'dek', '', min(created_at) FROM keys.dek WHERE state = 'active' "
        "HAVING count(*) > 0 "
        "UNION ALL SELECT 'index', '', min(created_at) FROM keys.index_key "
        "WHERE state = 'active' HAVING count(*) > 0 "
        "UNION ALL SELECT 'service', purpose, min(created_at) FROM keys.service_key "
        "WHERE state = 'active' AND purpose <> 'token-signing' GROUP BY purpose"
    )
    return [tuple(row) for row in rows]


async def count_compromised(database: Database) -> int:
    """Return how many keys are compromised and not destroyed."""
    return int(
        await database.fetchval(
            "SELECT count(*) FROM keys.revocation r WHERE state = 'compromised' AND NOT EXISTS "
            "(SELECT 1 FROM keys.revocation d WHERE d.key_id = r.key_id AND d.state = 'destroyed')"
        )
    )


async def knows(database: Database, key_id: UUID) -> bool:
    """Return whether a data key of this id exists, whoever it belongs to."""
    return bool(
        await database.fetchval("SELECT EXISTS (SELECT 1 FROM keys.dek WHERE id = $1)", key_id)
    )

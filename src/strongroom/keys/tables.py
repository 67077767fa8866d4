"""What every table of keys has in common: how a key is claimed, changed and read back.

A room within keys that stores keys of its own gives them the same columns (id, version, kek_id,
algorithm, wrapped, kcv, state, created_at, revision, state_at, signature) and a `KeyTable` in
`UNDER_KEKS`; signing, re-wrapping and the life cycle then work for them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from strongroom.keys.model import KeyRecord, StoredKey
from strongroom.storage import Change, Claim, Update

_COMMON = {
    "id": "uuid",
    "version": "int4",
    "algorithm": "text",
    "wrapped": "bytea",
    "kcv": "bytea",
    "state": "text",
    "created_at": "timestamptz",
    "revision": "int4",
    "state_at": "timestamptz",
    "signature": "bytea",
}
_CHANGES = {
    "wrapped": "bytea",
    "state": "text",
    "state_at": "timestamptz",
    "revision": "int4",
    "signature": "bytea",
}


class KeyTable:
    """One table of keys.

    Args:
        kind: the kind in the records of its keys.
        name: the table.
        own: its other columns, with their types; `own_values` gives them for a key.
        key: the unique columns that a new key claims.
        read: expressions that yield `purpose`, `region`, `owner`, `reserved` and `public_key`;
            `t` is the table and `k` the key-encryption key above.
        parent: the column that names the key above.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        *,
        own: Mapping[str, str],
        own_values: Callable[[StoredKey], tuple[Any, ...]],
        key: tuple[str, ...],
        read: str,
        parent: str = "kek_id",
    ) -> None:
        self.kind = kind
        self.name = name
        self.parent = parent
        self._own_values = own_values
        parent_type = "text" if parent == "root_id" else "uuid"
        above = {parent: parent_type}
        self._claim = Claim(name, {**own, **above, **_COMMON}, key=key, id_column="id")
        self._put = Update(name, keys={"id": "uuid"}, sets={**above, **_CHANGES})
        self.read = read

    def add(self, change: Change, key: StoredKey) -> None:
        """Claim a new key's place."""
        made = key.record
        common = (
            made.id,
            made.version,
            made.algorithm,
            key.wrapped,
            key.kcv,
            key.state,
            made.created_at,
            key.revision,
            key.state_at,
            key.signature,
        )
        change.add(self._claim, (*self._own_values(key), self._above(key), *common))

    def put(self, change: Change, key: StoredKey) -> None:
        """Write a key's next revision; a stale one breaks `key_revision_counts`."""
        values = (key.wrapped or None, key.state, key.state_at, key.revision, key.signature)
        change.add(self._put, (key.record.id, self._above(key), *values))

    def stored(self, row: Any) -> StoredKey:
        """Return the key of a row that was read."""
        record = KeyRecord(
            kind="record" if row["purpose"] == "records" else self.kind,
            id=row["id"],
            purpose=row["purpose"],
            region=row["region"],
            owner=row["owner"],
            version=row["version"],
            parent=row["parent"],
            algorithm=row["algorithm"],
            created_at=row["created_at"],
        )
        return StoredKey(
            record=record,
            wrapped=row["wrapped"] or b"",
            kcv=row["kcv"],
            state=row["state"],
            state_at=row["state_at"],
            revision=row["revision"],
            signature=row["signature"],
            reserved=row["reserved"],
            public_key=row["public_key"],
            revoked=row["revoked"],
        )

    def _above(self, key: StoredKey) -> str | UUID:
        above = key.record.parent
        return above if self.parent == "root_id" else UUID(above)


def of_merchants(kind: str, name: str, purpose: str, *, reserved: str = "0::bigint") -> KeyTable:
    """Return a table whose keys belong to merchants, one of each version."""
    return KeyTable(
        kind,
        name,
        own={"merchant_id": "uuid"},
        own_values=lambda key: (UUID(key.record.owner),),
        key=("merchant_id", "version"),
        read=f"'{purpose}' AS purpose, k.region, t.merchant_id::text AS owner, "
        f"{reserved} AS reserved, NULL::bytea AS public_key",
    )


KEK = KeyTable(
    "kek",
    "keys.kek",
    own={"purpose": "text", "region": "text"},
    own_values=lambda key: (key.record.purpose, key.record.region),
    key=("purpose", "region", "version"),
    read="t.purpose, t.region, '' AS owner, 0::bigint AS reserved, NULL::bytea AS public_key",
    parent="root_id",
)
DEK = of_merchants("dek", "keys.dek", "data", reserved="t.reserved")
INDEX = of_merchants("index", "keys.index_key", "index")
VISIBLE = of_merchants("visible", "keys.visible_key", "index")
SERVICE = KeyTable(
    "service",
    "keys.service_key",
    own={"purpose": "text", "public_key": "bytea"},
    own_values=lambda key: (key.record.purpose, key.public_key),
    key=("purpose", "version"),
    read="t.purpose, '' AS region, '' AS owner, 0::bigint AS reserved, t.public_key",
)
CLIENT = KeyTable(
    "client",
    "keys.client_key",
    own={"suite": "text", "public_key": "bytea"},
    own_values=lambda key: (key.record.purpose, key.public_key),
    key=("suite", "version"),
    read="t.suite AS purpose, '' AS region, '' AS owner, 0::bigint AS reserved, t.public_key",
)
SUBJECT = KeyTable(
    "subject",
    "keys.subject_key",
    own={"merchant_id": "uuid", "subject": "uuid"},
    own_values=lambda key: tuple(map(UUID, key.record.owner.split("/"))),
    key=("merchant_id", "subject", "version"),
    read="'data' AS purpose, k.region, t.merchant_id::text || '/' || t.subject::text AS owner, "
    "t.reserved, NULL::bytea AS public_key, t.merchant_id, t.subject, t.destroyed_by, "
    "t.destroyed_reason, t.destroyed_request, t.cards_removed",
)
UNDER_KEKS: dict[str, KeyTable] = {
    table.kind: table for table in (DEK, INDEX, VISIBLE, SERVICE, CLIENT, SUBJECT)
}
"""Kind → its table, for every kind of key that a key-encryption key wraps."""


def table_of(key: StoredKey) -> KeyTable:
    """Return the table where a key stands."""
    return KEK if key.record.kind in ("kek", "record") else UNDER_KEKS[key.record.kind]

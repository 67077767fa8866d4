"""The SQL of workloads, and nobody else's."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from strongroom.identity.model import KeyRecord, Level, Mode, Principal, PrincipalKind
from strongroom.identity.workloads.model import WorkloadView
from strongroom.kernel.ids import NIL_UUID, id_from, uuid_of
from strongroom.storage import Change, Database, Guard, Insert

WORKLOAD = Insert(
    "iam.workload",
    {
        "merchant_id": "uuid",
        "id": "uuid",
        "spiffe_id": "text",
        "spiffe_digest": "bytea",
        "role": "text",
        "scopes": "jsonb",
        "owner": "text",
        "created_at": "timestamptz",
        "created_by": "text",
        "version": "int4",
    },
)
REVOKED = Guard(
    "iam.workload",
    keys={"merchant_id": "uuid", "id": "uuid"},
    sets={"revoked_at": "timestamptz"},
)
_COLUMNS = (
    "w.merchant_id, w.id, w.spiffe_id, w.role, w.scopes, w.owner, w.created_at, w.created_by, "
    "w.revoked_at, w.version"
)
_BY_MARK = (
    f"SELECT {_COLUMNS}, m.status AS merchant_status, m.required_level FROM iam.workload w "  # noqa: S608 (columns)
    "LEFT JOIN iam.merchant m ON m.merchant_id = w.merchant_id "
    "WHERE w.spiffe_digest = ANY ($1::bytea[]) AND w.revoked_at IS NULL"
)
_BY_ID = f"SELECT {_COLUMNS} FROM iam.workload w WHERE w.id = $1"  # noqa: S608 (columns)
_ALL = f"SELECT {_COLUMNS} FROM iam.workload w WHERE w.id > $1 ORDER BY w.id LIMIT $2"  # noqa: S608


class StoredWorkload(msgspec.Struct, frozen=True, kw_only=True):
    """A registration with the version its next change must find."""

    view: WorkloadView
    version: int


def mark(spiffe_id: str) -> bytes:
    """Return under what a SPIFFE id is remembered."""
    return hashlib.sha256(spiffe_id.encode()).digest()


def add(change: Change, workload: WorkloadView) -> None:
    """Add a registration to a Change."""
    scopes = None if workload.scopes is None else msgspec.json.encode(workload.scopes).decode()
    change.add(
        WORKLOAD,
        (
            _tenant(workload.merchant),
            uuid_of(workload.id, "wkl"),
            workload.spiffe_id,
            mark(workload.spiffe_id),
            workload.role,
            scopes,
            workload.owner,
            workload.created_at,
            workload.created_by,
            1,
        ),
    )


def set_revoked(change: Change, workload: StoredWorkload, *, at: datetime) -> None:
    """Add the end of a registration to a Change, guarded by its version."""
    view = workload.view
    row = (_tenant(view.merchant), uuid_of(view.id, "wkl"), workload.version, at)
    change.add(REVOKED, row)


async def by_mark(database: Database, marks: Sequence[bytes], *, mode: Mode) -> list[KeyRecord]:
    """Return what authentication reads of the living registrations with these marks."""
    return [_record(row, mode) for row in await database.fetch(_BY_MARK, list(marks))]


async def find(database: Database, workload: UUID) -> StoredWorkload | None:
    """Return one registration."""
    row = await database.fetchrow(_BY_ID, workload)
    return None if row is None else _stored(row)


async def after(database: Database, *, start: UUID, limit: int) -> list[WorkloadView]:
    """Return registrations, oldest first."""
    return [_stored(row).view for row in await database.fetch(_ALL, start, limit)]


def _record(row: Any, mode: Mode) -> KeyRecord:
    scopes = _scopes(row["scopes"])
    installation = row["merchant_id"] == NIL_UUID
    principal = Principal(
        id=id_from("wkl", row["id"]),
        kind=PrincipalKind.SERVICE,
        merchant=_merchant(row["merchant_id"]),
        mode=mode,
        roles=(row["role"],),
        scopes=None if scopes is None else frozenset(scopes),
        level=Level.BOUND_TOKEN,
        required_level=Level(row["required_level"] or 0),
        network="internal",
    )
    return KeyRecord(
        hash=mark(row["spiffe_id"]),
        principal=principal,
        expires_at=None,
        revoked_at=row["revoked_at"],
        merchant_status="active" if installation else row["merchant_status"],
    )


def _stored(row: Any) -> StoredWorkload:
    view = WorkloadView(
        id=id_from("wkl", row["id"]),
        spiffe_id=row["spiffe_id"],
        merchant=_merchant(row["merchant_id"]),
        role=row["role"],
        scopes=_scopes(row["scopes"]),
        owner=row["owner"],
        status="active" if row["revoked_at"] is None else "revoked",
        created_at=row["created_at"],
        created_by=row["created_by"],
        revoked_at=row["revoked_at"],
    )
    return StoredWorkload(view=view, version=row["version"])


def _tenant(merchant: str | None) -> UUID:
    return NIL_UUID if merchant is None else uuid_of(merchant, "mer")


def _merchant(value: UUID) -> str | None:
    return None if value == NIL_UUID else id_from("mer", value)


def _scopes(value: str | None) -> tuple[str, ...] | None:
    return None if value is None else msgspec.json.decode(value, type=tuple[str, ...])

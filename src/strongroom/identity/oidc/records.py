"""The SQL of links between a provider's identities and operators, and nobody else's."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from strongroom.kernel.ids import id_from, uuid_of
from strongroom.storage import Change, Database, Guard, Insert

LINK = Insert(
    "iam.oidc_link",
    {
        "id": "uuid",
        "issuer": "text",
        "subject": "text",
        "operator_id": "uuid",
        "linked_at": "timestamptz",
        "version": "int4",
    },
)
ENDED = Guard("iam.oidc_link", keys={"id": "uuid"}, sets={"ended_at": "timestamptz"})

_COLUMNS = "SELECT id, issuer, subject, operator_id, linked_at, version FROM iam.oidc_link "
_BY_SUBJECT = _COLUMNS + "WHERE issuer = $1 AND subject = $2 AND ended_at IS NULL"
_OF_OPERATOR = (
    _COLUMNS + "WHERE operator_id = $1 AND ended_at IS NULL ORDER BY linked_at, id LIMIT $2"
)


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An identity of a provider that is an operator here."""

    id: str
    issuer: str
    subject: str
    operator: str
    linked_at: datetime
    version: int


def add(change: Change, link: Link) -> None:
    """Add a new link to a Change."""
    change.add(
        LINK,
        (
            uuid_of(link.id, "lnk"),
            link.issuer,
            link.subject,
            uuid_of(link.operator, "opr"),
            link.linked_at,
            1,
        ),
    )


def end(change: Change, link: Link, *, at: datetime) -> None:
    """Add the end of a link to a Change, guarded by its version."""
    change.add(ENDED, (uuid_of(link.id, "lnk"), link.version, at))


async def find(database: Database, issuer: str, subject: str) -> Link | None:
    """Return the link of an identity."""
    row = await database.fetchrow(_BY_SUBJECT, issuer, subject)
    return None if row is None else _link(row)


async def of_operator(database: Database, operator: UUID, *, limit: int) -> list[Link]:
    """Return an operator's links, oldest first."""
    return [_link(row) for row in await database.fetch(_OF_OPERATOR, operator, limit)]


def _link(row: Any) -> Link:
    return Link(
        id=id_from("lnk", row["id"]),
        issuer=row["issuer"],
        subject=row["subject"],
        operator=id_from("opr", row["operator_id"]),
        linked_at=row["linked_at"],
        version=row["version"],
    )

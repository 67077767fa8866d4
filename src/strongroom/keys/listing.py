"""Every key of the installation, for inventories (PCI DSS 3.6.1, 12.3.3). No key is opened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from strongroom.kernel import limits
from strongroom.kernel.ids import NIL_UUID, id_from
from strongroom.keys import records
from strongroom.keys.decide import days_left
from strongroom.keys.model import KeyInfo, StoredKey
from strongroom.keys.naming import PREFIX, parent_name
from strongroom.storage import Database

_PAGE = 500


async def inventory(database: Database, now: datetime) -> list[KeyInfo]:
    """Return what may be known of every key."""
    return [info(key, now) async for key in all_keys(database)]


async def all_keys(database: Database) -> AsyncIterator[StoredKey]:
    """Yield every key of the installation, page by page."""
    for key in await records.keks(database):
        yield key
    for key in await records.service_keys(database):
        yield key
    for key in await records.client_keys(database):
        yield key
    for kind in ("dek", "index", "visible"):
        after = (NIL_UUID, 0)
        while page := await records.merchant_keys(database, kind, after=after, limit=_PAGE):
            for key in page:
                yield key
            after = (UUID(page[-1].record.owner), page[-1].record.version)


def info(key: StoredKey, now: datetime) -> KeyInfo:
    """Return what may be known of a key."""
    made = key.record
    counted = made.kind == "dek"
    left = days_left(made.kind, made.purpose, made.created_at, now)
    return KeyInfo(
        id=id_from(PREFIX[made.kind], made.id),
        kind=made.kind,
        purpose=made.purpose,
        region=made.region,
        merchant=id_from("mer", UUID(made.owner)) if made.owner else None,
        version=made.version,
        state=key.state,
        algorithm=made.algorithm,
        wrapped_by=parent_name(made),
        kcv=key.kcv.hex()[:10],
        created_at=made.created_at,
        state_at=key.state_at,
        days_left=left if key.state == "active" else None,
        uses_reserved=key.reserved if counted else None,
        uses_limit=limits.KEY_USES_MAX if counted else None,
        public_key=key.public_key.hex() if key.public_key else None,
    )

"""The SQL of the inventory: counts of what is too many to be listed one by one."""

from __future__ import annotations

from datetime import datetime

import msgspec

from strongroom.storage import Database

_SUBJECTS = """
SELECT version, state, count(*) AS keys, min(created_at) AS oldest, max(reserved) AS most_used
FROM keys.subject_key GROUP BY version, state ORDER BY version, state
"""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Keys of data subjects of one version and state."""

    version: int
    state: str
    keys: int
    oldest: datetime
    most_used: int


async def subject_keys(database: Database) -> list[Group]:
    """Return how many keys of data subjects there are, by version and state."""
    return [msgspec.convert(dict(row), Group) for row in await database.fetch(_SUBJECTS)]

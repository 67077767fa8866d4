"""When credentials were last used, noted in memory and written together.

Last use is for reviews of idle keys (PCI DSS 8.2.6): minutes are exact enough.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from strongroom.identity.api_keys import records
from strongroom.identity.model import Principal
from strongroom.kernel.ids import uuid_of
from strongroom.storage import Database

USE_NOTED_EVERY = timedelta(minutes=1)


class Usage:
    """Notes accepted credentials."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: dict[str, tuple[str | None, datetime]] = {}

    def note(self, principal: Principal, now: datetime) -> None:
        """Note a use; no I/O."""
        self._used[principal.id] = (principal.merchant, now)

    async def flush(self) -> int:
        """Write when each was last used, at most once a minute; return how many were used."""
        used, self._used = self._used, {}
        if used:
            rows = [
                (records.tenant(merchant), _uuid(key_id), at)
                for key_id, (merchant, at) in sorted(used.items())
            ]
            await records.note_used(self._database, rows, at_most_every=USE_NOTED_EVERY)
        return len(used)


def _uuid(key_id: str) -> UUID:
    return uuid_of(key_id, key_id.partition("_")[0])

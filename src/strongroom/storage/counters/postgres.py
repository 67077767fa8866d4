"""Counters in an unlogged table: exact among all processes, at the database's own clock.

Unlogged: a crash of the database sets the counters back, which lets one more burst through and
costs nothing meanwhile. Rows are locked in the order of their keys, so that two calls never wait
for each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.storage.counters.model import Ask, Grant
from strongroom.storage.database import Database

_TAKE = """
SELECT n, units, remaining, wait, win FROM meta.take_units(
    $1::bytea[], $2::bigint[], $3::int[], $4::int[], $5::int[], $6::int[], $7::bigint[])
"""
_PURGE = """
DELETE FROM meta.counter WHERE key IN (
    SELECT key FROM meta.counter WHERE full_at < clock_timestamp() LIMIT 10000
    FOR UPDATE SKIP LOCKED)
"""


class PostgresCounters:
    """A store of counters in PostgreSQL, as the role that serves payments."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, asks: Sequence[Ask]) -> list[Grant]:
        """Grant units of several counters in one call.

        Raises:
            StrongroomError: `storage_unavailable`.
        """
        rows = await self._database.fetch(
            _TAKE,
            [ask.key for ask in asks],
            [ask.rule.interval for ask in asks],
            [ask.rule.units for ask in asks],
            [ask.rule.burst for ask in asks],
            [ask.least for ask in asks],
            [ask.returned for ask in asks],
            [ask.window for ask in asks],
        )
        found: list[Grant | None] = [None] * len(asks)
        for number, units, remaining, wait, window in rows:
            found[number - 1] = Grant(units=units, remaining=remaining, wait=wait, window=window)
        return [grant for grant in found if grant is not None]

    async def purge(self) -> int:
        """Delete counters that are full again."""
        return int((await self._database.execute(_PURGE)).rsplit(" ", 1)[-1])

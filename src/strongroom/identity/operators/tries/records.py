"""The SQL of tries, and nobody else's. Logins, devices and sources come as keyed hashes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from strongroom.storage import Database

_TRY = """
INSERT INTO iam.operator_try AS t (bucket, tries, last_at) VALUES ($1, 1, $2)
ON CONFLICT (bucket) DO UPDATE SET
    tries = CASE WHEN t.last_at <= $2 - $4::interval THEN 1 ELSE t.tries + 1 END,
    last_at = CASE WHEN t.last_at <= $2 - $4::interval OR t.tries < $3 THEN $2 ELSE t.last_at END
RETURNING tries
"""


async def reserve_try(
    database: Database, bucket: bytes, *, now: datetime, most: int, window: timedelta
) -> int:
    """Count a try before it is looked at; return which of its half hour it is.

    Past the limit the time of the last counted one stays, so that the rest ends when it should.
    """
    return int(await database.fetchval(_TRY, bucket, now, most, window))


async def forget_tries(database: Database, buckets: Sequence[bytes]) -> None:
    """Begin counting anew."""
    await database.execute(
        "DELETE FROM iam.operator_try WHERE bucket = ANY ($1::bytea[])", list(buckets)
    )


async def purge(database: Database, *, before: datetime) -> None:
    """Delete tries that no longer count."""
    await database.execute("DELETE FROM iam.operator_try WHERE last_at <= $1", before)

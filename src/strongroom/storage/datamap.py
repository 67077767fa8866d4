"""The data map: what class of data every column holds and how long it is kept.

Columns are declared where they are made, as a comment in the migration:
`class=cardholder retention=365d`. This module reads the live catalogue, so the map cannot drift.
"""

from __future__ import annotations

import re

import msgspec

from strongroom.storage.database import Database

CLASSES = ("public", "internal", "confidential", "personal", "cardholder", "sad", "secret")
_COMMENT = re.compile(r"class=(?P<class>[a-z]+) retention=(?P<retention>[a-z0-9_-]+)(?:\s|\Z)")

_COLUMNS = """
SELECT n.nspname AS schema, c.relname AS table, a.attname AS column,
       format_type(a.atttypid, a.atttypmod) AS type, col_description(c.oid, a.attnum) AS comment
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg_toast%'
  AND n.nspname NOT LIKE 'pg_temp%'
ORDER BY n.nspname, c.relname, a.attnum
"""


class Column(msgspec.Struct, frozen=True):
    """A column of the live database with its declared class, or None where it has none."""

    schema: str
    table: str
    name: str
    type: str
    data_class: str | None
    retention: str | None


async def read(database: Database) -> list[Column]:
    """Return every column of the live catalogue with what the map says of it."""
    return [_column(row) for row in await database.fetch(_COLUMNS)]


def undeclared(columns: list[Column]) -> list[Column]:
    """Return the columns that are not on the map."""
    return [column for column in columns if column.data_class not in CLASSES]


def _column(row: dict[str, str | None]) -> Column:
    match = _COMMENT.match(row["comment"] or "")
    return Column(
        schema=str(row["schema"]),
        table=str(row["table"]),
        name=str(row["column"]),
        type=str(row["type"]),
        data_class=match["class"] if match else None,
        retention=match["retention"] if match else None,
    )

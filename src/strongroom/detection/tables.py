"""Looks into every column of every table, sealed ones included: no clear card number may be there.

Rows stream through a server-side cursor as their owner; values are joined to parts of bounded size
so that the finder works at its own speed. Columns that the data map does not know are told, too.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from strongroom.detection import records
from strongroom.detection.model import Hit, Progress, Report, Unread, hit_of
from strongroom.detection.scan import Finder, speaks_of_cards
from strongroom.detection.streams import matches
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import SCAN_CHUNK_BYTES
from strongroom.storage import Database
from strongroom.storage.datamap import read, undeclared

_BETWEEN = b"\x1e\n\x1e"
"""Between two values: no writing of a number goes over it."""

_LONG_BYTES = SCAN_CHUNK_BYTES // 4
_ROWS = 500


async def scan_tables(
    database: Database,
    finder: Finder,
    report: Report,
    *,
    include_test: bool = False,
    progress: Progress | None = None,
) -> None:
    """Add to `report` what the database holds; `database` must be its owner's."""
    for column in undeclared(await read(database)):
        place = f"{column.schema}.{column.table}.{column.name}"
        report.hits.append(
            Hit(kind="unmapped_column", severity="medium", confidence=None, place=place)
        )
    async with database.session() as session:
        listed = await records.tables(session)
    told = progress or (lambda stage, done, total: None)
    for number, table in enumerate(listed):
        told("tables", number, len(listed))
        try:
            await _scan_table(database, table, finder, report, include_test)
        except StrongroomError as error:
            report.unread.append(Unread(table.name, error.detail or error.code))
    told("tables", len(listed), len(listed))


async def _scan_table(
    database: Database, table: records.Table, finder: Finder, report: Report, include_test: bool
) -> None:
    columns = [_Column(f"{table.name}.{name}", finder) for name in table.columns]
    report.columns += len(columns)
    async with database.transaction() as session:
        async for row in records.values(session, table):
            report.rows += 1
            for column, value in zip(columns, tuple(row)[1:], strict=True):
                column.take(row["row"], value)
            if report.rows % _ROWS == 0:
                _collect(columns, report, include_test)
    _collect(columns, report, include_test)


def _collect(columns: list[_Column], report: Report, include_test: bool) -> None:
    for column in columns:
        report.bytes += column.size
        for hit in column.hits():
            if hit.kind == "test_pan" and not include_test:
                report.test_numbers += 1
            else:
                report.hits.append(hit)


class _Column:
    """Values of one column that wait to be looked into."""

    def __init__(self, place: str, finder: Finder) -> None:
        self._place = place
        self._finder = finder
        self._named = speaks_of_cards(place.rpartition(".")[2])
        self._values: list[bytes] = []
        self._rows: list[str] = []
        self.size = 0

    def take(self, row: str, value: Any) -> None:
        """Keep a value until the next look."""
        if value is None:
            return
        data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        if data:
            self._values.append(data)
            self._rows.append(row)
            self.size += len(data)

    def hits(self) -> Iterator[Hit]:
        """Return what the waiting values hold, and let go of them."""
        values, rows = self._values, self._rows
        self._values, self._rows, self.size = [], [], 0
        starts, parts, at = [], [], 0
        for value, row in zip(values, rows, strict=True):
            if len(value) > _LONG_BYTES:
                yield from self._long(value, row)
                value = b""
            starts.append(at)
            parts.append(value)
            at += len(value) + len(_BETWEEN)
        for match in self._finder.find(_BETWEEN.join(parts), named=self._named):
            number = bisect_right(starts, match.offset) - 1
            yield hit_of(match, place=self._place, row=rows[number], base=-starts[number])

    def _long(self, value: bytes, row: str) -> Iterator[Hit]:
        for seen in matches(io.BytesIO(value), self._finder, named=self._named):
            yield hit_of(seen.match, place=self._place, row=row, base=seen.base)

"""The settlement file of a day: what was captured, refunded and charged in fees, with totals."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from strongroom.gateways.sandbox_server.cards import BEHAVIORS
from strongroom.gateways.sandbox_server.model import ChargeRow, Kind, OperationStatus, Row
from strongroom.gateways.sandbox_server.store import Store
from strongroom.kernel.escape import csv_cell

COLUMNS: Final = (
    "line", "type", "charge", "operation", "reference", "merchant_reference", "currency",
    "gross_minor", "fee_minor", "net_minor", "created", "available_on",
)  # fmt: skip
_FEE_PER_10_000: Final = 140
_FEE_FIXED_MINOR: Final = 25
_LINES_AT_ONCE: Final = 500
_DAY_S: Final = 86_400


class Line(NamedTuple):
    """One movement of money, with the rows it comes from."""

    kind: str
    charge_number: int
    charge: ChargeRow
    number: int
    reference: str
    gross: int
    at: int

    @property
    def fee(self) -> int:
        """The fee in minor units; only captures have one."""
        return fee_minor(self.gross) if self.kind == "capture" else 0


def fee_minor(amount_minor: int) -> int:
    """Return the fee of a capture: 1.4 %, rounded down, and 25 minor units."""
    return amount_minor * _FEE_PER_10_000 // 10_000 + _FEE_FIXED_MINOR


def settlement(store: Store, day: date) -> Iterator[bytes]:
    """Yield the CSV file of a UTC day in pieces.

    Each line is a `capture` (positive, with a fee), a `refund` (negative) or a `refund_failed` (the
    refund given back). One `total` line for each currency ends the file.
    """
    begin = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    rows: list[tuple[object, ...]] = [COLUMNS]
    count = 0
    for number, row in store.oldest_first():
        for line in _lines(store, number, row):
            if begin <= line.at < begin + _DAY_S:
                count += 1
                rows.append(_cells(store, count, line))
                totals[line.charge.currency][0] += line.gross
                totals[line.charge.currency][1] += line.fee
        if len(rows) >= _LINES_AT_ONCE or number % (8 * _LINES_AT_ONCE) == 0:
            yield _csv(rows)
            rows = []
    for currency, (gross, fee) in sorted(totals.items()):
        cells = ("", "total", "", "", "", "", currency, gross, fee, gross - fee, "", "")
        rows.append(cells)
    yield _csv(rows)


def _lines(store: Store, number: int, row: Row) -> Iterator[Line]:
    if isinstance(row, ChargeRow):
        at = row.state.captured_at
        if at and row.amount:
            yield Line("capture", number, row, number, row.reference, row.amount, at)
        return
    charge = store.get(row.charge)
    if not isinstance(charge, ChargeRow) or not row.amount:
        return
    line = Line("capture", row.charge, charge, number, row.reference, row.amount, row.created)
    if row.kind in (Kind.CAPTURE, Kind.RELEASE):
        yield line
    elif row.kind is Kind.REFUND and row.status is not OperationStatus.PENDING:
        yield line._replace(kind="refund", gross=-row.amount)
        if row.status is OperationStatus.FAILED:
            yield line._replace(kind="refund_failed")


def _cells(store: Store, count: int, line: Line) -> tuple[object, ...]:
    created = datetime.fromtimestamp(line.at, UTC)
    available = created.date() + timedelta(
        days=BEHAVIORS[line.charge.behavior].available_after_days
    )
    return (
        count,
        line.kind,
        store.id_of(line.charge_number, "ch"),
        store.id_of(line.number, "sop"),
        line.reference,
        line.charge.merchant_reference or "",
        line.charge.currency,
        line.gross,
        line.fee,
        line.gross - line.fee,
        f"{created:%Y-%m-%dT%H:%M:%SZ}",
        available.isoformat(),
    )


def _csv(rows: list[tuple[object, ...]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(
        [csv_cell(cell) for cell in row] for row in rows
    )
    return out.getvalue().encode()

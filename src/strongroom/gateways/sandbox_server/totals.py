"""Running totals of everything processed since the last reset, and what was processed twice."""

from __future__ import annotations

from collections import Counter

from strongroom.gateways.sandbox_server.limits import DUPLICATES_MAX
from strongroom.gateways.sandbox_server.model import ChargeRow, Kind, Row, Status

_COUNTED = {Kind.CAPTURE: "captures", Kind.VOID: "voids", Kind.RELEASE: "releases"}


class Totals:
    """Counts and sums, moved by each row that is added or replaced."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._captured: Counter[str] = Counter()
        self._refunded: Counter[str] = Counter()
        self.duplicates: list[str] = []

    def add(self, row: Row) -> None:
        """Count a new row."""
        if isinstance(row, ChargeRow):
            self._counts["charges"] += 1
            self._charge(row, 1)
        else:
            self._counts[_COUNTED.get(row.kind, "refunds")] += 1

    def replace(self, old: Row, new: Row) -> None:
        """Count what a changed row says now instead of before."""
        if isinstance(old, ChargeRow) and isinstance(new, ChargeRow):
            self._charge(old, -1)
            self._charge(new, 1)

    def duplicate(self, reference: str) -> None:
        """Remember that the caller had an operation processed more than once."""
        if len(self.duplicates) < DUPLICATES_MAX and reference not in self.duplicates:
            self.duplicates.append(reference)

    def view(self) -> dict[str, object]:
        """Return the totals as `/control/ledger` shows them."""
        names = [status.name.lower() for status in Status]
        names += ["charges", "captures", "voids", "releases", "refunds"]
        currencies = sorted(self._captured)
        return {
            **{name: self._counts[name] for name in names},
            "captured_minor": self._captured.total(),
            "refunded_minor": self._refunded.total(),
            "by_currency": {
                code: {
                    "captured_minor": self._captured[code],
                    "refunded_minor": self._refunded[code],
                }
                for code in currencies
            },
            "duplicates": self.duplicates,
        }

    def _charge(self, row: ChargeRow, sign: int) -> None:
        state = row.state
        self._counts[state.status.name.lower()] += sign
        if state.captured_at:
            self._counts["captures"] += sign
        if state.captured:
            self._captured[row.currency] += sign * state.captured
        if state.refunded:
            self._refunded[row.currency] += sign * state.refunded

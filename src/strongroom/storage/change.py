"""What one request wants to write: rows of declared shapes, applied all or nothing.

Rooms declare row shapes (`Insert`, `Bulk`, `Update`, `Guard`, `Claim`, `Add`, `Spend`) once in
their `records.py`; the committer turns the shapes of a batch into one statement. A `Change` holds
at most one `Guard` and one `Claim`, so that its acceptance is decided before anything is written.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from strongroom.kernel.errors import StrongroomError

Row = tuple[Any, ...]


class Shape:
    """A declared kind of row; instances are module constants compared by identity."""

    __slots__ = ("columns", "order", "table")
    _made = 0

    def __init__(self, table: str, columns: Mapping[str, str]) -> None:
        self.table = table
        self.columns = tuple(columns.items())
        Shape._made += 1
        self.order = Shape._made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.table})"


class Insert(Shape):
    """Insert a row. `batch_column` and `ordinal_column` are filled by the committer when named."""

    __slots__ = ("batch_column", "ordinal_column")

    def __init__(
        self,
        table: str,
        columns: Mapping[str, str],
        *,
        batch_column: str | None = None,
        ordinal_column: str | None = None,
    ) -> None:
        super().__init__(table, columns)
        self.batch_column = batch_column
        self.ordinal_column = ordinal_column


class Update(Shape):
    """Set columns of a side row found by key; no row found is no error."""

    __slots__ = ("keys", "sets")

    def __init__(self, table: str, *, keys: Mapping[str, str], sets: Mapping[str, str]) -> None:
        super().__init__(table, {**keys, **sets})
        self.keys = tuple(keys)
        self.sets = tuple(sets)


class Guard(Shape):
    """Update a root row only while its version is the expected one; the version is raised by one.

    Row: key values, expected version, set values.
    """

    __slots__ = ("keys", "sets", "version")

    def __init__(
        self,
        table: str,
        *,
        keys: Mapping[str, str],
        sets: Mapping[str, str],
        version: str = "version",
    ) -> None:
        super().__init__(table, {**keys, version: "int4", **sets})
        self.keys = tuple(keys)
        self.sets = tuple(sets)
        self.version = version


class Claim(Shape):
    """Insert a row that only one Change may win, decided by its unique `key` columns."""

    __slots__ = ("id_column", "key")

    def __init__(
        self, table: str, columns: Mapping[str, str], *, key: tuple[str, ...], id_column: str
    ) -> None:
        super().__init__(table, columns)
        self.key = key
        self.id_column = id_column


class Add(Shape):
    """Upsert a row and add to its sums; rows of one batch are summed first."""

    __slots__ = ("keys", "sums")

    def __init__(self, table: str, *, keys: Mapping[str, str], sums: Mapping[str, str]) -> None:
        super().__init__(table, {**keys, **sums})
        self.keys = tuple(keys)
        self.sums = tuple(sums)


class Spend(Shape):
    """Subtract from sums of a row found by key; rows of one batch are summed first.

    The table's own CHECK refuses to spend what is not there. The row must exist: a table that is
    spent from allows no DELETE to the role that spends.
    """

    __slots__ = ("keys", "sums")

    def __init__(self, table: str, *, keys: Mapping[str, str], sums: Mapping[str, str]) -> None:
        super().__init__(table, {**keys, **sums})
        self.keys = tuple(keys)
        self.sums = tuple(sums)


class Bulk(Shape):
    """Insert many rows that share some columns: one value for each of these, a list for the others.

    Row: the shared values, then one list for each other column, all of one length. A batch of the
    committer holds at most one for each table; the driver encodes a shared value once.
    """

    __slots__ = ("each", "shared")

    def __init__(self, table: str, *, shared: Mapping[str, str], each: Mapping[str, str]) -> None:
        super().__init__(table, {**shared, **each})
        self.shared = tuple(shared)
        self.each = tuple(each)


class Verdict(enum.Enum):
    """What became of a Change."""

    COMMITTED = "committed"
    CLAIM_LOST = "claim_lost"
    STALE = "stale"


class Change:
    """Rows that are written together or not at all."""

    __slots__ = ("bulk", "claim", "guard", "rows")

    def __init__(self) -> None:
        self.bulk: tuple[Bulk, Row] | None = None
        self.guard: tuple[Guard, Row] | None = None
        self.claim: tuple[Claim, Row] | None = None
        self.rows: list[tuple[Shape, Row]] = []

    def add(self, shape: Shape, row: Row) -> Change:
        """Add a row of a declared shape; returns the Change for chaining."""
        if len(row) != len(shape.columns):
            raise ValueError(f"{shape!r} takes {len(shape.columns)} values")
        if isinstance(shape, Guard):
            if self.guard is not None:
                raise ValueError("a Change holds at most one guard")
            self.guard = (shape, row)
        elif isinstance(shape, Claim):
            if self.claim is not None:
                raise ValueError("a Change holds at most one claim")
            self.claim = (shape, row)
        elif isinstance(shape, Bulk):
            if self.bulk is not None:
                raise ValueError("a Change holds at most one bulk")
            self.bulk = (shape, row)
        else:
            self.rows.append((shape, row))
        return self

    def all_rows(self) -> list[tuple[Shape, Row]]:
        """Return every row with its shape, guard and claim included."""
        rows = self.rows.copy()
        if self.guard is not None:
            rows.append(self.guard)
        if self.claim is not None:
            rows.append(self.claim)
        if self.bulk is not None:
            rows.append(self.bulk)
        return rows

    def conflict_keys(self) -> list[Row]:
        """Return what may stand once in a batch: the guarded row, the claimed key, a bulk."""
        keys: list[Row] = []
        if self.guard is not None:
            guard, row = self.guard
            keys.append((guard.table, *row[: len(guard.keys)]))
        if self.claim is not None:
            claim, row = self.claim
            names = [name for name, _ in claim.columns]
            keys.append((claim.table, *(row[names.index(name)] for name in claim.key)))
        if self.bulk is not None:
            keys.append((self.bulk[0].table,))
        return keys


class ConstraintViolated(StrongroomError):
    """The database refused exactly this Change; `constraint` names the rule it broke."""

    def __init__(self, constraint: str, sqlstate: str) -> None:
        super().__init__(
            "constraint_violated",
            "The request conflicts with the current state.",
            detail=f"constraint {constraint} sqlstate {sqlstate}",
        )
        self.constraint = constraint
        self.sqlstate = sqlstate


class Overloaded(StrongroomError):
    """The committer's queue is full, or the Change waited too long; nothing was written."""

    def __init__(self) -> None:
        super().__init__(
            "overloaded",
            "The service is busy. Try again shortly.",
            retryable=True,
            retry_after_s=1,
        )


class StorageUnavailable(StrongroomError):
    """The database cannot be used now.

    `unknown` says that the connection broke while the Change was under way: it may have been
    written. Recovery, not the caller, finds out.
    """

    def __init__(self, detail: str, *, unknown: bool = False) -> None:
        super().__init__(
            "storage_unavailable",
            "The service cannot store data right now. Try again shortly.",
            detail=detail,
            retryable=True,
            retry_after_s=2,
        )
        self.unknown = unknown

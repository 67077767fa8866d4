"""A hash index in flat arrays: 8 bytes a slot, where a `dict` of strings takes about 200.

It answers "which row numbers may hold this key"; the caller compares the row itself, because
two keys can share a fingerprint. Tables are filled to 60 % and then left as they are; the next one
is twice as large, so an insert never waits for a rehash. Deleting happens by whole tables.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

_SMALLEST: Final = 1 << 12
_LARGEST: Final = 1 << 19
_FILL: Final = 0.6
_LOW32: Final = 0xFFFFFFFF


class _Table:
    __slots__ = ("last_row", "mask", "room", "slots")

    def __init__(self, size: int) -> None:
        self.slots = array("Q", bytes(8 * size))
        self.mask = size - 1
        self.room = int(size * _FILL)
        self.last_row = -1


class Index:
    """Maps 64-bit hashes to row numbers; several rows may share a hash."""

    def __init__(self) -> None:
        self._tables = [_Table(_SMALLEST)]

    def add(self, hashed: int, row: int) -> None:
        """Remember that `row` has a key with this hash."""
        table = self._tables[-1]
        if not table.room:
            table = _Table(min(2 * (table.mask + 1), _LARGEST))
            self._tables.append(table)
        slots, mask = table.slots, table.mask
        at = (hashed >> 32) & mask
        while slots[at]:
            at = (at + 1) & mask
        slots[at] = (hashed & _LOW32) << 32 | (row + 1) & _LOW32
        table.room -= 1
        table.last_row = row

    def find(self, hashed: int) -> Iterator[int]:
        """Yield the rows that may have the key, those of the newest table first."""
        tag = hashed & _LOW32
        for table in reversed(self._tables):
            slots, mask = table.slots, table.mask
            at = (hashed >> 32) & mask
            while slot := slots[at]:
                if slot >> 32 == tag:
                    yield (slot & _LOW32) - 1
                at = (at + 1) & mask

    def forget_below(self, row: int) -> None:
        """Drop the tables that hold only rows older than `row`."""
        while len(self._tables) > 1 and self._tables[0].last_row < row:
            del self._tables[0]

"""Everything the sandbox gateway remembers: numbered rows in memory, and a file if one is given.

Rows are kept packed (about 200 bytes) and numbered without gaps; the newest `rows_max` stay. The
file is a list of JSON lines, one for each new or changed row, read back at the next start. It is
written without fsync: it survives the end of the process, not the end of the machine.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from strongroom.gateways.sandbox_server.index import Index
from strongroom.gateways.sandbox_server.limits import ROWS_MAX
from strongroom.gateways.sandbox_server.model import ChargeRow, Kind, Row
from strongroom.gateways.sandbox_server.totals import Totals

_EVICT_ROWS_MAX: Final = 16_384
_BOOT_CHARS: Final = 8
_NUMBER_CHARS: Final = 10
_MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Row).decode
_line = msgspec.json.Encoder().encode


class _Header(msgspec.Struct, array_like=True):
    boot: str
    first: int


_read_header = msgspec.json.Decoder(_Header).decode
_read_line = msgspec.json.Decoder(tuple[int, Row]).decode


def kind_of(row: Row) -> Kind:
    """Return what kind of operation a row is."""
    return Kind.CHARGE if isinstance(row, ChargeRow) else row.kind


class Store:
    """Rows by number, by idempotency key and by reference."""

    def __init__(self, *, rows_max: int = ROWS_MAX, path: Path | None = None) -> None:
        self._rows_max = rows_max
        self._evict_rows = max(1, min(_EVICT_ROWS_MAX, rows_max // 2))
        self._path = path
        self._file: BinaryIO | None = None
        self._clear(secrets.token_hex(_BOOT_CHARS // 2))
        if path is not None:
            self._load(path)

    def append(self, row: Row) -> int:
        """Keep a new row and return its number."""
        number = self._first + len(self._rows)
        if self.by_reference(row.reference, kind_of(row)):
            self.totals.duplicate(row.reference)
        self._remember(number, row)
        self._write(number, row)
        return number

    def replace(self, number: int, row: Row) -> None:
        """Keep a row's new state; a row that is no longer kept stays forgotten."""
        if (old := self.get(number)) is not None:
            self._rows[number - self._first] = _pack(row)
            self.totals.replace(old, row)
            self._write(number, row)

    def get(self, number: int) -> Row | None:
        """Return a row, or None when it never was or is no longer kept."""
        at = number - self._first
        return _unpack(self._rows[at]) if 0 <= at < len(self._rows) else None

    def by_key(self, key: bytes) -> tuple[int, Row] | None:
        """Return the operation made under an idempotency key (its fingerprint)."""
        for number in self._keys.find(int.from_bytes(key)):
            row = self.get(number)
            if row is not None and row.keys.startswith(key):
                return number, row
        return None

    def by_reference(self, reference: str, kind: Kind | None = None) -> list[tuple[int, Row]]:
        """Return the operations with this reference (and of this kind), newest first."""
        found: list[tuple[int, Row]] = []
        for number in self._references.find(hash(reference) & _MASK64):
            row = self.get(number)
            if row is None or row.reference != reference:
                continue
            if kind is None or kind_of(row) is kind:
                found.append((number, row))
        return sorted(found, key=lambda item: -item[0])

    def newest_first(self) -> Iterator[tuple[int, Row]]:
        """Yield the kept rows, newest first."""
        for at in range(len(self._rows) - 1, -1, -1):
            yield self._first + at, _unpack(self._rows[at])

    def oldest_first(self) -> Iterator[tuple[int, Row]]:
        """Yield the kept rows, oldest first; rows that come meanwhile are seen too."""
        number = self._first
        while number < self._first + len(self._rows):
            number = max(number, self._first)
            yield number, _unpack(self._rows[number - self._first])
            number += 1

    def id_of(self, number: int, prefix: str) -> str:
        """Return the public id of a row, such as `ch_3f9a0c1200000007`."""
        return f"{prefix}_{self._boot}{number:0{_NUMBER_CHARS}x}"

    def number_of(self, public_id: str, prefix: str) -> int:
        """Return the row number in a public id, or -1 when the id was not made here."""
        head = f"{prefix}_{self._boot}"
        digits = public_id[len(head) :]
        if not public_id.startswith(head) or len(digits) != _NUMBER_CHARS:
            return -1
        try:
            number = int(digits, 16)
        except ValueError:
            return -1
        return number if self.id_of(number, prefix) == public_id else -1

    def reset(self) -> None:
        """Forget everything, on disk too; ids made before are unknown from now on."""
        self._clear(secrets.token_hex(_BOOT_CHARS // 2))
        if self._path is not None:
            self._rewrite(self._path)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _clear(self, boot: str) -> None:
        self._boot = boot
        self._first = 0
        self._rows: list[bytes] = []
        self._keys = Index()
        self._references = Index()
        self.totals = Totals()

    def _remember(self, number: int, row: Row) -> None:
        self._rows.append(_pack(row))
        self._keys.add(int.from_bytes(row.keys[:8]), number)
        self._references.add(hash(row.reference) & _MASK64, number)
        self.totals.add(row)
        if len(self._rows) >= self._rows_max + self._evict_rows:
            del self._rows[: self._evict_rows]
            self._first += self._evict_rows
            self._keys.forget_below(self._first)
            self._references.forget_below(self._first)

    def _write(self, number: int, row: Row) -> None:
        if self._file is not None:
            self._file.write(_line((number, row)) + b"\n")

    def _load(self, path: Path) -> None:
        if path.exists() and (rows := self._read(path)):
            self._first = min(rows)
            for number in sorted(rows):
                self._remember(number, rows[number])
        self._rewrite(path)

    def _read(self, path: Path) -> dict[int, Row]:
        rows: dict[int, Row] = {}
        with path.open("rb") as lines:
            self._boot = _read_header(next(lines, b'["",0]')).boot or self._boot
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # the process ended while it wrote this line
                number, row = _read_line(line)
                rows[number] = row
        return rows

    def _rewrite(self, path: Path) -> None:
        """Write a file with the kept rows alone, put it in place, and go on writing to it."""
        self.close()
        fresh = path.with_name(path.name + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(_line(_Header(self._boot, self._first)) + b"\n")
            for item in self.oldest_first():
                out.write(_line(item) + b"\n")
        fresh.replace(path)
        self._file = path.open("ab", buffering=0)

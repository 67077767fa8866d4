"""Feeds a stream to the finder in parts that overlap, so that no number is lost at a border.

Memory stays flat: one part and what the finder makes of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

import msgspec

from strongroom.detection.scan import OVERLAP_BYTES, Finder, Match
from strongroom.kernel.limits import SCAN_CHUNK_BYTES

_HALF = OVERLAP_BYTES // 2
_NOTHING = bytes(SCAN_CHUNK_BYTES + OVERLAP_BYTES)


class Source(Protocol):
    """Something to read from: fewer bytes than asked for mean that it ends."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes."""
        ...


class Seen(msgspec.Struct, frozen=True):
    """A match with the place in its stream."""

    match: Match
    base: int
    line: int


def matches(source: Source, finder: Finder, *, named: bool = False) -> Iterator[Seen]:
    """Return every match of a stream once, by place, with the number of its line."""
    kept, base, line = b"", 0, 1
    while True:
        fresh = source.read(SCAN_CHUNK_BYTES)
        part = kept + fresh
        last = len(fresh) < SCAN_CHUNK_BYTES
        low, high = (_HALF if base else 0), len(part) - (0 if last else _HALF)
        is_hole = part == _NOTHING[: len(part)]  # of a sparse file
        for match in () if is_hole else finder.find(part, named=named):
            if low <= match.offset < high:
                yield Seen(match, base, line + part.count(b"\n", 0, match.offset))
        if last:
            return
        kept = part[-OVERLAP_BYTES:]
        done = len(part) - len(kept)
        line += part.count(b"\n", 0, done)
        base += done


class Whole:
    """Reads exactly as much as asked for from a source that may give less before its end."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        parts, left = [], size
        while left:
            part = self._source.read(left)
            if not part:
                break
            parts.append(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class FileSource:
    """Reads a descriptor up to the size it had when it was opened: a growing log does end."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.at, self._end = 0, size

    def read(self, size: int, /) -> bytes:
        """Return the next bytes of the file."""
        part = os.pread(self._descriptor, min(size, self._end - self.at), self.at)
        self.at += len(part)
        return part


class Prefixed:
    """A source whose first bytes were looked at already."""

    def __init__(self, head: bytes, source: Source) -> None:
        self._head = head
        self._source = source

    def read(self, size: int, /) -> bytes:
        """Return the head's bytes first, then the rest."""
        if not self._head:
            return self._source.read(size)
        part, self._head = self._head[:size], self._head[size:]
        return part

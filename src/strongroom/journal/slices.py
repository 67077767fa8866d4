"""The exported slice: a file of JSON lines that proves itself (`strongroom.journal.slice.v1`).

    {"format","origin","key","checkpoint","kind","merchant","since","until","first","end"}
    {"index","body","proof"}                                                  one for each entry
    {"count","sha256","seal"}                                                          last line

`kind` is `range` (all entries with indexes `first` to `end - 1`) or `selection` (one merchant's, in
order of id). `sha256` is of all bytes before the last line; `seal`, if present, is that digest in a
note signed with the journal's key. These types are shared by the maker and the offline checker.
"""

from __future__ import annotations

from typing import Literal

import msgspec

FORMAT = "strongroom.journal.slice.v1"
MAX_LINE_BYTES = 1 << 20
"""Longest line a checker reads: an entry is about 1 kB."""


class SliceHeader(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The first line: what the file claims to be."""

    format: str
    origin: str
    key: str
    checkpoint: str
    kind: Literal["range", "selection"]
    merchant: str | None
    since: str | None
    until: str | None
    first: int
    end: int


class SliceEntry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An entry: its exact recorded text, its place, and its audit path in base64."""

    index: int
    body: str
    proof: list[str]


class SliceEnd(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The last line: how many entries came before, and the digest of all bytes before."""

    count: int
    sha256: str
    seal: str | None = None


def seal_text(origin: str, digest: str) -> str:
    """Return what a seal signs; no checkpoint begins with the name of this format."""
    return f"{FORMAT}\n{origin}\n{digest}\n"

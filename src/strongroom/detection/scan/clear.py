"""Finds runs of digits fast: whole blocks without twelve digits are passed over at the speed of C.

A run is digits with up to six bytes of separators between two of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from strongroom.detection.scan.issuers import MAX_DIGITS, MIN_DIGITS
from strongroom.detection.scan.model import Digits

GAP_BYTES_MAX = 6
"""Separators between two digits: three characters, or two of three bytes in UTF-8."""

_ASCII_SEPARATORS = b" -._/+"
_UNICODE_SEPARATORS = (
    "\u00a0\u00ad\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c"
    "\u200d\u2010\u2011\u2012\u2013\u2014\u2015\u202f\u2060\ufeff\u3000\u30fb\u00b7"
)
_SEPARATORS = _ASCII_SEPARATORS + bytes(sorted(set(_UNICODE_SEPARATORS.encode())))
_DIGIT, _GAP, _REST = 0x30, 0x2D, 0x78
_CLASSES = bytes(
    _DIGIT if 0x30 <= byte <= 0x39 else _GAP if byte in _SEPARATORS else _REST
    for byte in range(256)
)
_ZEROS = b"0" * MIN_DIGITS
_NO_ZEROS = b"x" * MIN_DIGITS
_GAPPED = b"0-"
_MORE = re.compile(rb"0*")
_RUN = re.compile(rb"0[0-]{11,}")
_UATP_DIGITS = 15
_DIGITS = re.compile(rb"[0-9]+")

_LARGE_BYTES, _BLOCK_BYTES, _BLOCK_OVERLAP_BYTES = 2048, 256, 136
"""A number of 19 digits with the widest gaps is 19 + 18 x 6 = 127 bytes."""

_FOREIGN_LEADS = b"\xd9\xdb\xdf\xe0\xe1\xea\xef\xf0"
"""First bytes of decimal digits of other scripts in UTF-8: two, three or four bytes each."""

_LEADS = bytes(0x4C if byte in _FOREIGN_LEADS else byte for byte in range(256))
_CONTINUATIONS = bytes(range(0x80, 0xC0))
_FOREIGN_DELETED = bytes(sorted((set(_CONTINUATIONS) | set(_SEPARATORS)) - set(_FOREIGN_LEADS)))
_FOREIGN = b"L" * MIN_DIGITS
_FOREIGN_RUN = re.compile(
    rf"\d(?:[{re.escape(_ASCII_SEPARATORS.decode() + _UNICODE_SEPARATORS)}]{{0,3}}\d){{11,}}"
)
_FOREIGN_DIGITS = re.compile(r"\d+")


def runs(data: bytes) -> Iterator[Digits]:
    """Return runs of at least twelve ASCII digits, whatever bytes stand around them."""
    classes = data.translate(_CLASSES)
    yield from _solid(data, classes)
    if _GAPPED in classes:
        yield from _gapped(data, classes.replace(_ZEROS, _NO_ZEROS))


def _solid(data: bytes, classes: bytes) -> Iterator[Digits]:
    """Return runs with a group of twelve digits or more; most are times and ids, told at once."""
    at = classes.find(_ZEROS)
    while at >= 0:
        match = _MORE.match(classes, at + MIN_DIGITS)
        end = match.end() if match else len(classes)
        if classes[at - 1 : at] == b"-" or classes[end : end + 1] == b"-":
            start = classes.rfind(b"x", 0, at) + 1
            stop = classes.find(b"x", end)
            end = len(classes) if stop < 0 else stop
            yield from _split(data, start, end)
        elif end - at <= MAX_DIGITS and _may_begin(data[at], end - at):
            yield Digits((data[at:end].decode(),), (at,), (end,))
        at = classes.find(_ZEROS, end)


def _gapped(data: bytes, classes: bytes) -> Iterator[Digits]:
    """Return runs of shorter groups; blocks that cannot hold twelve digits are passed over."""
    done = 0
    for start in _blocks(classes):
        stop = min(start + _BLOCK_BYTES + _BLOCK_OVERLAP_BYTES, len(data))
        for found in _RUN.finditer(classes, max(start, done), stop):
            begin, end = found.span()
            if begin == start or end == stop:  # cut by the block: take the whole run
                begin = classes.rfind(b"x", done, begin) + 1 or done
                after = classes.find(b"x", end)
                end = len(data) if after < 0 else after
            if begin < done:
                continue
            done = end
            if classes.count(b"0", begin, end) >= MIN_DIGITS:
                yield from _split(data, begin, end)


def _blocks(classes: bytes) -> Iterator[int]:
    """Return where blocks begin that may hold twelve digits: large ones first, then small ones."""
    large = [at for at in range(0, len(classes), _LARGE_BYTES) if _may(classes, at, _LARGE_BYTES)]
    for first in large:
        for start in range(first, min(first + _LARGE_BYTES, len(classes)), _BLOCK_BYTES):
            if _may(classes, start, _BLOCK_BYTES):
                yield start


def _may(classes: bytes, start: int, size: int) -> bool:
    part = classes[start : start + size + _BLOCK_OVERLAP_BYTES]
    return _ZEROS in part.translate(None, b"-")


def _may_begin(first: int, length: int) -> bool:
    return first not in b"071" or (first == 0x31 and length == _UATP_DIGITS)


def foreign_runs(data: bytes) -> Iterator[Digits]:
    """Return runs of digits of which some are of other scripts, full width included, in UTF-8."""
    if data.isascii() or _FOREIGN not in data.translate(_LEADS, _FOREIGN_DELETED):
        return
    text = data.decode("utf-8", "surrogateescape")
    place = at = 0
    for found in _FOREIGN_RUN.finditer(text):
        if found[0].isascii():
            continue
        at += len(text[place : found.start()].encode("utf-8", "surrogateescape"))
        place = found.start()
        groups, starts, ends = [], [], []
        for digits in _FOREIGN_DIGITS.finditer(found[0]):
            begin = at + len(found[0][: digits.start()].encode())
            groups.append("".join(str(int(char)) for char in digits[0]))
            starts.append(begin)
            ends.append(begin + len(digits[0].encode()))
        yield Digits(tuple(groups), tuple(starts), tuple(ends))


def _split(data: bytes, start: int, end: int) -> Iterator[Digits]:
    """Cut a run into groups, and into runs where a gap is too wide."""
    groups: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    count = 0
    for digits in _DIGITS.finditer(data, start, end):
        if ends and digits.start() - ends[-1] > GAP_BYTES_MAX:
            if count >= MIN_DIGITS:
                yield Digits(tuple(groups), tuple(starts), tuple(ends))
            groups, starts, ends, count = [], [], [], 0
        groups.append(digits[0].decode())
        starts.append(digits.start())
        ends.append(digits.end())
        count += len(groups[-1])
    if count >= MIN_DIGITS:
        yield Digits(tuple(groups), tuple(starts), tuple(ends))

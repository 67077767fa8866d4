"""Numbers behind an encoding: UTF-16, base64, hexadecimal, percent signs, escapes of JSON and HTML.

Every step yields decoded bytes with the place they came from; the finder looks into them again, to
a bounded depth. Prefilters keep each step at the speed of C where there is nothing to decode.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

import msgspec


class Decoded(msgspec.Struct, frozen=True):
    """Bytes that stood at `start` to `end` in an encoding named `writing`."""

    start: int
    end: int
    writing: str
    data: bytes
    is_long: bool = False

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Return where something in `data` stands: as near as it can be told."""
        if not self.is_long or not self.data:
            return self.start, self.end
        spread = (self.end - self.start) / len(self.data)
        begin = self.start + int(start * spread)
        return begin, max(begin + 1, self.start + int(end * spread))


def decoded(data: bytes) -> Iterator[Decoded]:
    """Return what every known encoding hides in `data`."""
    yield from _utf_16(data)
    yield from _hexadecimal(data)
    yield from _escaped(data)
    yield from _base64_numbers(data)
    yield from _long_runs(data)


def without_escaped_gaps(data: bytes) -> bytes:
    """Return `data` with separators that are written as escapes made spaces of the same length."""
    for mark, gaps in _ESCAPED_GAPS.items():
        if mark[:1] in data and mark in data:
            for gap in gaps:
                data = data.replace(gap, b" " * len(gap))
    return data


_ESCAPED_GAPS = {
    b"%2": (b"%20", b"%2D", b"%2d", b"%2E", b"%2e"),
    b"%C2": (b"%C2%A0",),
    b"&nb": (b"&nbsp;",),
    b"&#": (b"&#160;", b"&#xA0;", b"&#xa0;"),
    b"\\u00": (b"\\u00a0", b"\\u00A0", b"\\u0020", b"\\u002d", b"\\u002D"),
}


# --- UTF-16 --------------------------------------------------------------------------------------

_BOMS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_NULS_SHARE = 8
"""A text of mostly Latin letters in UTF-16 has a zero in each second byte; an eighth is enough."""

_WIDE_CLASSES = bytes(
    0x30 if byte in b"0123456789" else 0x2E if not byte else 0x2D if byte in b" -._/+\xa0" else 0x78
    for byte in range(256)
)
_WIDE_DIGITS = re.compile(rb"0\.(?:-\.){0,3}(?:0\.(?:-\.){0,3}){10,}0")
_NUL = b"\0"


def _utf_16(data: bytes) -> Iterator[Decoded]:
    name = _BOMS.get(data[:2]) or _likely_utf_16(data)
    if name is not None:
        text = data[: len(data) & ~1].decode(name, "replace")
        yield Decoded(0, len(data), "utf-16", text.encode("utf-8", "replace"), is_long=True)
    if _NUL in data:
        for found in _WIDE_DIGITS.finditer(data.translate(_WIDE_CLASSES)):
            start, end = found.span()
            yield Decoded(start, end, "utf-16", data[start:end].replace(_NUL, b""))


def _likely_utf_16(data: bytes) -> str | None:
    if _NUL not in data or _nuls(data) * _NULS_SHARE < len(data):
        return None
    even, odd = _nuls(data[::2]), _nuls(data[1::2])
    if odd > 4 * even:
        return "utf-16-le"
    return "utf-16-be" if even > 4 * odd else None


def _nuls(data: bytes) -> int:
    return len(data) - len(data.translate(None, _NUL))


# --- hexadecimal and escapes ---------------------------------------------------------------------

_HEX = re.compile(
    rb"3[0-9](?:[ :,]?(?:0x)?(?:(?:00|20|2[dDeE]|[aA]0|[cC]2)[ :,]?(?:0x)?){0,4}3[0-9]){11,}"
)
_HEX_PAIR = re.compile(rb"[0-9A-Fa-f]{2}")


def _hexadecimal(data: bytes) -> Iterator[Decoded]:
    for found in _HEX.finditer(data):
        pairs = b"".join(_HEX_PAIR.findall(found[0].replace(b"0x", b"")))
        clear = bytes.fromhex(pairs.decode()).replace(_NUL, b"")
        yield Decoded(found.start(), found.end(), "hex", clear)


def _escape(mark: bytes) -> re.Pattern[bytes]:
    gap = rb"(?:[ \-.+]|%b2[0dDeE];?|%b[aA]0;?){0,3}" % (mark, mark)
    return re.compile(rb"%b3[0-9];?(?:%b%b3[0-9];?){11,}" % (mark, gap, mark))


_ESCAPES = {
    "percent": (b"%3", _escape(rb"%"), re.compile(rb"%([0-9A-Fa-f]{2})")),
    "json-escape": (b"\\u003", _escape(rb"\\u00"), re.compile(rb"\\u00([0-9A-Fa-f]{2})")),
    "escape": (b"\\x3", _escape(rb"\\x"), re.compile(rb"\\x([0-9A-Fa-f]{2})")),
    "quoted-printable": (b"=3", _escape(rb"="), re.compile(rb"=([0-9A-Fa-f]{2})")),
    "html": (b"&#x3", _escape(rb"&#x"), re.compile(rb"&#x([0-9A-Fa-f]{2});?")),
}
_DECIMAL = re.compile(
    rb"&#(?:4[89]|5[0-7]);(?:(?:[ \-.]|&#(?:32|45|160);){0,3}&#(?:4[89]|5[0-7]);){11,}"
)
_DECIMAL_ONE = re.compile(rb"&#([0-9]{2,3});")


def _escaped(data: bytes) -> Iterator[Decoded]:
    for writing, (mark, pattern, one) in _ESCAPES.items():
        if mark[:1] not in data or mark not in data:
            continue
        for found in pattern.finditer(data):
            clear = one.sub(lambda code: bytes.fromhex(code[1].decode()), found[0])
            yield Decoded(found.start(), found.end(), writing, clear)
    if b"&" in data and b"&#" in data:
        for found in _DECIMAL.finditer(data):
            clear = _DECIMAL_ONE.sub(lambda code: bytes([int(code[1])]), found[0])
            yield Decoded(found.start(), found.end(), "html", clear)


# --- base64 --------------------------------------------------------------------------------------

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_NUMBER = re.compile(
    rb"(?:[I-P][CDSTijyz][AEIMQUYcgkosw048][g-z0-9+/_-](?:\r?\n)?){2,}"
    rb"[I-P][CDSTijyz][AEIMQUYcgkosw048][g-z0-9+/_-]"
)
"""Three groups in a row that each decode to three of the bytes 0x20 to 0x3f: digits and separators.
Twelve digits have them at any alignment, because a group is found where it begins."""

_OF_NUMBERS = bytes(
    0x73 if byte in b"CDEIJKLMNOPQSTUYcgijyzhklmnopqrstuvwx0123456789+/_-A\r\n" else 0x20
    for byte in range(256)
)
_ENOUGH = b"s" * 12
_AROUND_CHARS = 128

_IN_ALPHABET = bytes(0x61 if byte in _ALPHABET else 0x20 for byte in range(256))
_LONG_CHARS, _STRIDE = 152, 8
_LONG = b"a" * (_LONG_CHARS // _STRIDE - 1)
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n\0"
_HEX_ONLY = re.compile(rb"[0-9A-Fa-f]+\Z")


def _base64_numbers(data: bytes) -> Iterator[Decoded]:
    """Find digits in base64 by the few letters they can be written with."""
    classes = data.translate(_OF_NUMBERS)
    at = classes.find(_ENOUGH)
    while at >= 0:
        end = classes.find(b" ", at)
        end = len(data) if end < 0 else end
        found_here = () if data[at:end].isdigit() else _NUMBER.finditer(data, max(0, at - 3), end)
        for found in found_here:
            yield from _around(data, found.start(), found.end())
        at = classes.find(_ENOUGH, end)


def _around(data: bytes, start: int, end: int) -> Iterator[Decoded]:
    """Decode a number with its neighborhood, from a place that is a whole number of groups away."""
    begin = start
    for _ in range(_AROUND_CHARS // 4):
        if begin < 4 or data[begin - 4 : begin].strip(_ALPHABET):
            break
        begin -= 4
    stop = end
    while stop < min(len(data), end + _AROUND_CHARS) and data[stop] in _ALPHABET + b"=\r\n":
        stop += 1
    clear = _from_base64(data[begin:stop])
    if clear is not None:
        yield Decoded(start, end, "base64", clear)


def _long_runs(data: bytes) -> Iterator[Decoded]:
    """Decode whole documents in base64 or hexadecimal, for encodings inside encodings."""
    classes = data.translate(_IN_ALPHABET)
    samples = classes[::_STRIDE]
    sample = samples.find(_LONG)
    while sample >= 0:
        at = sample * _STRIDE
        start = classes.rfind(b" ", 0, at) + 1
        end = classes.find(b" ", at)
        end = len(data) if end < 0 else end
        if end - start >= _LONG_CHARS:
            yield from _document(data, start, end)
        sample = samples.find(_LONG, max(sample + 1, end // _STRIDE))


def _document(data: bytes, start: int, end: int) -> Iterator[Decoded]:
    """Decode one run; one that began before `data` does may be cut inside a group."""
    run = data[start:end]
    is_hex = _HEX_ONLY.match(run) is not None
    for cut in range(2 if is_hex else 4) if start == 0 else (0,):
        clear = _from_hex(run[cut:]) if is_hex else _from_base64(run[cut:])
        if clear is None or len(clear.translate(None, _PRINTABLE)) * 10 > len(clear):
            continue
        writing = "hex" if is_hex else "base64"
        yield Decoded(start + cut, end, writing, clear, is_long=True)


def _from_hex(run: bytes) -> bytes:
    return bytes.fromhex(run[: len(run) & ~1].decode())


def _from_base64(run: bytes) -> bytes | None:
    bare = run.translate(_URL_SAFE, b"\r\n=")
    if len(bare) % 4 == 1:
        bare = bare[:-1]
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4))
    except binascii.Error:
        return None

"""Looks for card data where none may be: numbers, security codes and names, in any disguise.

A card number is found with separators, in UTF-16, hex, base64, as a packed decimal and as a binary
integer. The masked form (first six and last four digits) is not a card number and is not found.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from strongroom.kernel.secret import luhn_valid
from strongroom.vault.brands import UNKNOWN, brand_of

_RUN = re.compile(rb"[0-9](?:[ ./_:-]{0,2}[0-9]){11,}")
_ALONE = re.compile(rb"(?<![0-9A-Za-z])[0-9](?:[ ./_:-]{0,2}[0-9]){11,}(?![0-9A-Za-z])")
_UUID = re.compile(rb"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOT_DIGIT = re.compile(rb"[^0-9]+")
_HEX = re.compile(rb"[0-9a-fA-F]{24,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_EMPTY = bytes(32)
_TELLING_BYTES = 5
"""Binary forms of fewer different bytes, 40 00 00 00 00 00 00 02 for one, are everywhere."""
_LENGTHS = range(12, 20)


class Hit(msgspec.Struct, frozen=True):
    """One find: what, in which disguise, where. Shows the masked number only."""

    what: str
    disguise: str
    place: str


class Hunter:
    """Knows what was planted and what any card number looks like.

    Args:
        numbers: planted card numbers; in raw files only these are looked for.
        codes: planted security codes, found next to a name such as `cvc` or alone in quotes.
        names: planted holder names.
    """

    def __init__(
        self, *, numbers: Iterable[str], codes: Iterable[str] = (), names: Iterable[str] = ()
    ) -> None:
        self._numbers = [number.encode() for number in numbers]
        self._names = [name.lower().encode() for name in names]
        self._codes = [code.encode() for code in codes]
        either = b"|".join(self._codes) or rb"(?!)"
        self._code = re.compile(
            rb"[\"'](?:%b)[\"']|(?:cvc|cvv|code)\W{0,12}(?:%b)\b" % (either, either)
        )
        self._binary = [
            (form, name)
            for number in self._numbers
            for name, form in _binary_forms(number)
            if len(set(form)) >= _TELLING_BYTES
        ]

    def text(self, place: str, data: bytes) -> list[Hit]:
        """Search text: everything that looks like a card number counts, planted or not."""
        return [*self.raw(place, data), *self._alike(place, data)]

    def raw(self, place: str, data: bytes) -> list[Hit]:
        """Search any bytes for what was planted."""
        found = []
        data = b"\0\0".join(filter(None, data.split(_EMPTY)))
        for disguise, shown in _undisguised(data):
            found += [Hit(what, disguise, place) for what in self._planted(shown)]
        found += [Hit("number", name, place) for form, name in self._binary if form in data]
        return found

    def files(self, root: Path) -> tuple[list[Hit], int, int]:
        """Search every file below a directory; returns finds, files and bytes read."""
        found: list[Hit] = []
        count = size = 0
        for path in sorted(root.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            try:
                data = path.read_bytes()
            except FileNotFoundError:  # a running server removes files of its own
                continue
            found += self.raw(str(path.relative_to(root)), data)
            count, size = count + 1, size + len(data)
        return found, count, size

    def _planted(self, data: bytes) -> Iterator[str]:
        digits = b"|".join(_NOT_DIGIT.sub(b"", run) for run in _RUN.findall(data))
        for number in self._numbers:
            if number in digits:
                yield f"number {_masked(number)}"
        lowered = data.lower()
        if any(code in data for code in self._codes) and self._code.search(lowered):
            yield "code"
        if any(name in lowered for name in self._names):
            yield "name"

    def _alike(self, place: str, data: bytes) -> Iterator[Hit]:
        for run in _ALONE.findall(_UUID.sub(b"uuid", data)):
            digits = _NOT_DIGIT.sub(b"", run).decode()
            if len(digits) in _LENGTHS and looks_like_a_card(digits):
                yield Hit(f"number {_masked(digits.encode())}", "alike", place)


def looks_like_a_card(digits: str) -> bool:
    """Return whether digits pass Luhn and have prefix and length of a brand."""
    brand = brand_of(digits)
    return brand.name != UNKNOWN and len(digits) in brand.lengths and luhn_valid(digits)


def _undisguised(data: bytes) -> Iterator[tuple[str, bytes]]:
    yield "clear", data
    if b"\0" in data:
        yield "utf-16", data.replace(b"\0", b"")
    yield "hex", b"\n".join(_from_hex(data))
    yield "base64", b"\n".join(_from_base64(data))


def _from_hex(data: bytes) -> Iterator[bytes]:
    for run in _HEX.findall(data):
        for start in (0, 1):
            even = run[start : start + (len(run) - start) // 2 * 2]
            yield bytes.fromhex(even.decode())


def _from_base64(data: bytes) -> Iterator[bytes]:
    for run in _BASE64.findall(data):
        plain = run.translate(_URL_SAFE)
        for start in range(4):
            whole = plain[start : start + (len(plain) - start) // 4 * 4]
            try:
                yield base64.b64decode(whole + _rest(plain[start + len(whole) :]))
            except binascii.Error:
                continue


def _rest(tail: bytes) -> bytes:
    return tail + b"=" * (4 - len(tail)) if len(tail) > 1 else b""


def _binary_forms(number: bytes) -> Iterator[tuple[str, bytes]]:
    text = number.decode()
    if len(text) % 2 == 0:
        yield "packed decimal", bytes.fromhex(text)
    value = int(text)
    if value < 2**63:
        yield "big-endian integer", value.to_bytes(8, "big")
        yield "little-endian integer", value.to_bytes(8, "little")


def _masked(number: bytes) -> str:
    return f"{number[:6].decode()}…{number[-4:].decode()}"

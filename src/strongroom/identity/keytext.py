"""The text of API keys: `sr_{test|live}_{sk|pk|rk}_<30 base62><6 base62 CRC-32>`. Pure.

30 base62 characters carry 178 bits. The checksum (CRC-32 of all that stands before it, most
significant digit first) lets a typing error be refused, and a leaked key be recognized by
scanners, without a look into the database. It proves nothing: only the stored hash does.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

import msgspec

from strongroom.identity.model import KeyKind, Mode

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_UNBIASED = 4 * len(_ALPHABET)
"""Random bytes from here on are thrown away: 256 is no multiple of 62."""

_ENTROPY_CHARS = 30
_HINT_CHARS = 4
_HEADER = re.compile(r"(?i:bearer) {1,4}([0-9A-Za-z_]{47})", re.ASCII)
_TEXT = re.compile(r"(sr_(test|live)_(sk|pk|rk)_[0-9A-Za-z]{30})([0-9A-Za-z]{6})", re.ASCII)


class Presented(msgspec.Struct, frozen=True, kw_only=True):
    """A well-formed key as a caller sent it. `text` is secret; `hint` is safe to keep."""

    text: bytes
    mode: str
    kind: KeyKind

    def __repr__(self) -> str:
        return "Presented([secret])"

    @property
    def prefix(self) -> str:
        """What anyone may know of the key: its mode and kind."""
        return f"sr_{self.mode}_{self.kind.value}"

    @property
    def hint(self) -> str:
        """What its owner recognizes it by: the prefix and 4 of 36 characters."""
        return hint_of(self.text.decode("ascii"))


def parse(authorization: str) -> Presented | None:
    """Return the key inside an `Authorization: Bearer …` value, or None when it is none of ours."""
    found = _HEADER.fullmatch(authorization)
    return None if found is None else parse_text(found[1])


def parse_text(text: str) -> Presented | None:
    """Return the key that a text is, or None when it is none of ours."""
    found = _TEXT.fullmatch(text)
    if found is None or _checksum(found[1]) != found[4]:
        return None
    return Presented(text=text.encode("ascii"), mode=found[2], kind=KeyKind(found[3]))


def generate(*, mode: Mode, kind: KeyKind, random_bytes: Callable[[int], bytes]) -> str:
    """Return the text of a fresh key. `random_bytes` must be a CSPRNG.

    Every character is drawn uniformly: bytes that would favor some characters are not used.
    """
    head = f"sr_{mode}_{kind.value}_"
    drawn = ""
    while len(drawn) < _ENTROPY_CHARS:
        drawn += "".join(_ALPHABET[b % 62] for b in random_bytes(40) if b < _UNBIASED)
    body = head + drawn[:_ENTROPY_CHARS]
    return body + _checksum(body)


def hint_of(text: str) -> str:
    """Return the part of a key that people may see."""
    start = text.rindex("_") + 1
    return text[: start + _HINT_CHARS] + "…"


def _checksum(body: str) -> str:
    rest, low = divmod(zlib.crc32(body.encode("ascii")), len(_PAIRS))
    high, middle = divmod(rest, len(_PAIRS))
    return _PAIRS[high] + _PAIRS[middle] + _PAIRS[low]

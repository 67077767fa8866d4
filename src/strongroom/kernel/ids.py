"""Identifiers: a prefix and a UUIDv7 in Crockford base32 (the TypeID form), made by us.

UUIDv7 (RFC 9562) sorts by creation time, so new rows land at the right edge of every index and no
database sequence is needed. Outside, an id is `pay_01k…`; in SQL it is the bare uuid.
"""

from __future__ import annotations

import os
import time
from uuid import UUID

from strongroom.kernel.errors import StrongroomError

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_VALUES = {pair: number for number, pair in enumerate(_PAIRS)}
_SUFFIX_LENGTH = 26
_MASK_10 = 0x3FF
_SHIFTS = tuple(range(120, -1, -10))

NIL_UUID = UUID(int=0)
"""Stands for "the installation itself" where a tenant column needs a value."""


def new_uuid7() -> UUID:
    """Return a UUIDv7: 48 bits of unix milliseconds, 74 random bits (RFC 9562 section 5.7)."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return UUID(int=value)


def id_from(prefix: str, value: UUID) -> str:
    """Return the outside form of `value`, for example `pay_01k…`."""
    number = value.int
    pairs = _PAIRS
    return prefix + "_" + "".join([pairs[number >> shift & _MASK_10] for shift in _SHIFTS])


def new_id(prefix: str) -> str:
    """Return a fresh id such as `pay_01k…`; ids made later sort after earlier ones."""
    return id_from(prefix, new_uuid7())


def uuid_of(text: str, prefix: str) -> UUID:
    """Return the uuid inside an id.

    Raises:
        StrongroomError: `invalid_id` when the text is not a well-formed id with that prefix.
    """
    head, separator, tail = text.partition("_")
    if head != prefix or not separator or len(tail) != _SUFFIX_LENGTH or tail[0] > "7":
        raise _invalid(prefix)
    number = 0
    for start in range(0, _SUFFIX_LENGTH, 2):
        pair = _VALUES.get(tail[start : start + 2])
        if pair is None:
            raise _invalid(prefix)
        number = number << 10 | pair
    return UUID(int=number)


def unix_ms_of(value: UUID) -> int:
    """Return the creation time in unix milliseconds that a UUIDv7 carries."""
    return value.int >> 80


def _invalid(prefix: str) -> StrongroomError:
    return StrongroomError("invalid_id", f"The id must be a well-formed '{prefix}_…' id.")

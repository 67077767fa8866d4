"""Identifiers: a prefix and a UUIDv7 in Crockford base32 (the TypeID form), made by us.

UUIDv7 (RFC 9562) sorts by creation time, so new rows land at the right edge of every index and no
database sequence is needed. Outside, an id is `pay_01k…`; in SQL it is the bare uuid.
"""

from __future__ import annotations

import os
import re
import time
from functools import lru_cache
from uuid import UUID

from strongroom.kernel.errors import StrongroomError

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_TO_PYTHON = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_ONLY_ALPHABET = re.compile(f"[{_ALPHABET}]*")
_SUFFIX_LENGTH = 26
_VERSION_7 = 0x7 << 76 | 0x2 << 62
_RANDOM = (1 << 80) - 1 & ~(0xF << 76) & ~(0x3 << 62)

NIL_UUID = UUID(int=0)
"""Stands for "the installation itself" where a tenant column needs a value."""


def new_uuid7() -> UUID:
    """Return a UUIDv7: 48 bits of unix milliseconds, 74 random bits (RFC 9562 section 5.7)."""
    random = int.from_bytes(os.urandom(10), "big") & _RANDOM
    return UUID(int=(time.time_ns() // 1_000_000) << 80 | random | _VERSION_7)


def id_from(prefix: str, value: UUID) -> str:
    """Return the outside form of `value`, for example `pay_01k…`."""
    return id_from_int(prefix, value.int)


def id_from_int(prefix: str, n: int) -> str:
    """Return the outside form of a uuid given as its 128-bit number."""
    p = _PAIRS
    return (
        f"{prefix}_{p[n >> 120]}{p[n >> 110 & 1023]}{p[n >> 100 & 1023]}{p[n >> 90 & 1023]}"
        f"{p[n >> 80 & 1023]}{p[n >> 70 & 1023]}{p[n >> 60 & 1023]}{p[n >> 50 & 1023]}"
        f"{p[n >> 40 & 1023]}{p[n >> 30 & 1023]}{p[n >> 20 & 1023]}{p[n >> 10 & 1023]}"
        f"{p[n & 1023]}"
    )


def new_id(prefix: str) -> str:
    """Return a fresh id such as `pay_01k…`; ids made later sort after earlier ones."""
    return id_from(prefix, new_uuid7())


@lru_cache(maxsize=16_384)
def uuid_of(text: str, prefix: str) -> UUID:
    """Return the uuid inside an id.

    Raises:
        StrongroomError: `invalid_id` when the text is not a well-formed id with that prefix.
    """
    head, separator, tail = text.partition("_")
    if head != prefix or not separator or len(tail) != _SUFFIX_LENGTH or tail[0] > "7":
        raise _invalid(prefix)
    if not _ONLY_ALPHABET.fullmatch(tail):
        raise _invalid(prefix)
    return UUID(int=int(tail.translate(_TO_PYTHON), 32))


def unix_ms_of(value: UUID) -> int:
    """Return the creation time in unix milliseconds that a UUIDv7 carries."""
    return value.int >> 80


def _invalid(prefix: str) -> StrongroomError:
    return StrongroomError("invalid_id", f"The id must be a well-formed '{prefix}_…' id.")

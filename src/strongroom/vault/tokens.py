"""New tokens: a coarse time so that rows lie in order, and 94 bits of chance. Nothing of the card.

The uuid behind a token is a UUIDv8 (RFC 9562 section 5.8): 28 bits of unix minutes, then 94 bits
from the operating system's generator around the fixed version and variant bits.
"""

from __future__ import annotations

import os
from datetime import datetime
from uuid import UUID

_VERSION_8 = 0x8 << 76
_VARIANT = 0x2 << 62
_KEEP = ~(0xF << 76 | 0x3 << 62)
_MINUTES_MASK = 0xFFF_FFFF


def new_token_uuid(now: datetime) -> UUID:
    """Return a fresh uuid for a token made at `now`."""
    minutes = int(now.timestamp()) // 60 & _MINUTES_MASK
    value = minutes << 100 | int.from_bytes(os.urandom(13), "big") >> 4
    return UUID(int=value & _KEEP | _VERSION_8 | _VARIANT)

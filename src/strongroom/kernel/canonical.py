"""Canonical JSON (RFC 8785) for the values the house signs and hashes.

Only `None`, `bool`, `int` within ±(2^53-1), `str`, `list` and `dict` with ASCII keys are taken, so
that canonical form needs no number formatting and no UTF-16 key order; anything else is refused.
"""

from __future__ import annotations

from typing import Any

import msgspec

from strongroom.kernel.errors import StrongroomError

_MAX_INT = 2**53 - 1
_encoder = msgspec.json.Encoder(order="sorted")


def dumps(value: Any) -> bytes:
    """Return the RFC 8785 form of `value` as UTF-8 bytes.

    Raises:
        StrongroomError: `not_canonical` for floats, big integers, non-ASCII keys or other types.
    """
    _check(value)
    return _encoder.encode(value)


def _check(value: Any) -> None:
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return
    if kind is int:
        if -_MAX_INT <= value <= _MAX_INT:
            return
    elif kind is dict:
        for key, item in value.items():
            if type(key) is not str or not key.isascii():
                break
            _check(item)
        else:
            return
    elif kind is list or kind is tuple:
        for item in value:
            _check(item)
        return
    raise StrongroomError("not_canonical", "The value has no canonical JSON form.")

"""Pure decisions of identity that every kind of credential shares."""

from __future__ import annotations

import unicodedata

from strongroom.identity import errors

_TEXT_MAX = 100


def check_text(param: str, value: str) -> str:
    """Return a one-line text for people of at most 100 characters, or refuse it."""
    printable = not any(unicodedata.category(char).startswith("C") for char in value)
    if not (1 <= len(value) <= _TEXT_MAX and value == value.strip() and printable):
        raise errors.invalid_parameter(
            param, f"Give 1 to {_TEXT_MAX} printable characters without space at either end."
        )
    return value

"""Tokens of digits: as long as the card number, never a card number, telling nothing of it.

The first digit is 9, which no scheme of `brands` issues under (ISO/IEC 7812-1 leaves it to national
bodies), and the Luhn check always fails: no parser takes one for a card. The rest is the operating
system's chance, except for the card's last four when they were asked for. First digits of a card
are never kept: with them and the last four only a few thousand cards would be possible.
"""

from __future__ import annotations

import secrets

import msgspec

from strongroom.kernel.secret import Pan, luhn_valid

_FIRST = "9"
_LAST = 4
_HIDDEN = "*" * _LAST
_SHORTEST, _LONGEST = 12, 19


class Alias(msgspec.Struct, frozen=True):
    """An alias: as callers see it, and as it is stored, without digits of the card."""

    text: str
    stored: str


def fresh_alias(pan: Pan, *, keep_last4: bool) -> Alias:
    """Return a new alias for a card number."""
    digits = pan.reveal()
    last = digits[-_LAST:] if keep_last4 else ""
    free = len(digits) - len(_FIRST) - len(last)
    while True:
        body = _FIRST + f"{secrets.randbelow(10**free):0{free}d}"
        if not luhn_valid(body + last):
            return Alias(body + last, body + _HIDDEN if last else body)


def readings(text: str) -> tuple[str, str] | None:
    """Return how an alias may be stored: whole, or with its end hidden. None if it is no alias."""
    well_formed = text.isascii() and text.isdigit() and _SHORTEST <= len(text) <= _LONGEST
    if not well_formed or text[0] != _FIRST or luhn_valid(text):
        return None
    return text, text[:-_LAST] + _HIDDEN

"""Finds what looks like a card number in text; pure, and cheap where there is nothing to find.

The journal refuses entries with it, the API refuses free text with it (PCI DSS 3.5.1).
"""

from __future__ import annotations

import re

from strongroom.kernel.secret import luhn_valid

_MIN_DIGITS, _MAX_DIGITS, _UATP_DIGITS = 12, 19, 15
_DIGITS_TO_0 = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x78 for byte in range(256))
_ZEROS = b"0" * _MIN_DIGITS

_RUN = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]*([0-9](?:[ -]?[0-9]){11,})[A-Za-z]*(?![0-9A-Za-z])")
"""Whole runs of digits with single spaces or hyphens; letters may touch them (`PAN4111…`).

A run with letters and again digits around it is part of a digest or of an id and does not count.
"""

_UUID = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
_SEPARATOR = re.compile(r"[ -]")


def possible(text: bytes) -> bool:
    """Return, in half a microsecond, whether UTF-8 text can hold a card number at all."""
    return _ZEROS in text.translate(_DIGITS_TO_0, b" -")


def holds_card_number(text: str) -> bool:
    """Return whether text holds 12 to 19 digits that may be a card number (ISO/IEC 7812-1).

    Whole groups of digits between separators are tried in every combination, so that a number
    before or after the card number does not hide it.
    """
    return any(_run_holds_card(run[1]) for run in _RUN.finditer(_UUID.sub("uuid", text)))


def _run_holds_card(run: str) -> bool:
    groups = _SEPARATOR.split(run)
    for start in range(len(groups)):
        digits = ""
        for group in groups[start:]:
            digits += group
            if len(digits) > _MAX_DIGITS:
                break
            if len(digits) >= _MIN_DIGITS and _issuer_plausible(digits) and luhn_valid(digits):
                return True
    return False


def _issuer_plausible(digits: str) -> bool:
    """Return whether a card number may begin so: no 0, no 7, and 1 only for UATP.

    This keeps unix times in milli-, micro- and nanoseconds (13, 16 and 19 digits from 1) out.
    """
    if digits[0] == "1":
        return len(digits) == _UATP_DIGITS
    return digits[0] not in "07"

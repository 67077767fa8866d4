"""Finds what looks like a card number in text; pure, and cheap where there is nothing to find.

The journal refuses entries with it, the API refuses free text with it (PCI DSS 3.5.1).
"""

from __future__ import annotations

import re
import unicodedata

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


# --- free text that people wrote -----------------------------------------------------------------

_GROUPS = re.compile(r"[0-9]+(?:[^0-9A-Za-z]{1,3}[0-9]+)*")
_DIGITS = re.compile(r"[0-9]+")
_DIGITS_THEN_LETTERS = re.compile(r"[0-9][A-Za-z]{1,19}\Z")
_LETTERS_THEN_DIGITS = re.compile(r"[A-Za-z]{1,19}[0-9]")
_CARD = re.compile(
    r"(?:4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|095|[689]\d)\d{11}(?:\d{2})?(?:\d{3})?"  # Diners
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|(?:6011|64[4-9]\d|65\d{2}|62\d{2}|81\d{2})\d{12,15}"  # Discover, UnionPay
    r"|(?:50|5[6-9]|6\d)\d{10,17})\Z"  # Maestro
)


def free_text_holds_card_number(text: str) -> bool:
    """Return whether people's text holds a card number of a known brand, however it is written.

    Up to three characters may separate its groups; letters may touch it; digits of other scripts
    and invisible characters are seen through. Groups are only tried whole, and digits between
    letters that have digits beyond them again are part of an id or a digest: so the references
    that merchants make are refused by chance less than once in ten thousand.
    """
    folded = _UUID.sub("uuid", text if text.isascii() else _folded(text))
    return any(_groups_hold_card(_outside_ids(run)) for run in _GROUPS.finditer(folded))


def _outside_ids(run: re.Match[str]) -> list[str]:
    groups = _DIGITS.findall(run[0])
    if _DIGITS_THEN_LETTERS.search(run.string, 0, run.start()):
        groups = groups[1:]
    if _LETTERS_THEN_DIGITS.match(run.string, run.end()):
        groups = groups[:-1]
    return groups


def _folded(text: str) -> str:
    seen = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in seen)


def _groups_hold_card(groups: list[str]) -> bool:
    for start in range(len(groups)):
        digits = ""
        for group in groups[start:]:
            digits += group
            if len(digits) > _MAX_DIGITS:
                break
            if _CARD.match(digits) and luhn_valid(digits):
                return True
    return False

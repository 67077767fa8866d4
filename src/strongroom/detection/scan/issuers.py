"""Whether digits can be a card number: brand, length, check digit. Data of the schemes only."""

from __future__ import annotations

from strongroom.kernel.secret import luhn_valid
from strongroom.vault.brands import PUBLISHED_TEST_NUMBERS, UNKNOWN, brand_of

MIN_DIGITS, MAX_DIGITS = 12, 19
OTHER = "other"

_LOCAL = (
    # name, first prefix, last prefix, lengths: schemes that gateways of ours do not take
    ("mir", 2200, 2204, range(16, 20)),
    ("uatp", 1, 1, (15,)),
    ("verve", 506099, 506198, (16, 18, 19)),
    ("verve", 650002, 650027, (16, 18, 19)),
    ("rupay", 508500, 508999, (16,)),
    ("rupay", 606985, 607984, (16,)),
    ("rupay", 608001, 608500, (16,)),
    ("rupay", 652150, 653149, (16,)),
    ("rupay", 81, 82, (16,)),
    ("elo", 636297, 636297, (16,)),
    ("elo", 636368, 636369, (16,)),
    ("hipercard", 606282, 606282, (16, 19)),
    ("troy", 9792, 9792, (16,)),
    ("interpayment", 636, 636, range(16, 20)),
    ("maestro", 561, 561, range(12, 20)),
    ("maestro", 5018, 5038, range(12, 20)),
    ("maestro", 6759, 6763, range(12, 20)),
    ("unionpay", 8100, 8171, range(16, 20)),
)

_IMPOSSIBLE_FIRST = frozenset("07")
_UATP_DIGITS = 15


def issuer_of(digits: str) -> str | None:
    """Return the brand that digits belong to, `other` for a plausible one, None for no card.

    A number that begins with 0 or 7 is none; with 1 only a UATP card of 15 digits: this keeps
    unix times of any unit out.
    """
    if not MIN_DIGITS <= len(digits) <= MAX_DIGITS or digits[0] in _IMPOSSIBLE_FIRST:
        return None
    if digits[0] == "1" and len(digits) != _UATP_DIGITS:
        return None
    if not luhn_valid(digits) or len(set(digits)) == 1:
        return None
    brand = brand_of(digits)
    if brand.name != UNKNOWN and len(digits) in brand.lengths:
        return brand.name
    return _local(digits) or OTHER


def is_published_test_number(digits: str) -> bool:
    """Return whether gateways publish this number for testing."""
    return digits in PUBLISHED_TEST_NUMBERS


def _local(digits: str) -> str | None:
    for name, low, high, lengths in _LOCAL:
        if len(digits) in lengths and low <= int(digits[: len(str(low))]) <= high:
            return name
    return None

"""Card brands by number range and length, and the published test numbers. Data only.

Ranges are of ISO/IEC 7812 issuer prefixes as the schemes publish them; the first match counts.
"""

from __future__ import annotations

import msgspec

UNKNOWN = "unknown"


class Brand(msgspec.Struct, frozen=True):
    """One brand: its name, its prefixes as ranges of equal length, lengths of PAN and CVC."""

    name: str
    ranges: tuple[tuple[int, int], ...]
    lengths: frozenset[int]
    cvc_digits: int = 3


def _lengths(*values: int) -> frozenset[int]:
    return frozenset(values)


BRANDS = (
    Brand("visa", ((4, 4),), _lengths(13, 16, 19)),
    Brand("mastercard", ((51, 55), (2221, 2720)), _lengths(16)),
    Brand("amex", ((34, 34), (37, 37)), _lengths(15), cvc_digits=4),
    Brand("discover", ((6011, 6011), (64, 65), (622126, 622925)), _lengths(16, 17, 18, 19)),
    Brand("diners", ((300, 305), (309, 309), (36, 36), (38, 39)), _lengths(14, 15, 16, 17, 18, 19)),
    Brand("jcb", ((3528, 3589),), _lengths(16, 17, 18, 19)),
    Brand("unionpay", ((62, 62),), _lengths(16, 17, 18, 19)),
    Brand(
        "maestro",
        ((50, 50), (56, 58), (6304, 6304), (67, 67)),
        _lengths(12, 13, 14, 15, 16, 17, 18, 19),
    ),
)
OTHER = Brand(UNKNOWN, (), _lengths(*range(12, 20)))

PREFIX_DIGITS = 6
"""Digits of the longest range above."""


def _table() -> dict[str, Brand]:
    table: dict[str, Brand] = {}
    for brand in BRANDS:
        for low, high in brand.ranges:
            for prefix in range(low, high + 1):
                table.setdefault(str(prefix), brand)
    return table


_BY_PREFIX = _table()
_PREFIX_LENGTHS = tuple(sorted({len(prefix) for prefix in _BY_PREFIX}, reverse=True))


def brand_of(digits: str) -> Brand:
    """Return the brand a number belongs to: the one with the longest matching prefix."""
    for length in _PREFIX_LENGTHS:
        found = _BY_PREFIX.get(digits[:length])
        if found is not None:
            return found
    return OTHER


PUBLISHED_TEST_NUMBERS = frozenset(
    # Approvals of every brand.
    "4242424242424242 4000056655665556 4012888888881881 5555555555554444 5200828282828210 "
    "5105105105105100 2223003122003222 378282246310005 371449635398431 6011111111111117 "
    "6011000990139424 30569309025904 36227206271667 3530111333300000 3566002020360505 "
    "6200000000000005 6205500000000000004 "
    # Declines.
    "4000000000000002 4000000000009995 4000000000009987 4000000000009979 4000000000000069 "
    "4000000000000127 4000000000000119 4000000000000341 4000000000006975 "
    # 3-D Secure.
    "4000002500003155 4000002760003184 4000008260003178 4000000000003220 4000000000003063 "
    "4000008400001629 4000000000003055 4000000000003097 "
    # Disputes, risk, checks, funds, refunds.
    "4000000000000259 4000000000002685 4100000000000019 4000000000009235 4000000000004954 "
    "4000000000000010 4000000000000028 4000000000000036 4000000000000101 4000000000000077 "
    "4000000000007726 4000000000005126 4000000000001976 4000000000005423 "
    # Adyen.
    "4111111111111111 370000000000002 4035501428146300 4871049999999910 6703444444444449 "
    "5454545454545454 4917610000000000".split()
)
"""Numbers that gateways publish for testing: all that test mode takes and that live refuses."""

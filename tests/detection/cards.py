"""Card numbers that are nobody's: right brand, length and check digit, the rest by chance."""

from __future__ import annotations

import random

from strongroom.kernel.secret import luhn_valid
from strongroom.vault.brands import PUBLISHED_TEST_NUMBERS

PREFIXES = {
    ("visa", 13): "4", ("visa", 16): "4", ("visa", 19): "4", ("mastercard", 16): "53",
    ("mastercard", 16, 2): "2500", ("amex", 15): "37", ("discover", 16): "6011",
    ("discover", 19): "6445", ("diners", 14): "36", ("diners", 16): "3056", ("jcb", 16): "3558",
    ("jcb", 19): "3589", ("unionpay", 16): "6250", ("unionpay", 17): "6250",
    ("unionpay", 18): "6250", ("unionpay", 19): "6250", ("maestro", 12): "5018",
    ("maestro", 13): "5612", ("maestro", 15): "6763", ("maestro", 19): "6759", ("mir", 16): "2202",
    ("troy", 16): "9792", ("uatp", 15): "1354", ("rupay", 16): "817000",
}  # fmt: skip
KINDS = sorted(PREFIXES, key=str)


def number(kind: tuple[object, ...], seed: int) -> str:
    """Return a number of a brand and length, made from the seed."""
    chance = random.Random(f"{kind}{seed}")  # noqa: S311 (test data)
    length = int(str(kind[1]))
    while True:
        body = PREFIXES[kind]  # type: ignore[index]
        body += "".join(str(chance.randrange(10)) for _ in range(length - 1 - len(body)))
        made = next(body + str(d) for d in range(10) if luhn_valid(body + str(d)))
        if made not in PUBLISHED_TEST_NUMBERS and len(set(made)) > 3:
            return made


def masked(text: str) -> str:
    """Return how a finding shows a number."""
    return f"{text[:6]}…{text[-4:]}"

"""How likely a number that could be a card number is one, judged by what stands around it."""

from __future__ import annotations

import re

from strongroom.detection.scan.issuers import OTHER
from strongroom.detection.scan.model import Confidence, SadKind

BEFORE_BYTES, AFTER_BYTES = 96, 96
_NEAR_BYTES = 48

_HIGH, _MEDIUM = 75, 45
_KNOWN, _OTHER = 55, 20
_WORD, _GROUPED = 30, 10
_ODD_GROUPS, _FRACTION, _IN_ID, _SHORT = -30, -40, -40, -15
_SHORT_DIGITS = 13

_WORDS = re.compile(
    rb"(?i)card|pan(?![a-z])|\bcc(?:n|_|\b)|ccnum|credit|debit|kredit|karte|carte|tarjeta|visa"
    rb"|master|amex|maestro|diners|discover|unionpay|\bjcb|primary.?account|acct|expir|exp_|cvv|cvc"
)
_CVC = re.compile(
    rb"(?i)(?:cvc2?|cvv2?|(?<![a-z])cid|(?<![a-z])csc|cav2?|cvn2?"
    rb"|(?:security|verification|card)[ _-]?code)"
    rb"[\"'\]]?[\s:=>\"']{1,6}[0-9]{3,4}(?![0-9])"
)
_TRACK_1 = re.compile(rb"\^[^\^\r\n]{2,26}\^[0-9]{7}")
_TRACK_2 = re.compile(rb"[=D][0-9]{7}")
_UUID = re.compile(rb"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ID_BEFORE = re.compile(rb"[0-9][A-Za-z]{1,19}\Z")
_ID_AFTER = re.compile(rb"[A-Za-z]{1,19}[0-9]")
_HEX_BEFORE = re.compile(rb"[0-9A-Fa-f]*[A-Fa-f][0-9A-Fa-f]*\Z")
_HEX_AFTER = re.compile(rb"[0-9A-Fa-f]*[A-Fa-f]")
_FRACTION_BEFORE = re.compile(rb"[0-9]\.\Z")
_GROUPINGS = {
    (4, 6, 5), (4, 6, 4), (6, 4), (6, 6), (6, 8), (6, 9), (6, 10), (6, 12), (6, 13), (6, 6, 4),
    (6, 6, 7), (4, 8), (4, 12), (12, 4), (8, 8, 3), (4, 3, 4, 4),
}  # fmt: skip
"""How cards are printed or cut besides groups of four; ISO/IEC 7811-1 leaves it open."""

_EVEN_GROUPS = ({1}, {2})
_HALVES = (8, 8)


def speaks_of_cards(name: str) -> bool:
    """Return whether a name, as of a column, says that cards are here."""
    return _WORDS.search(name.encode()) is not None


def sad_near(data: bytes, start: int, end: int) -> SadKind:
    """Return what sensitive authentication data stands with a number (PCI DSS 3.3.1)."""
    after = data[end : end + AFTER_BYTES]
    if data[max(0, start - 1) : start] == b"B" and _TRACK_1.match(after):
        return "track1"
    if _TRACK_2.match(after):
        return "track2"
    return "cvc" if _CVC.search(data[max(0, start - BEFORE_BYTES) : end + AFTER_BYTES]) else ""


def confidence(
    data: bytes, start: int, end: int, *, brand: str, groups: tuple[int, ...], named: bool
) -> Confidence:
    """Return how likely the digits at `start` to `end` are a card number.

    Args:
        data: what was read.
        start: where the number begins.
        end: where it ends.
        brand: its issuer's brand, or `other`.
        groups: digits of each of its groups.
        named: whether the place's own name speaks of cards, as that of a column may.
    """
    score = _OTHER if brand == OTHER else _KNOWN
    score += _SHORT if sum(groups) <= _SHORT_DIGITS else 0
    score += _writing(groups)
    before, after = data[max(0, start - _NEAR_BYTES) : start], data[end : end + _NEAR_BYTES]
    if named or _WORDS.search(before) or _WORDS.search(after):
        score += _WORD
    if len(groups) == 1 and _FRACTION_BEFORE.search(before):
        score += _FRACTION
    if _inside_an_id(data, start, end, before, after):
        score += _IN_ID
    if score >= _HIGH:
        return "high"
    return "medium" if score >= _MEDIUM else "low"


def _writing(groups: tuple[int, ...]) -> int:
    if len(groups) == 1:
        return 0
    body, last = set(groups[:-1]), groups[-1]
    if groups in _GROUPINGS or (body == {4} and last <= 4):
        return _GROUPED
    if groups == _HALVES or (body in _EVEN_GROUPS and last <= max(body)):
        return 0
    return _ODD_GROUPS


def _inside_an_id(data: bytes, start: int, end: int, before: bytes, after: bytes) -> bool:
    """Return whether the digits are part of a UUID, a digest or an id with letters and digits."""
    if _ID_BEFORE.search(before) or _ID_AFTER.match(after):
        return True
    if _HEX_BEFORE.search(before) and _HEX_AFTER.match(after):
        return True
    for uuid in _UUID.finditer(data, max(0, start - 40), end + 40):
        if uuid.start() < end and start < uuid.end():
            return True
    return False

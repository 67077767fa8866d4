"""The types of the finder. A match never holds the number, only its mask and its keyed hash."""

from __future__ import annotations

from typing import Literal

import msgspec

Confidence = Literal["low", "medium", "high"]
CONFIDENCES: tuple[Confidence, ...] = ("low", "medium", "high")

SadKind = Literal["", "track1", "track2", "cvc"]


class Digits(msgspec.Struct, frozen=True):
    """A run of digits in its writing: groups between separators, and where it stands.

    The digits stay inside the finder; `repr` shows none of them.
    """

    groups: tuple[str, ...]
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def __repr__(self) -> str:
        return f"Digits({len(self.groups)} groups)"


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """One card number that was found.

    `mask` shows the first six and last four digits at most, `keyed_hash` is equal for equal
    numbers and empty without a key, `writing` names encodings from the outermost to the innermost,
    `sad` what sensitive authentication data stands with it.
    """

    offset: int
    end: int
    mask: str
    last4: str
    brand: str
    digits: int
    writing: str
    confidence: Confidence
    is_test: bool
    sad: SadKind
    keyed_hash: str

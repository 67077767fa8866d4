"""The types of the leak hunt: a hit, what a scan did, a finding in the database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

import msgspec

from strongroom.detection.scan import Confidence, Match

Kind = Literal["pan_outside_cde", "sad_outside_cde", "test_pan", "unmapped_column"]
Severity = Literal["low", "medium", "high", "critical"]
State = Literal["open", "acknowledged", "resolved"]
Disposition = Literal["deleted", "retrieved", "migrated", "false_positive", "declared"]

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
DISPOSITIONS: tuple[Disposition, ...] = (
    "deleted", "retrieved", "migrated", "false_positive", "declared",
)  # fmt: skip

Progress = Callable[[str, int, int], None]
"""Told how far a scan has come: stage, done, total."""


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """One card number where none may be, masked.

    `place` is a file or a table's column, `inside` the way through archives, `at` a row or line;
    `keyed_hash` is equal for equal numbers and empty where no key was at hand.
    """

    kind: Kind
    severity: Severity
    confidence: Confidence | None
    place: str
    inside: str = ""
    offset: int | None = None
    line: int | None = None
    row: str | None = None
    mask: str = ""
    last4: str = ""
    brand: str = ""
    digits: int = 0
    writing: str = ""
    sad: str = ""
    keyed_hash: str = ""


class Unread(msgspec.Struct, frozen=True):
    """Something that could not be looked into, and why."""

    place: str
    reason: str


class Report(msgspec.Struct, kw_only=True):
    """What a scan did and found."""

    hits: list[Hit] = []
    unread: list[Unread] = []
    files: int = 0
    columns: int = 0
    rows: int = 0
    bytes: int = 0
    skipped: int = 0
    test_numbers: int = 0
    seconds: float = 0.0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A finding: what was found where, how often, and what people did about it (PCI 12.10.7)."""

    id: str
    kind: str
    severity: str
    state: str
    place: str
    detail: str
    last4: str
    brand: str
    confidence: str
    count: int
    opened_at: datetime
    last_seen_at: datetime
    changed_at: datetime
    changed_by: str
    reason: str | None = None
    disposition: str | None = None
    sad_checked: bool = False
    source: str | None = None
    fix: str | None = None
    version: int = 1


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """How a finding was closed: the steps that PCI DSS 12.10.7 asks for."""

    disposition: Disposition
    reason: str
    source: str = ""
    fix: str = ""
    sad_checked: bool = False


def hit_of(
    match: Match, *, place: str, inside: str = "", line: int | None = None, row: str | None = None,
    base: int | None = 0,
) -> Hit:  # fmt: skip
    """Return the hit for a match of the finder at a place."""
    kind: Kind = "pan_outside_cde"
    if match.sad:
        kind = "sad_outside_cde"
    elif match.is_test:
        kind = "test_pan"
    return Hit(
        kind=kind,
        severity=_severity(match),
        confidence=match.confidence,
        place=place,
        inside=inside,
        offset=None if base is None else base + match.offset,
        line=line,
        row=row,
        mask=match.mask,
        last4=match.last4,
        brand=match.brand,
        digits=match.digits,
        writing=match.writing,
        sad=match.sad,
        keyed_hash=match.keyed_hash,
    )


def _severity(match: Match) -> Severity:
    if match.is_test:
        return "low"
    return "critical" if match.sad else match.confidence

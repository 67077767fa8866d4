"""Pure decisions over findings: what a hit does to them, and when one may be closed.

A finding that comes again after it was resolved opens again, unless it was told a false positive.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

import msgspec

from strongroom.detection import errors
from strongroom.detection.model import SEVERITIES, Finding, Hit, Resolution
from strongroom.kernel.limits import FINDING_TEXT_MAX_CHARS
from strongroom.kernel.screen import free_text_holds_card_number

_CLOSED_FOR_GOOD = "false_positive"
_PROCESS = ("deleted", "retrieved", "migrated")


def identity_of(hit: Hit) -> bytes:
    """Return what makes two hits one finding: kind, place and number."""
    parts = (hit.kind, hit.place, hit.inside, hit.keyed_hash or hit.last4)
    return hashlib.sha256("\0".join(parts).encode()).digest()


def opened(finding_id: str, hit: Hit, *, count: int, actor: str, now: datetime) -> Finding:
    """Return the new finding for a hit."""
    place = f"{hit.place}!{hit.inside}" if hit.inside else hit.place
    return Finding(
        id=finding_id,
        kind=hit.kind,
        severity=hit.severity,
        state="open",
        place=_short(place),
        detail=detail_of(hit),
        last4=hit.last4,
        brand=hit.brand,
        confidence=hit.confidence or "",
        count=count,
        opened_at=now,
        last_seen_at=now,
        changed_at=now,
        changed_by=actor,
    )


def seen_again(finding: Finding, hit: Hit, *, count: int, actor: str, now: datetime) -> Finding:
    """Return a finding after it was met again; `state` tells whether it opened anew."""
    worse = max(finding.severity, hit.severity, key=SEVERITIES.index)
    again = msgspec.structs.replace(
        finding,
        count=min(finding.count + count, 2**31 - 1),
        last_seen_at=now,
        severity=worse,
        detail=detail_of(hit),
        confidence=hit.confidence or "",
    )
    if finding.state != "resolved" or finding.disposition == _CLOSED_FOR_GOOD:
        return again
    return msgspec.structs.replace(
        again,
        state="open",
        changed_at=now,
        changed_by=actor,
        reason="found again after it was resolved",
        disposition=None,
        sad_checked=False,
        source=None,
        fix=None,
    )


def acknowledged(finding: Finding, *, reason: str, actor: str, now: datetime) -> Finding:
    """Return a finding that somebody has taken on.

    Raises:
        StrongroomError: `finding_resolved`, `card_number_in_text`, `resolution_incomplete`.
    """
    if finding.state == "resolved":
        raise errors.already_resolved()
    return msgspec.structs.replace(
        finding,
        state="acknowledged",
        reason=_text("reason", reason),
        changed_at=now,
        changed_by=actor,
    )


def resolved(finding: Finding, how: Resolution, *, actor: str, now: datetime) -> Finding:
    """Return a closed finding: what was done with the data, and how it cannot come again.

    Raises:
        StrongroomError: `finding_resolved`, `card_number_in_text`, `resolution_incomplete`.
    """
    if finding.state == "resolved":
        raise errors.already_resolved()
    if how.disposition in _PROCESS and not (how.source.strip() and how.fix.strip()):
        raise errors.incomplete(
            "Say where the data came from (source) and how that was mended (fix): PCI DSS 12.10.7."
        )
    if how.disposition in _PROCESS and not how.sad_checked:
        raise errors.incomplete(
            "Look whether security codes or track data lie with the numbers, and say so: "
            "PCI DSS 12.10.7."
        )
    return msgspec.structs.replace(
        finding,
        state="resolved",
        disposition=how.disposition,
        reason=_text("reason", how.reason),
        source=_text("source", how.source) if how.source else None,
        fix=_text("fix", how.fix) if how.fix else None,
        sad_checked=how.sad_checked,
        changed_at=now,
        changed_by=actor,
    )


def detail_of(hit: Hit) -> str:
    """Return where exactly and how a hit was written."""
    parts = []
    if hit.row is not None:
        parts.append(f"row {hit.row}")
    if hit.line is not None:
        parts.append(f"line {hit.line}")
    if hit.offset is not None:
        parts.append(f"offset {hit.offset}")
    parts += [part for part in (hit.writing, hit.sad) if part]
    return _short(", ".join(parts))


def _text(param: str, text: str) -> str:
    clean = " ".join(text.split())
    if not clean or len(clean) > FINDING_TEXT_MAX_CHARS:
        raise errors.incomplete(f"Give a {param} of 1 to {FINDING_TEXT_MAX_CHARS} characters.")
    if free_text_holds_card_number(clean):
        raise errors.card_in_text(param)
    return clean


def _short(text: str) -> str:
    if len(text) <= FINDING_TEXT_MAX_CHARS:
        return text
    return "…" + text[-(FINDING_TEXT_MAX_CHARS - 1) :]

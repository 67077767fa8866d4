"""The types of emergencies: who took one, until when, and what others found afterwards."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal

import msgspec

from strongroom.kernel.canonical import dumps
from strongroom.kernel.clock import rfc3339_ms

Verdict = Literal["justified", "misused"]


class Review(msgspec.Struct, frozen=True, kw_only=True):
    """What one administrator found."""

    reviewer: str
    verdict: Verdict
    note: str
    reviewed_at: datetime


class Emergency(msgspec.Struct, frozen=True, kw_only=True):
    """Emergency access; `id` is `brk_…`, `person` the account behind `actor` when it is known.

    `needed` is how many others must review it: two where nobody can tell who took it.
    """

    id: str
    actor: str
    person: str | None
    reason: str
    opened_at: datetime
    ends_at: datetime
    needed: int = 1
    reviews: tuple[Review, ...] = ()

    @property
    def reviewed(self) -> bool:
        """Whether enough others have looked at it."""
        return len(self.reviews) >= self.needed


def purpose_of(operator: str, *, minutes: int, reason: str) -> bytes:
    """Return what a step-up that opens an emergency is made for."""
    return hashlib.sha256(
        dumps(
            {
                "statement": "strongroom-break-glass/1",
                "operator": operator,
                "minutes": minutes,
                "reason": reason,
            }
        )
    ).digest()


def emergency_record(found: Emergency) -> bytes:
    """Return the canonical bytes of an emergency that the service's mac is over."""
    return dumps(
        {
            "record": "strongroom-break-glass/1",
            "id": found.id,
            "actor": found.actor,
            "person": found.person,
            "reason": found.reason,
            "opened_at": rfc3339_ms(found.opened_at),
            "ends_at": rfc3339_ms(found.ends_at),
        }
    )

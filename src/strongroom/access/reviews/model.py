"""The types of access reviews: one line for each account, key or machine, and what was decided."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal

import msgspec

from strongroom.kernel.canonical import dumps
from strongroom.kernel.clock import rfc3339_ms

Verdict = Literal["keep", "remove"]
Kind = Literal["operator", "api_key", "signing_key", "oauth_client", "workload"]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A right as it stood when the review began; `person` is whose it is, when that is known."""

    kind: Kind
    subject: str
    merchant: str | None = None
    role: str
    scopes: tuple[str, ...] | None = None
    owner: str
    person: str | None = None
    last_used_at: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What one administrator decided about a line."""

    line: int
    verdict: Verdict
    reviewer: str
    reason: str
    decided_at: datetime


class AccessReview(msgspec.Struct, frozen=True, kw_only=True):
    """A review and where it stands; `id` is `arv_…`, lines count from 1."""

    id: str
    number: int
    started_at: datetime
    started_by: str
    due_at: datetime
    lines: tuple[Line, ...]
    decisions: tuple[Decision, ...] = ()
    closed_at: datetime | None = None
    closed_by: str | None = None
    result_sha256: str | None = None

    @property
    def undecided(self) -> list[int]:
        """The lines that nobody has decided about."""
        done = {decision.line for decision in self.decisions}
        return [n for n in range(1, len(self.lines) + 1) if n not in done]

    def digest(self) -> bytes:
        """Return SHA-256 of the canonical result (RFC 8785), as the journal's entry holds it."""
        return hashlib.sha256(
            dumps(
                {
                    "statement": "strongroom-access-review/1",
                    "id": self.id,
                    "started_at": rfc3339_ms(self.started_at),
                    "lines": msgspec.to_builtins(self.lines),
                    "decisions": [
                        {
                            "line": decision.line,
                            "verdict": decision.verdict,
                            "reviewer": decision.reviewer,
                            "reason": decision.reason,
                            "decided_at": rfc3339_ms(decision.decided_at),
                        }
                        for decision in sorted(self.decisions, key=lambda d: d.line)
                    ],
                }
            )
        ).digest()

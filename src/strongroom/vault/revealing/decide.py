"""Pure decisions before card numbers are shown: what for, out of which budget, and the entries.

No I/O. A budget is a bulk grant that covers the whole call, or what is left of the caller's hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from strongroom.journal import Entry
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import REVEAL_ENTRY_TOKENS_MAX, REVEALS_PER_HOUR
from strongroom.vault import errors

PURPOSES = ("dispute_evidence", "law_enforcement", "gateway_migration", "incident_response")
"""What a clear card number may be needed for (PCI DSS 3.4.1, 3.4.2); the policies say the same."""


class Ask(msgspec.Struct, frozen=True):
    """One call: who wants to see which cards of a merchant, and what for."""

    merchant: str
    tokens: Sequence[str]
    actor: str
    purpose: str
    request_id: str | None
    batch: bool = False

    @property
    def action(self) -> str:
        """The action that policies decide on."""
        return "token:reveal_batch" if self.batch else "token:reveal"


def check_purpose(purpose: str) -> None:
    """Refuse a purpose that nobody may have.

    Raises:
        StrongroomError: `purpose_required`.
    """
    if purpose not in PURPOSES:
        raise errors.purpose_required(PURPOSES)


def check_hour(*, grant: UUID | None, seen: int, count: int) -> None:
    """Refuse when neither a grant nor the caller's hour has room for `count` cards.

    Raises:
        StrongroomError: `reveal_limit`.
    """
    if grant is None and seen + count > REVEALS_PER_HOUR:
        raise errors.reveal_limit()


def hour_of(now: datetime) -> datetime:
    """Return the clock hour that a reveal counts in."""
    return now.replace(minute=0, second=0, microsecond=0)


def refusal_entry(ask: Ask, refusal: StrongroomError) -> Entry:
    """Return the entry of a call that showed nothing."""
    known = ask.purpose if ask.purpose in PURPOSES else "none"
    return Entry(
        action=_action(ask),
        subject=ask.merchant if ask.batch else ask.tokens[0],
        outcome="refused",
        reason=refusal.code,
        merchant=ask.merchant,
        actor=ask.actor,
        facts={"purpose": known, "cards": len(ask.tokens)} if ask.batch else {"purpose": known},
        request=ask.request_id,
    )


def entries_of(ask: Ask, shown: Sequence[str], *, grant: str | None) -> list[Entry]:
    """Return the entries of what is about to be shown: every token stands in exactly one of them.

    A batch has an entry for each hundred tokens, so that an entry stays below 4 kB.
    """
    granted: dict[str, str | int | bool] = {} if grant is None else {"grant": grant}
    if not ask.batch:
        return [_entry(ask, ask.tokens[0], {"purpose": ask.purpose, **granted})]
    size = REVEAL_ENTRY_TOKENS_MAX
    parts = [shown[start : start + size] for start in range(0, len(shown), size)]
    purpose: dict[str, str | int | bool] = {"purpose": ask.purpose, **granted}
    return [
        _entry(ask, ask.merchant, {**purpose, "cards": len(part), "tokens": " ".join(part)})
        for part in parts
    ]


def _entry(ask: Ask, subject: str, facts: dict[str, str | int | bool]) -> Entry:
    return Entry(
        action=_action(ask),
        subject=subject,
        outcome="success",
        merchant=ask.merchant,
        actor=ask.actor,
        facts=facts,
        request=ask.request_id,
    )


def _action(ask: Ask) -> str:
    return "vault:card:reveal_batch" if ask.batch else "vault:card:reveal"

"""Before a card number is shown: who asks, what for, how often; and the answer's journal entry.

Order matters: a known purpose, then the hourly limit, then the policy, then the entry durably
committed. Only after that does the vault decrypt. Refusals are entries too.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict, deque

from strongroom.journal import Entry
from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import REVEALS_PER_HOUR
from strongroom.vault import errors
from strongroom.vault.model import Authorize, Caller

PURPOSES = ("dispute_evidence", "law_enforcement", "gateway_migration", "incident_response")
"""What a clear card number may be needed for (PCI DSS 3.4.1, 3.4.2); the policies say the same."""

_HOUR_S = 3600
_CALLERS_MAX = 10_000


class RevealGate:
    """Decides about one reveal at a time and remembers the last hour's."""

    def __init__(self, clock: Clock) -> None:
        self._monotonic = clock.monotonic
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    async def admit(
        self, merchant: str, token: str, *, principal: Caller, purpose: str, authorize: Authorize
    ) -> None:
        """Return when the reveal is allowed; it then counts as seen.

        Raises:
            StrongroomError: `purpose_required`, `reveal_limit` or what the policy says.
        """
        if purpose not in PURPOSES:
            raise errors.purpose_required(PURPOSES)
        times = self._times(principal.id)
        if len(times) >= REVEALS_PER_HOUR:
            raise errors.reveal_limit()
        times.append(self._monotonic())
        allowed = authorize(
            principal,
            action="token:reveal",
            merchant=merchant,
            context={"purpose": purpose},
        )
        if inspect.isawaitable(allowed):
            await allowed

    def _times(self, caller: str) -> deque[float]:
        times = self._seen.setdefault(caller, deque())
        self._seen.move_to_end(caller)
        while times and times[0] <= self._monotonic() - _HOUR_S:
            times.popleft()
        while len(self._seen) > _CALLERS_MAX:
            self._seen.popitem(last=False)
        return times


def reveal_entry(
    merchant: str,
    token: str,
    *,
    actor: str,
    purpose: str,
    request_id: str | None,
    refusal: StrongroomError | None = None,
) -> Entry:
    """Return the entry of a reveal or of its refusal."""
    known = purpose if purpose in PURPOSES else "none"
    return Entry(
        action="vault:card:reveal",
        subject=token,
        outcome="success" if refusal is None else "refused",
        reason=None if refusal is None else refusal.code,
        merchant=merchant,
        actor=actor,
        facts={"purpose": known},
        request=request_id,
    )

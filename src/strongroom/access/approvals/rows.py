"""Requests as stored, checked: every row is read with its mac, every change is an entry.

A row that this service did not write as it stands stops whatever wanted to rely on it.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from strongroom.access.approvals import decide, errors, records
from strongroom.access.approvals.model import (
    Approval,
    Decided,
    approval_record,
    decision_record,
)
from strongroom.access.model import Value
from strongroom.identity import Principal, PrincipalKind
from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.storage import Change, Committer, Database, Verdict

Seal = Callable[[bytes], bytes | Awaitable[bytes]]
"""A keyed hash whose key the database never sees."""

_LABEL = b"four-eyes\x00"


class Rows:
    """Reads and writes requests, decisions and ends."""

    def __init__(
        self, database: Database, committer: Committer, *, seal: Seal, clock: Clock
    ) -> None:
        self._committer = committer
        self._seal = seal
        self.database = database
        self.clock = clock

    async def standing(
        self, approval_id: str, principal: Principal
    ) -> tuple[Approval, list[Decided]]:
        """Return a request that the caller may see, with who approved it.

        Raises:
            StrongroomError: `approval_not_found`; `approval_forged` when a row was changed.
        """
        try:
            stored = await records.find(self.database, approval_id)
        except StrongroomError as error:
            raise errors.not_found() if error.code == "invalid_id" else error from None
        if stored is None or not _may_see(stored.approval, principal):
            raise errors.not_found()
        return await self.completed(stored)

    async def completed(self, stored: records.Stored) -> tuple[Approval, list[Decided]]:
        """Return a request with its state.

        While it may still be used, every row of it must have been written by this service. Later
        the pepper may have gone, and nothing follows from what the rows say.
        """
        found = stored.approval
        late = found.expires_at <= self.clock.now()
        usable = found.end is None and not late
        if usable and not hmac.compare_digest(found.statement.digest(), found.action_sha256):
            raise errors.forged(f"{found.id} is not what its hash says")
        if usable:
            await self._check(approval_record(found), stored.mac, found.id)
        decisions = []
        for decided, mac in await records.decisions(self.database, found):
            if usable:
                await self._check(decision_record(found, decided), mac, found.id)
            decisions.append(decided)
        state = decide.standing(decisions, found.end, needed=found.needed, late=late)
        approved = tuple(decided.operator for decided in decisions)
        return msgspec.structs.replace(found, state=state, approved_by=approved), decisions

    async def lost(self, found: Approval, otherwise: StrongroomError) -> StrongroomError:
        """Return why a claim was lost: what ended the request meanwhile."""
        stored = await records.find(self.database, found.id)
        end = None if stored is None else stored.approval.end
        if end is None:
            return otherwise
        return decide.closed(msgspec.structs.replace(found, state=end.how)) or otherwise

    async def mac(self, body: bytes) -> bytes:
        """Return the mac over a row's canonical form."""
        sealed = self._seal(_LABEL + body)
        return sealed if isinstance(sealed, bytes) else await sealed

    async def written(self, change: Change) -> bool:
        """Commit a Change; False when somebody else was first."""
        return await self._committer.submit(change) is Verdict.COMMITTED

    async def refused(
        self,
        found: Approval,
        principal: Principal,
        error: StrongroomError,
        request: str | None,
    ) -> None:
        """Write down that somebody tried what does not count."""
        change = Change()
        self.journal(
            change,
            found,
            "refuse",
            "refused",
            actor=principal.id,
            request=request,
            reason=error.code,
        )
        await self._committer.submit(change)

    def journal(
        self,
        change: Change,
        found: Approval,
        verb: str,
        outcome: str,
        *,
        actor: str,
        request: str | None = None,
        reason: str | None = None,
        facts: Mapping[str, Value] | None = None,
    ) -> None:
        """Add the entry of what is done to a request."""
        told: dict[str, Value] = {
            "action": found.action,
            "resource": found.statement.resource,
            "action_sha256": found.action_sha256.hex(),
            "requester": found.requester,
            "asked_under": found.statement.policy_set,
            **(facts or {}),
        }
        entry = Entry(
            action=f"access:approval:{verb}",
            subject=found.id,
            outcome=outcome,
            merchant=found.merchant,
            actor=actor,
            reason=reason,
            facts=told,
            request=request,
        )
        record(change, entry, at=self.clock.now())

    async def _check(self, body: bytes, mac: bytes, what: str) -> None:
        if not hmac.compare_digest(await self.mac(body), mac):
            raise errors.forged(f"{what} does not fit its mac")


def _may_see(found: Approval, principal: Principal) -> bool:
    if principal.merchant is not None:
        return found.merchant == principal.merchant
    return principal.kind is PrincipalKind.OPERATOR

"""Using an approval up: compared by hash, counted anew, decided by the policies of now, once."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from strongroom.access.approvals import decide, errors, records
from strongroom.access.approvals.model import (
    Approval,
    Decided,
    End,
    Parameter,
    People,
    Statement,
)
from strongroom.access.approvals.rows import Rows
from strongroom.access.flow import Authorizer
from strongroom.access.model import Value
from strongroom.identity import Principal
from strongroom.kernel import edge_limits as limits
from strongroom.kernel.errors import StrongroomError
from strongroom.storage import Change

_AGAIN = timedelta(seconds=limits.FOUR_EYES_AGAIN_S)


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """What is about to happen, as the place that does it describes it.

    `used_for` names the one piece of work that may come again, such as an idempotency key: the
    same work finds its approval used by itself and goes on.
    """

    action: str
    merchant: str | None
    resource: str
    parameters: Mapping[str, Parameter]
    context: Mapping[str, Value] = {}
    used_for: str = ""
    request: str | None = None
    source: str = ""


class Using:
    """Lets a deed happen that another person approved."""

    def __init__(self, rows: Rows, authorizer: Authorizer, people: People) -> None:
        self._rows = rows
        self._authorizer = authorizer
        self._people = people

    async def guard(
        self, deed: Deed, *, principal: Principal, approval: str | None
    ) -> dict[str, Value]:
        """Return the context in which policies permit a deed, with an approval if it takes one."""
        plain = dict(deed.context)
        if self._permits(principal, deed, plain):
            return self._check(principal, deed, plain)  # what is done stands under it
        if not self._permits(principal, deed, {**plain, "approvals": decide.APPROVALS_MAX}):
            self._check(principal, deed, plain)
        if approval is None:
            raise errors.required(deed.action, decide.ask_of(deed.action).words())
        return await self.use(approval, deed, principal=principal)

    async def use(self, approval_id: str, deed: Deed, *, principal: Principal) -> dict[str, Value]:
        """Return the context with the approvals in it; the approval is used up."""
        found, decisions = await self._rows.standing(approval_id, principal)
        asked = Statement(
            action=deed.action,
            merchant=deed.merchant,
            resource=deed.resource,
            parameters=dict(deed.parameters),
            requester=principal.id,
            policy_set=self._authorizer.policy_set,
            nonce=found.statement.nonce,
        )
        mark = await self._mark(deed)
        try:
            if not hmac.compare_digest(asked.digest(), found.action_sha256):
                raise errors.mismatch()
            if _came_again(found, mark, self._rows.clock.now()):
                return self._check(principal, deed, _with(deed, found.needed))
            counted = await self._counted(found, decisions)
            granted = self._check(principal, deed, _with(deed, len(counted)))
        except StrongroomError as error:
            await self._rows.refused(found, principal, error, deed.request)
            raise
        change = Change()
        end = End(how="used", at=self._rows.clock.now(), by=principal.id, used_for=mark)
        records.add_end(change, found, end)
        self._rows.journal(
            change,
            found,
            "use",
            "used",
            actor=principal.id,
            request=deed.request,
            facts={"approved_by": " ".join(counted)},
        )
        if not await self._rows.written(change):
            lost = await self._rows.lost(found, errors.used())
            await self._rows.refused(found, principal, lost, deed.request)
            raise lost
        return granted

    async def _counted(self, found: Approval, decisions: Sequence[Decided]) -> tuple[str, ...]:
        """Return whose approvals count now, if they are enough."""
        refusal = decide.closed(found)
        if refusal is not None:
            raise refusal
        people = await self._people.administrators([d.operator for d in decisions])
        counted = decide.counted(found, decisions, people)
        if len(counted) < found.needed:
            raise errors.incomplete(found.needed - len(counted))
        return counted

    async def _mark(self, deed: Deed) -> bytes | None:
        if not deed.used_for:
            return None
        return await self._rows.mac(b"used-for\x00" + deed.used_for.encode())

    def _permits(self, principal: Principal, deed: Deed, context: Mapping[str, Value]) -> bool:
        explained = self._authorizer.explain(
            principal, action=deed.action, merchant=deed.merchant, context=context
        )
        return explained.decision.allowed

    def _check(
        self, principal: Principal, deed: Deed, context: dict[str, Value]
    ) -> dict[str, Value]:
        self._authorizer.check(
            principal,
            action=deed.action,
            merchant=deed.merchant,
            context=context,
            source=deed.source,
        )
        return context


def _with(deed: Deed, approvals: int) -> dict[str, Value]:
    return {**deed.context, "approvals": approvals}


def _came_again(found: Approval, mark: bytes | None, now: datetime) -> bool:
    """Return whether this very work used the approval before: an answer that got lost."""
    end = found.end
    if end is None or end.used_for is None or mark is None:
        return False
    return hmac.compare_digest(end.used_for, mark) and now - end.at < _AGAIN

"""The verbs of four eyes: ask, decide, use once. Every one is an entry, refusals included.

What was approved is compared by its hash with what is about to happen; who approved must still be
an administrator, and policies are asked again at that moment. A row alone is worth nothing: each
carries a mac that the database cannot make.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from strongroom.access.approvals import decide, errors, records
from strongroom.access.approvals.model import (
    Approval,
    Decided,
    End,
    Page,
    Parameter,
    People,
    Statement,
    StepUp,
    Verdict,
    approval_record,
    decision_record,
)
from strongroom.access.approvals.rows import Rows, Seal
from strongroom.access.approvals.using import Deed, Using
from strongroom.access.flow import Authorizer
from strongroom.access.model import Value
from strongroom.identity import Principal, PrincipalKind
from strongroom.kernel import edge_limits as limits
from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.kernel.limits import PAGE_LIMIT_MAX
from strongroom.storage import Change, Committer, Database

_ACTOR = "system:four-eyes"
_NONCE_BYTES = 16
_EXPIRED_AT_ONCE = 100


class Approvals:
    """Requests for approval of one installation.

    Args:
        database: role `strongroom_pay`, for reading.
        committer: the same role, with the journal's marker.
        authorizer: the policies, asked when something is requested, decided and used.
        people: who stands behind a credential, and who is an administrator now.
        seal: the keyed hash over rows.
        clock: time.
        refunds_alone_up_to: minor units by currency that one may refund alone; `*` stands for all
            other currencies. Empty: any amount.
        random_bytes: a CSPRNG.
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        authorizer: Authorizer,
        people: People,
        seal: Seal,
        clock: Clock,
        refunds_alone_up_to: Mapping[str, int] | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._rows = Rows(database, committer, seal=seal, clock=clock)
        self._using = Using(self._rows, authorizer, people)
        self._authorizer = authorizer
        self._people = people
        self._clock = clock
        self._limits = dict(refunds_alone_up_to or {})
        self._random_bytes = random_bytes

    async def request(
        self,
        principal: Principal,
        *,
        action: str,
        merchant: str | None,
        resource: str,
        parameters: Mapping[str, Parameter],
        reason: str,
        ttl_s: int | None = None,
        request: str | None = None,
        source: str = "",
    ) -> Approval:
        """Ask for approval of exactly this, for one use within minutes.

        Raises:
            StrongroomError: `invalid_parameter`, `card_number_in_text`, `approvals_too_many`;
                `permission_denied` for what the caller may not do even with an approval.
        """
        ask = decide.ask_of(action)
        body = decide.checked(ask, resource, parameters)
        decide.check_line("reason", reason)
        lifetime = decide.ttl_of(ttl_s)
        context = {**ask.context_of(parameters), "approvals": decide.APPROVALS_MAX}
        self._authorizer.check(
            principal, action=action, merchant=merchant, context=context, source=source
        )
        now = _whole_ms(self._clock.now())
        await self._check_room(principal, now)
        person = await self._people.person_of(principal)
        statement = Statement(
            action=action,
            merchant=merchant,
            resource=resource,
            parameters=dict(parameters),
            requester=principal.id,
            policy_set=self._authorizer.policy_set,
            nonce=self._random_bytes(_NONCE_BYTES),
        )
        made = Approval(
            id=new_id("apr"),
            statement=statement,
            action_sha256=statement.digest(),
            person=person,
            needed=decide.needed_of(principal, person),
            reason=reason,
            created_at=now,
            expires_at=now + lifetime,
        )
        change = Change()
        mac = await self._rows.mac(approval_record(made))
        records.add(change, made, parameters=body, mac=mac)
        self._rows.journal(
            change,
            made,
            "request",
            "requested",
            actor=principal.id,
            request=request,
            reason=reason,
        )
        await self._rows.written(change)
        return made

    async def get(self, approval_id: str, *, principal: Principal) -> Approval:
        """Return a request: a merchant's caller sees its merchant's, an operator anybody's.

        Raises:
            StrongroomError: `approval_not_found`, also for another merchant's.
        """
        return (await self._rows.standing(approval_id, principal))[0]

    async def page(
        self,
        principal: Principal,
        *,
        waiting: bool = False,
        limit: int = PAGE_LIMIT_MAX,
        before: str | None = None,
    ) -> Page:
        """Return requests, the newest first: of the caller's merchant, or of all to an operator."""
        size = max(1, min(limit, PAGE_LIMIT_MAX))
        found = await records.page(
            self._rows.database,
            merchant=principal.merchant,
            waiting=waiting,
            now=self._clock.now(),
            before=before,
            limit=size + 1,
        )
        data = [(await self._rows.completed(stored))[0] for stored in found[:size]]
        return Page(data, len(found) > size)

    async def decide(
        self,
        approval_id: str,
        *,
        principal: Principal,
        step_up: StepUp,
        verdict: Verdict,
        reason: str,
        request: str | None = None,
        source: str = "",
    ) -> Approval:
        """Take an administrator's decision; a rejection is final.

        Raises:
            StrongroomError: `permission_denied`, `step_up_refused`, `approval_own`,
                `approval_repeated`, `approval_not_found`, or why the request is closed.
        """
        decide.check_line("reason", reason)
        found, _ = await self._rows.standing(approval_id, principal)
        self._authorizer.check(
            _on(principal, found.merchant),
            action="four_eyes:decide",
            merchant=found.merchant,
            source=source,
        )
        try:
            decided = await self._decided(found, principal, step_up, verdict, reason)
        except StrongroomError as error:
            await self._rows.refused(found, principal, error, request)
            raise
        change = Change()
        if verdict == "reject":
            end = End(how="rejected", at=decided.decided_at, by=decided.operator, reason=reason)
            records.add_end(change, found, end)
        else:
            mac = await self._rows.mac(decision_record(found, decided))
            records.add_decision(change, found, decided, mac=mac)
        self._rows.journal(
            change,
            found,
            verdict,
            {"approve": "approved", "reject": "rejected"}[verdict],
            actor=principal.id,
            request=request,
            reason=reason,
            facts={"aal": decided.aal},
        )
        if not await self._rows.written(change):
            raise await self._rows.lost(found, errors.repeated())
        return await self.get(approval_id, principal=principal)

    async def guard(
        self, deed: Deed, *, principal: Principal, approval: str | None
    ) -> dict[str, Value]:
        """Return the context in which policies permit a deed now, using up the approval it takes.

        Where policies permit it without one, an approval that was named stays unused.

        Raises:
            StrongroomError: `approval_required`, `permission_denied`, or why the approval is not
                good for this.
        """
        return await self._using.guard(deed, principal=principal, approval=approval)

    async def use(self, approval_id: str, deed: Deed, *, principal: Principal) -> dict[str, Value]:
        """Use an approval up, if it is of exactly this and policies permit it now.

        Raises:
            StrongroomError: `approval_not_found`, `approval_mismatch`, `approval_incomplete`,
                `approval_rejected`, `approval_expired`, `approval_used`, `permission_denied`.
        """
        return await self._using.use(approval_id, deed, principal=principal)

    @property
    def limits_refunds(self) -> bool:
        """Whether large refunds need an approval here."""
        return bool(self._limits)

    def alone_up_to(self, currency: str) -> int:
        """Return how much one may refund alone; nothing in a currency that has no limit."""
        return self._limits.get(currency, self._limits.get("*", 0))

    async def waiting(self) -> int:
        """Return how many requests wait, for the metrics."""
        now = self._clock.now()
        return (await records.open_counts(self._rows.database, now=now, requester=""))[0]

    async def expire(self) -> int:
        """Note the end of requests whose time is over; return how many. Call each minute."""
        now = self._clock.now()
        ended = 0
        for stored in await records.late(self._rows.database, now=now, limit=_EXPIRED_AT_ONCE):
            change = Change()
            records.add_end(change, stored.approval, End(how="expired", at=now, by=_ACTOR))
            self._rows.journal(change, stored.approval, "expire", "expired", actor=_ACTOR)
            ended += await self._rows.written(change)
        return ended

    async def withdraw(self, person: str) -> int:
        """End the open requests that a person made or approved, because they left; return how many.

        What others approved for them is void, and what they approved for others is asked anew.
        """
        ended, now = 0, self._clock.now()
        found = await records.of_person(self._rows.database, person, limit=_EXPIRED_AT_ONCE)
        for stored in found:
            change = Change()
            end = End(how="expired", at=now, by=_ACTOR, reason="a person of it left")
            records.add_end(change, stored.approval, end)
            self._rows.journal(change, stored.approval, "expire", "withdrawn", actor=_ACTOR)
            ended += await self._rows.written(change)
        return ended

    # --- within ---

    async def _decided(
        self,
        found: Approval,
        principal: Principal,
        step_up: StepUp,
        verdict: Verdict,
        reason: str,
    ) -> Decided:
        """Return the decision, or raise why it does not count."""
        now = _whole_ms(self._clock.now())
        refusal = decide.closed(found)
        if refusal is not None:
            raise refusal
        decide.check_step_up(found, principal, step_up, now)
        person = await self._people.person_of(principal) or principal.id
        own = decide.is_own(found, person) or decide.is_own(found, principal.id)
        if verdict == "approve" and own:
            raise errors.own()
        return Decided(
            operator=person,
            aal=step_up.aal,
            proved_at=_whole_ms(step_up.at),
            decided_at=now,
            reason=reason,
        )

    async def _check_room(self, principal: Principal, now: datetime) -> None:
        everybody, own = await records.open_counts(
            self._rows.database, now=now, requester=principal.id
        )
        if everybody >= limits.FOUR_EYES_OPEN_MAX or own >= limits.FOUR_EYES_OPEN_EACH_MAX:
            raise errors.too_many()


def _on(principal: Principal, merchant: str | None) -> Principal:
    """Return an operator acting on the merchant whose request it is; it was seen by now."""
    if principal.kind is not PrincipalKind.OPERATOR or principal.merchant is not None:
        return principal
    return msgspec.structs.replace(principal, merchant=merchant)


def _whole_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

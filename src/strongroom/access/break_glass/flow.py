"""The verbs of break-glass: open, act, review. Each is an entry before it takes effect.

An emergency belongs to one person and ends by itself within the hour. Every request under it is an
entry of its own; afterwards another administrator looks at all of it.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec

from strongroom.access.approvals.decide import check_line
from strongroom.access.approvals.model import People, StepUp
from strongroom.access.break_glass import errors, records
from strongroom.access.break_glass.model import (
    Emergency,
    Review,
    Verdict,
    emergency_record,
    purpose_of,
)
from strongroom.access.flow import Authorizer
from strongroom.access.model import Value
from strongroom.identity import Principal, PrincipalKind
from strongroom.journal import Entry, record
from strongroom.kernel import edge_limits as limits
from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.storage import Change, Committer, Database
from strongroom.storage import Verdict as Written

_LABEL = b"break-glass\x00"
_LOCAL = "local:"
_PAGE = 100
_DAY = timedelta(days=1)
_FRESH = timedelta(seconds=limits.STEP_UP_S)


class BreakGlass:
    """Emergencies of one installation; what its processes know of them is a second old at most."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        authorizer: Authorizer,
        people: People,
        seal: Callable[[bytes], bytes | Awaitable[bytes]],
        clock: Clock,
    ) -> None:
        self._database = database
        self._committer = committer
        self._authorizer = authorizer
        self._people = people
        self._seal = seal
        self._clock = clock
        self._known: list[Emergency] = []
        self._known_at = float("-inf")

    async def open(
        self,
        principal: Principal,
        *,
        minutes: int,
        reason: str,
        step_up: StepUp | None = None,
        request: str | None = None,
    ) -> Emergency:
        """Take emergency access: from a session with a proof for it, or from this machine's shell.

        Raises:
            StrongroomError: `permission_denied`, `step_up_refused`, `break_glass_open`,
                `invalid_parameter`, `card_number_in_text`.
        """
        self._authorizer.check(principal, action="break_glass:open", merchant=None)
        check_line("reason", reason)
        if not 1 <= minutes <= limits.BREAK_GLASS_MINUTES_MAX:
            raise StrongroomError(
                "invalid_parameter",
                f"Give 1 to {limits.BREAK_GLASS_MINUTES_MAX} minutes.",
                param="minutes",
            )
        now = _whole_ms(self._clock.now())
        self._check_proof(principal, step_up, minutes=minutes, reason=reason, now=now)
        person = await self._people.person_of(principal)
        running = await self._of(principal, await self._active())
        recent = await records.taken(self._database, principal.id, person=person, since=now - _DAY)
        if running is not None or recent >= limits.BREAK_GLASS_PER_DAY:
            raise errors.is_open()
        made = Emergency(
            id=new_id("brk"),
            actor=principal.id,
            person=person,
            needed=2 if person is None else 1,
            reason=reason,
            opened_at=now,
            ends_at=now + timedelta(minutes=minutes),
        )
        change = Change()
        records.add(change, made, mac=await self._mac(emergency_record(made)))
        self._journal(
            change, made, "open", "opened", principal.id, reason, {"minutes": minutes}, request
        )
        await self._committer.submit(change)
        self._known_at = float("-inf")
        return made

    async def marked(self, principal: Principal) -> Principal:
        """Return the caller, marked when an emergency of this person is open.

        A person's keys count with the person: what they do is under the same review.
        """
        if principal.kind is not PrincipalKind.OPERATOR:
            return principal
        active = await self._active()
        if not active or await self._of(principal, active) is None:
            return principal
        return msgspec.structs.replace(principal, break_glass=True)

    async def acts(
        self, principal: Principal, *, action: str, merchant: str | None, request: str | None
    ) -> None:
        """Write down, before it happens, what is done in an emergency."""
        found = await self._of(principal, await self._active())
        if found is None:
            raise errors.not_found()
        change = Change()
        facts: dict[str, Value] = {"action": action, "break_glass": True}
        if merchant is not None:
            facts["of_merchant"] = merchant
        self._journal(change, found, "act", "permitted", principal.id, None, facts, request)
        await self._committer.submit(change)

    async def page(self) -> list[Emergency]:
        """Return the newest emergencies with their reviews."""
        stored = await records.newest(self._database, limit=_PAGE)
        return [await self._completed(one) for one in stored]

    async def review(
        self,
        emergency: str,
        *,
        principal: Principal,
        verdict: Verdict,
        note: str,
        request: str | None = None,
    ) -> Emergency:
        """Note what another administrator found afterwards.

        Raises:
            StrongroomError: `break_glass_not_found`, `review_own`, `review_repeated`;
                `break_glass_open` while it lasts, because what is done later must be seen too.
        """
        self._authorizer.check(principal, action="break_glass:review", merchant=None)
        check_line("note", note)
        try:
            stored = await records.find(self._database, emergency)
        except StrongroomError as error:
            raise errors.not_found() if error.code == "invalid_id" else error from None
        if stored is None:
            raise errors.not_found()
        found = await self._completed(stored)
        person = await self._people.person_of(principal)
        administrators = await self._people.administrators([person] if person else [])
        if person is None or person not in administrators or person == found.person:
            raise errors.own_review()
        now = self._clock.now()
        if now < found.ends_at:
            raise errors.lasts()
        review = Review(reviewer=person, verdict=verdict, note=note, reviewed_at=now)
        change = Change()
        records.add_review(change, found, review)
        self._journal(
            change, found, "review", verdict, principal.id, note, {"reviewer": person}, request
        )
        if await self._committer.submit(change) is not Written.COMMITTED:
            raise errors.reviewed()
        return await self._completed(stored)

    async def overdue(self) -> list[Emergency]:
        """Return emergencies that others should have reviewed by now."""
        before = self._clock.now() - timedelta(hours=limits.BREAK_GLASS_REVIEW_HOURS)
        stored = await records.unreviewed(self._database, ended_before=before, limit=_PAGE)
        return [one.emergency for one in stored]

    async def unreviewed(self) -> int:
        """Return how many emergencies wait for a review, for the metrics."""
        now = self._clock.now()
        return len(await records.unreviewed(self._database, ended_before=now, limit=_PAGE))

    async def running(self) -> int:
        """Return how many emergencies are open, for the metrics."""
        return len(await self._active())

    # --- within ---

    def _check_proof(
        self,
        principal: Principal,
        step_up: StepUp | None,
        *,
        minutes: int,
        reason: str,
        now: datetime,
    ) -> None:
        """Refuse who is neither at this machine's shell nor has just proved to be there."""
        if principal.session is None and principal.id.startswith(_LOCAL):
            return
        purpose = purpose_of(principal.id, minutes=minutes, reason=reason)
        holds = (
            principal.session is not None
            and step_up is not None
            and step_up.operator == principal.id
            and step_up.aal >= limits.STEP_UP_AAL_MIN
            and timedelta(0) <= now - _whole_ms(step_up.at) <= _FRESH
            and hmac.compare_digest(step_up.purpose, purpose)
        )
        if not holds:
            raise errors.step_up_refused()

    async def _active(self) -> list[Emergency]:
        """Return the open emergencies, read at most a second ago."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        if monotonic - self._known_at >= limits.BREAK_GLASS_KNOWN_S:
            known = []
            for stored in await records.active(self._database, now=now):
                await self._check(stored)
                known.append(stored.emergency)
            self._known, self._known_at = known, monotonic
        return [found for found in self._known if found.opened_at <= now < found.ends_at]

    async def _of(self, principal: Principal, active: list[Emergency]) -> Emergency | None:
        person = await self._people.person_of(principal) if active else None
        for found in active:
            if found.actor == principal.id or (person is not None and found.person == person):
                return found
        return None

    async def _completed(self, stored: records.Stored) -> Emergency:
        if stored.emergency.ends_at > self._clock.now():
            await self._check(stored)
        reviews = await records.reviews(self._database, stored.emergency)
        return msgspec.structs.replace(stored.emergency, reviews=tuple(reviews))

    async def _check(self, stored: records.Stored) -> None:
        mac = await self._mac(emergency_record(stored.emergency))
        if not hmac.compare_digest(mac, stored.mac):
            raise errors.forged(f"{stored.emergency.id} does not fit its mac")

    async def _mac(self, body: bytes) -> bytes:
        sealed = self._seal(_LABEL + body)
        return sealed if isinstance(sealed, bytes) else await sealed

    def _journal(
        self,
        change: Change,
        found: Emergency,
        verb: str,
        outcome: str,
        actor: str,
        reason: str | None,
        facts: dict[str, Value],
        request: str | None,
    ) -> None:
        entry = Entry(
            action=f"access:break_glass:{verb}",
            subject=found.id,
            outcome=outcome,
            merchant=None,
            actor=actor,
            reason=reason,
            facts=facts,
            request=request,
        )
        record(change, entry, at=self._clock.now())


def _whole_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

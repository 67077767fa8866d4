"""The verbs of access reviews: start with every right there is, decide line by line, close.

Whoever removes a right has it revoked at once. A review closes when every line is decided; its
digest then stands in the journal, under a signed checkpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from strongroom.access.approvals.decide import check_line
from strongroom.access.approvals.model import People
from strongroom.access.flow import Authorizer
from strongroom.access.model import Value
from strongroom.access.reviews import errors, records
from strongroom.access.reviews.model import AccessReview, Decision, Line, Verdict
from strongroom.identity import Principal
from strongroom.journal import Entry, record
from strongroom.kernel import edge_limits as limits
from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.storage import Change, Committer, Database
from strongroom.storage import Verdict as Written

Listing = Callable[[], Awaitable[Sequence[Line]]]
Revoke = Callable[[Line, str, str], Awaitable[None]]
"""Takes a right away: the line, who does it, why. Doing it twice changes nothing."""

_PAGE = 20


class Reviews:
    """Access reviews of one installation.

    Args:
        database: role `strongroom_pay`, for reading.
        committer: the same role, with the journal's marker.
        authorizer: the policies.
        people: who stands behind a credential.
        listing: every right there is now.
        revoke: takes one away.
        clock: time.
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        authorizer: Authorizer,
        people: People,
        listing: Listing,
        revoke: Revoke,
        clock: Clock,
    ) -> None:
        self._database = database
        self._committer = committer
        self._authorizer = authorizer
        self._people = people
        self._listing = listing
        self._revoke = revoke
        self._clock = clock

    async def start(self, principal: Principal) -> AccessReview:
        """Begin a review of every right that there is now.

        Raises:
            StrongroomError: `access_review_open` while another one is.
        """
        self._authorizer.check(principal, action="access_review:start", merchant=None)
        last = await records.newest(self._database, limit=1)
        if last and last[0].closed_at is None:
            raise errors.is_open()
        now = _whole_ms(self._clock.now())
        made = AccessReview(
            id=new_id("arv"),
            number=last[0].number + 1 if last else 1,
            started_at=now,
            started_by=principal.id,
            due_at=now + timedelta(days=limits.ACCESS_REVIEW_DUE_DAYS),
            lines=tuple(await self._listing()),
        )
        change = Change()
        records.add(change, made)
        self._journal(change, made, "start", "started", principal.id, {"lines": len(made.lines)})
        if await self._committer.submit(change) is not Written.COMMITTED:
            raise errors.is_open()
        return made

    async def show(self, review: str) -> AccessReview:
        """Return a review.

        Raises:
            StrongroomError: `access_review_not_found`.
        """
        try:
            found = await records.find(self._database, review)
        except StrongroomError as error:
            raise errors.not_found() if error.code == "invalid_id" else error from None
        if found is None:
            raise errors.not_found()
        return found

    async def page(self) -> list[AccessReview]:
        """Return the newest reviews, the newest first."""
        return await records.newest(self._database, limit=_PAGE)

    async def decide(
        self, review: str, line: int, *, principal: Principal, verdict: Verdict, reason: str
    ) -> AccessReview:
        """Keep a right or take it away; nobody decides about his own.

        Raises:
            StrongroomError: `access_review_not_found`, `access_review_closed`, `review_own`,
                `review_repeated`.
        """
        self._authorizer.check(principal, action="access_review:decide", merchant=None)
        check_line("reason", reason)
        found = await self.show(review)
        if found.closed_at is not None:
            raise errors.is_closed()
        if not 1 <= line <= len(found.lines):
            raise errors.not_found()
        about = found.lines[line - 1]
        if await self._is_own(principal, about):
            raise errors.own()
        decision = Decision(
            line=line,
            verdict=verdict,
            reviewer=principal.id,
            reason=reason,
            decided_at=_whole_ms(self._clock.now()),
        )
        change = Change()
        records.add_decision(change, found, decision)
        facts: dict[str, Value] = {"line": line, "of": about.subject}
        self._journal(change, found, "decide", verdict, principal.id, facts, reason)
        if await self._committer.submit(change) is not Written.COMMITTED:
            raise errors.decided()
        if verdict == "remove":
            await self._revoke(about, principal.id, reason)
        return await self.show(review)

    async def close(self, review: str, *, principal: Principal) -> AccessReview:
        """End a review whose every line is decided; what was to go is certainly gone.

        Raises:
            StrongroomError: `access_review_not_found`, `access_review_closed`,
                `access_review_incomplete`.
        """
        self._authorizer.check(principal, action="access_review:close", merchant=None)
        found = await self.show(review)
        if found.closed_at is not None:
            raise errors.is_closed()
        if found.undecided:
            raise errors.incomplete(len(found.undecided))
        removed = [d for d in found.decisions if d.verdict == "remove"]
        for decision in removed:
            await self._revoke(found.lines[decision.line - 1], decision.reviewer, decision.reason)
        closed = msgspec.structs.replace(
            found, closed_at=_whole_ms(self._clock.now()), closed_by=principal.id
        )
        digest = closed.digest()
        change = Change()
        records.add_end(change, closed, digest=digest)
        facts: dict[str, Value] = {
            "lines": len(found.lines),
            "removed": len(removed),
            "result_sha256": digest.hex(),
        }
        self._journal(change, closed, "close", "closed", principal.id, facts)
        if await self._committer.submit(change) is not Written.COMMITTED:
            raise errors.is_closed()
        return await self.show(review)

    async def days_late(self, *, since: datetime) -> int:
        """Return by how many days a review is late, 0 when none is.

        Args:
            since: when this installation began; the first review counts from there.
        """
        now = self._clock.now()
        found = await records.newest(self._database, limit=2)
        closed = [one.closed_at for one in found if one.closed_at is not None]
        last = max(closed, default=since)
        due = [last + timedelta(days=limits.ACCESS_REVIEW_EVERY_DAYS)]
        due += [one.due_at for one in found if one.closed_at is None]
        return max(0, (now - min(due)).days)

    async def _is_own(self, principal: Principal, line: Line) -> bool:
        """Return whether a right is the reviewer's own, or could be because nobody can tell."""
        person = await self._people.person_of(principal)
        name = principal.id.rsplit(":", 1)[-1].casefold()
        if principal.id == line.subject or name == line.owner.casefold():
            return True
        return line.person is not None and (person is None or person == line.person)

    def _journal(
        self,
        change: Change,
        found: AccessReview,
        verb: str,
        outcome: str,
        actor: str,
        facts: dict[str, Value],
        reason: str | None = None,
    ) -> None:
        entry = Entry(
            action=f"access:review:{verb}",
            subject=found.id,
            outcome=outcome,
            merchant=None,
            actor=actor,
            reason=reason,
            facts=facts,
        )
        record(change, entry, at=self._clock.now())


def _whole_ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

"""The verbs of detection: hits become findings, and people take them on and close them.

Each transition is an entry of the journal. What a finding holds is masked already.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from strongroom.detection import decide, errors, records
from strongroom.detection.model import Finding, Hit, Report, Resolution
from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock, SystemClock
from strongroom.kernel.ids import NIL_UUID, new_id, uuid_of
from strongroom.kernel.limits import PAGE_LIMIT_MAX
from strongroom.storage import Change, Committer, Database, Verdict

ALL_STATES = ("open", "acknowledged", "resolved")
UNRESOLVED = ("open", "acknowledged")
_STALE_RETRIES = 5
_BATCH = 500


class Detection:
    """Findings of one installation.

    Args:
        database: role `strongroom_pay`, for reading.
        committer: the same role, with the journal's marker.
        clock: time.
    """

    def __init__(
        self, database: Database, committer: Committer, *, clock: Clock | None = None
    ) -> None:
        self._database = database
        self._committer = committer
        self._clock = clock or SystemClock()

    async def take(self, hits: Sequence[Hit], *, actor: str) -> list[Finding]:
        """Turn hits into findings; returns those that opened, for the first time or again."""
        grouped: dict[bytes, list[Hit]] = {}
        for hit in hits:
            grouped.setdefault(decide.identity_of(hit), []).append(hit)
        opened: list[Finding] = []
        identities = list(grouped)
        for start in range(0, len(identities), _BATCH):
            part = identities[start : start + _BATCH]
            standing = await records.known(self._database, part)
            for identity in part:
                found = await self._take_one(
                    identity, grouped[identity], standing.get(identity), actor
                )
                opened += [found] if found is not None else []
        return opened

    async def find(self, finding: str) -> Finding:
        """Return a finding.

        Raises:
            StrongroomError: `finding_not_found`.
        """
        stored = await records.finding(self._database, uuid_of(finding, "fnd"))
        if stored is None:
            raise errors.finding_not_found()
        return stored.finding

    async def page(
        self,
        *,
        states: Sequence[str] = UNRESOLVED,
        limit: int = PAGE_LIMIT_MAX,
        after: str | None = None,
    ) -> list[Finding]:
        """Return findings, oldest first."""
        start = NIL_UUID if after is None else uuid_of(after, "fnd")
        return await records.page(
            self._database, states=states, after=start, limit=min(limit, PAGE_LIMIT_MAX)
        )

    async def open_count(self) -> int:
        """Return how many findings wait for somebody, for the metrics."""
        return await records.count_open(self._database)

    async def acknowledge(self, finding: str, *, reason: str, actor: str) -> Finding:
        """Note that somebody has taken a finding on."""
        for _ in range(_STALE_RETRIES):
            now = self._clock.now()
            known = await self.find(finding)
            changed = decide.acknowledged(known, reason=reason, actor=actor, now=now)
            if await self._write(changed, "acknowledge", "acknowledged", actor=actor):
                return await self.find(finding)
        raise errors.changed_meanwhile()

    async def resolve(self, finding: str, how: Resolution, *, actor: str) -> Finding:
        """Close a finding with what was done (PCI DSS 12.10.7)."""
        for _ in range(_STALE_RETRIES):
            now = self._clock.now()
            changed = decide.resolved(await self.find(finding), how, actor=actor, now=now)
            if await self._write(changed, "resolve", "resolved", actor=actor):
                return await self.find(finding)
        raise errors.changed_meanwhile()

    async def is_due(self, *, every_s: float) -> bool:
        """Return whether a periodic scan should run; claims nothing."""
        return await records.run_is_due(self._database, every=timedelta(seconds=every_s))

    async def due(self, what: str, *, every_s: float) -> bool:
        """Return whether this process should run a periodic scan now; others then do not."""
        return await records.claim_run(self._database, what, every=timedelta(seconds=every_s))

    async def ran(self, what: str, report: Report) -> None:
        """Note what a periodic scan did."""
        await records.end_run(
            self._database,
            what,
            size=report.bytes,
            hits=len(report.hits),
            unread=len(report.unread),
        )

    async def _take_one(
        self, identity: bytes, hits: list[Hit], standing: Finding | None, actor: str
    ) -> Finding | None:
        hit, count = hits[0], len(hits)
        for _ in range(_STALE_RETRIES):
            now = self._clock.now()
            if standing is None:
                made = decide.opened(new_id("fnd"), hit, count=count, actor=actor, now=now)
                change = Change()
                records.add_finding(change, records.Stored(made, identity))
                record(change, _entry(made, "open", "opened", actor), at=now)
                if await self._committer.submit(change) is Verdict.COMMITTED:
                    return made
            else:
                again = decide.seen_again(standing, hit, count=count, actor=actor, now=now)
                reopened = standing.state == "resolved" and again.state == "open"
                verb = "reopen" if reopened else ""
                if await self._write(again, verb, "opened", actor=actor):
                    return again if reopened else None
            standing = (await records.known(self._database, [identity])).get(identity)
        raise errors.changed_meanwhile()

    async def _write(self, finding: Finding, verb: str, outcome: str, *, actor: str) -> bool:
        change = Change()
        records.set_finding(change, finding)
        if verb:
            record(change, _entry(finding, verb, outcome, actor), at=self._clock.now())
        return await self._committer.submit(change) is Verdict.COMMITTED


def _entry(finding: Finding, verb: str, outcome: str, actor: str) -> Entry:
    facts: dict[str, str | int | bool] = {
        "kind": finding.kind,
        "severity": finding.severity,
        "last4": finding.last4,
        "brand": finding.brand,
    }
    if finding.disposition is not None:
        facts["disposition"] = finding.disposition
        facts["sad_checked"] = finding.sad_checked
    return Entry(
        action=f"detection:finding:{verb}",
        subject=finding.id,
        outcome=outcome,
        merchant=None,
        actor=actor,
        reason=finding.reason,
        facts=facts,
    )

"""Rotations as jobs: started once, worked on by one process at a time, gone on with after a crash.

A job is a row with a lease. Whoever works on it notes how far it came with every chunk; a process
that dies leaves a lease that ends. Pausing, canceling and finishing change the row under its
version, with an entry in the journal.
"""

from __future__ import annotations

from strongroom.journal import Entry, record
from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, new_uuid7, uuid_of
from strongroom.keys import errors
from strongroom.keys import records as key_records
from strongroom.keys.decide import days_left, period
from strongroom.keys.flow import Keyring
from strongroom.keys.listing import info
from strongroom.keys.model import KeyInfo
from strongroom.keys.naming import ACTOR
from strongroom.keys.rotation import ending, records
from strongroom.keys.rotation.model import Cards, Job, JobState, Level
from strongroom.keys.rotation.run import FIRST, TABLES, Run, Stopped, Tools
from strongroom.storage import Change, Verdict

_OVERDUE_AT_ONCE = 20


class Rotation:
    """Rotations of one installation.

    Args:
        keyring: whose keys rotate.
        cards: what is sealed under merchants' keys.
        lease_s: how long a process that died holds a job.
        settle_s: how long other processes may still use a replaced key: a last pass comes after.
    """

    def __init__(
        self,
        keyring: Keyring,
        cards: Cards,
        *,
        lease_s: float = limits.ROTATION_LEASE_S,
        settle_s: float = 3 * limits.KEY_REFRESH_S,
    ) -> None:
        self._custody = keyring.custody
        self._database = self._custody.database
        self._me = new_uuid7()
        self._tools = Tools(
            keyring=keyring, cards=cards, me=self._me, lease_s=lease_s, settle_s=settle_s
        )

    # --- jobs ---

    async def start(
        self,
        level: Level,
        *,
        merchant: str | None = None,
        rate: int = limits.ROTATION_RATE,
        reason: str = "requested",
        actor: str = ACTOR,
    ) -> Job:
        """Make the job that rotates a level, or return the one that is open for it already.

        Args:
            level: which keys; root moves what former roots still wrap.
            merchant: whose data or index key; all merchants' if None.
            rate: cards per second, 0 for as fast as it goes.
            reason: for the journal.
            actor: who asked.
        """
        if merchant is not None and level not in TABLES:
            raise errors.key_state(f"{level} keys belong to no merchant")
        now = self._custody.clock.now()
        job = Job(
            id=new_uuid7(),
            level=level,
            owner=None if merchant is None else uuid_of(merchant, "mer"),
            state="open",
            reason=reason,
            rate=rate,
            phase=self._custody.root.id if level == "root" else FIRST,
            place=None,
            total=0,
            done=0,
            created_at=now,
            updated_at=now,
            problem=None,
            version=1,
        )
        change = Change()
        records.add(change, job)
        record(change, _entry("start", job, actor), at=now)
        if await self._custody.committer.submit(change) is Verdict.COMMITTED:
            return job
        found = await records.open_for(self._database, job.target)
        return found or await self.start(
            level, merchant=merchant, rate=rate, reason=reason, actor=actor
        )

    async def jobs(self, *, limit: int = 50) -> list[Job]:
        """Return jobs, open ones first."""
        return await records.newest(self._database, limit=limit)

    async def job(self, job_id: str) -> Job:
        """Return one job.

        Raises:
            StrongroomError: `key_not_found`.
        """
        found = await records.find(self._database, uuid_of(job_id, "rot"))
        if found is None:
            raise errors.key_not_found()
        return found

    async def pause(self, job_id: str, *, actor: str) -> Job:
        """Let a job rest until it is resumed."""
        return await self._turn(await self.job(job_id), "open", "paused", "pause", actor)

    async def resume(self, job_id: str, *, actor: str) -> Job:
        """Let a paused job go on where it was."""
        return await self._turn(await self.job(job_id), "paused", "open", "resume", actor)

    async def cancel(self, job_id: str, *, actor: str) -> Job:
        """End a job; what it moved stays moved, new versions stay in use."""
        job = await self.job(job_id)
        return await self._turn(job, job.state, "canceled", "cancel", actor)

    async def open_jobs(self) -> int:
        """Return how many jobs are not done."""
        return (await records.count_open(self._database))[0]

    async def cards_left(self) -> int:
        """Return how much the open jobs have still to do."""
        _, done, total = await records.count_open(self._database)
        return max(0, total - done)

    async def days_left(self) -> int:
        """Return how many days the first active key has left; negative when one is overdue."""
        now = self._custody.clock.now()
        oldest = await key_records.oldest_active(self._database)
        left = [days_left(kind, purpose, made, now) for kind, purpose, made in oldest]
        return min(days for days in left if days is not None)

    async def compromised(self) -> int:
        """Return how many compromised keys are not destroyed yet."""
        return await key_records.count_compromised(self._database)

    # --- the end of a key ---

    async def compromise(self, key: str, *, actor: str) -> Job:
        """Mark a key as compromised, replace it, and start moving all that it sealed at full rate.

        Raises:
            StrongroomError: `key_not_found`, `key_state_not_possible`.
        """
        level, merchant = await ending.compromise(self._custody, key, actor=actor)
        await self._tools.keyring.refresh()
        return await self.start(level, merchant=merchant, rate=0, reason="compromised", actor=actor)

    async def require_destroyable(self, key: str) -> None:
        """Refuse to destroy a key that something still needs.

        Raises:
            StrongroomError: `key_not_found`, `key_state_not_possible`.
        """
        await ending.require_destroyable(self._custody, self._tools.cards, key)

    async def destroy(self, key: str, *, actor: str) -> KeyInfo:
        """Destroy a replaced key that nothing refers to any more.

        Raises:
            StrongroomError: `key_not_found`, `key_state_not_possible` with what stands in the way.
        """
        gone = await ending.destroy(self._custody, self._tools.cards, key, actor=actor)
        await self._tools.keyring.refresh()
        return info(gone, self._custody.clock.now())

    async def references(self, key: str) -> int:
        """Return how many rows still need a key."""
        found = await ending.find(self._custody, key)
        return await ending.count_references(self._custody, self._tools.cards, found)

    # --- work ---

    async def work(self, job_id: str | None = None) -> Job | None:
        """Work on an open job until it is done, paused or canceled; None when there is none.

        Raises:
            StrongroomError: why it could not go on; the job stays open and says so.
        """
        wanted = None if job_id is None else uuid_of(job_id, "rot")
        job = await records.take(
            self._database,
            self._me,
            root=self._custody.root.id,
            lease_s=self._tools.lease_s,
            job=wanted,
        )
        if job is None:
            return None
        run = Run(self._tools, job)
        try:
            await run.work()
            await self._turn(await self._fresh(job), "open", "done", "finish", ACTOR)
        except Stopped:
            pass
        except StrongroomError as error:
            await run.note(problem=error.code)
            raise
        finally:
            await records.let_go(self._database, job.id, self._me)
        return await self._fresh(job)

    async def start_overdue(self) -> int:
        """Start the rotation of keys whose cryptoperiod ended; return how many jobs."""
        now = self._custody.clock.now()
        started = 0
        lasts = period("kek", "data")
        found = await key_records.snapshot(self._database)
        if lasts is not None and any(
            key.record.kind == "kek"
            and key.state == "active"
            and key.record.created_at < now - lasts
            for key in found.keys
        ):
            await self.start("kek", reason="cryptoperiod")
            started += 1
        for level, table in TABLES.items():
            lasts = period(level, "")
            if lasts is None:
                continue
            for owner in await records.overdue(
                self._database, table.name, now - lasts, limit=_OVERDUE_AT_ONCE
            ):
                await self.start(
                    "dek" if level == "dek" else "index",
                    merchant=id_from("mer", owner),
                    reason="cryptoperiod",
                )
                started += 1
        return started

    async def _fresh(self, job: Job) -> Job:
        return await records.find(self._database, job.id) or job

    async def _turn(
        self, job: Job, expected: JobState, state: JobState, verb: str, actor: str
    ) -> Job:
        if job.state != expected or not job.is_open:
            raise errors.key_state(f"the job is {job.state}")
        now = self._custody.clock.now()
        change = Change()
        records.turn(change, job, state=state, at=now)
        record(change, _entry(verb, job, actor), at=now)
        if await self._custody.committer.submit(change) is not Verdict.COMMITTED:
            raise errors.keys_contended()
        return await self._fresh(job)


def _entry(verb: str, job: Job, actor: str) -> Entry:
    return Entry(
        action=f"keys:rotation:{verb}",
        subject=id_from("rot", job.id),
        outcome="success",
        reason=job.reason,
        merchant=None if job.owner is None else id_from("mer", job.owner),
        actor=actor,
        facts={"level": job.level, "rate": job.rate, "done": job.done},
    )

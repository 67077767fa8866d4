"""One process's work on one job, from where the last one left it to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

import msgspec

from strongroom.kernel.ids import NIL_UUID, id_from
from strongroom.keys import records as key_records
from strongroom.keys.flow import Keyring
from strongroom.keys.naming import ACTOR
from strongroom.keys.rotation import records, steps
from strongroom.keys.rotation.model import Cards, Job, Place
from strongroom.keys.tables import DEK, INDEX

FIRST, AGAIN = "first", "again"
TABLES = {"dek": DEK, "index": INDEX}
_PAGE = 200


class Stopped(Exception):
    """The job is no longer this process's to work on."""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What a rotation works with; told in `Rotation`."""

    keyring: Keyring
    cards: Cards
    me: UUID
    lease_s: float
    settle_s: float


class Run:
    """One process's work on one job."""

    def __init__(self, tools: Tools, job: Job) -> None:
        self._tools = tools
        self._custody = tools.keyring.custody
        self._database = self._custody.database
        self._job = job
        self._phase = job.phase
        self._place = job.place
        self._done = job.done
        self._failed = 0

    async def work(self) -> None:
        """Do what is missing of the job."""
        job = self._job
        if job.level == "root":
            await self._total(await steps.count_under_former(self._custody))
            self._done += await steps.rewrap_under_root(self._custody, ACTOR)
            await self.note()
        elif job.level == "kek":
            await self._keks()
        else:
            await self._merchants()

    async def note(self, *, problem: str | None = None) -> None:
        """Store how far the job came; stop when it is not ours any more."""
        if self._failed and problem is None:
            problem = f"{self._failed} cards could not be opened and were left as they are"
        ours = await records.advance(
            self._database,
            self._job.id,
            self._tools.me,
            phase=self._phase,
            place=self._place,
            done=self._done,
            problem=problem,
            lease_s=self._tools.lease_s,
        )
        if not ours and problem is None:
            raise Stopped

    async def _keks(self) -> None:
        custody, moved = self._custody, 1
        await steps.renew_keks(custody, before=self._job.created_at, actor=ACTOR)
        await self._total(await self._count_wrapped())
        while moved:
            moved = 0
            for kek in await steps.old_keks(custody):
                while page := await steps.rewrap_page(custody, kek.record.id):
                    moved += page
                    self._done += page
                    await self.note()
            if moved:
                await self._settle()

    async def _count_wrapped(self) -> int:
        keks = await steps.old_keks(self._custody)
        return sum([await key_records.count_under(self._database, key.record.id) for key in keks])

    async def _merchants(self) -> None:
        if self._phase == AGAIN:
            self._place = None  # a last pass looks at everything, whoever began it
        elif self._place is None:
            await self._renew_and_count()
        while True:
            before, self._failed = self._done, 0
            async for merchant in self._owners():
                await self._move(merchant)
            if self._phase == AGAIN and self._done == before:
                return
            await self._settle()
            self._phase, self._place = AGAIN, None
            await self.note()

    async def _renew_and_count(self) -> None:
        """Make all new versions first: from then on nothing new is sealed under an old one."""
        async for merchant in self._owners():
            await self._renew(merchant)
        owner = self._job.owner
        name = None if owner is None else id_from("mer", owner)
        await self._total(await self._tools.cards.count(self._job.level, name))

    async def _renew(self, merchant: UUID) -> None:
        table = TABLES[self._job.level]
        before: datetime = self._job.created_at
        if await steps.renew_merchant_key(self._custody, table, merchant, before=before):
            self._tools.keyring.forget_merchant(id_from("mer", merchant))
            await self.note()

    async def _move(self, merchant: UUID) -> None:
        level, name = self._job.level, id_from("mer", merchant)
        at = Place.of(self._place)
        after = at.card if at.merchant == merchant else NIL_UUID

        async def report(last: UUID, moved: int, failed: int) -> bool:
            self._done += moved
            self._failed += failed
            self._place = Place(merchant, last).packed()
            await self.note()
            return True

        rate = self._job.rate
        await self._tools.cards.move(level, name, after=after, rate=rate, report=report)

    async def _owners(self) -> AsyncIterator[UUID]:
        """Yield the merchants of the job from its place on."""
        if self._job.owner is not None:
            yield self._job.owner
            return
        table = TABLES[self._job.level]
        at = Place.of(self._place).merchant
        if at != NIL_UUID:
            yield at
        while page := await key_records.merchants(self._database, table, after=at, limit=_PAGE):
            for merchant in page:
                yield merchant
            at = page[-1]

    async def _settle(self) -> None:
        """Wait until no process uses a replaced key any more, keeping the lease."""
        left = self._tools.settle_s
        while left > 0:
            await asyncio.sleep(min(left, self._tools.lease_s / 3))
            left -= self._tools.lease_s / 3
            await self.note()

    async def _total(self, total: int) -> None:
        if not self._job.total:
            await records.set_total(self._database, self._job.id, total)

"""Whether this process may take traffic: database, journal, keys' side, disk.

A background pulse does the looking, so that a health check costs nothing and never hangs. While
writes fail, the pulse tries one itself, so that readiness comes back without traffic.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from strongroom.api import Check
from strongroom.journal import Entry, Journal, Sequencer, record
from strongroom.kernel.clock import SystemClock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import COMMIT_QUEUE_MAX
from strongroom.storage import Change, Committer, Database
from strongroom.vault.remote import Caller

PULSE_S = 1.0
JOURNAL_LAG_MAX_S = 10.0
DISK_FREE_MIN_BYTES = 64 * 1024 * 1024


class HouseReadiness:
    """The checks behind `/health/ready`."""

    def __init__(
        self,
        *,
        committers: Mapping[str, Committer],
        database: Database,
        journal: Journal,
        sequencer: Sequencer | None,
        caller: Caller | None,
        data_dir: Path,
    ) -> None:
        self._committers = committers
        self._database = database
        self._journal = journal
        self._sequencer = sequencer
        self._caller = caller
        self._data_dir = data_dir
        self._checks: list[Check] = [Check("starting", False, "starting")]

    async def check(self) -> list[Check]:
        """Return the result of the last pulse."""
        return self._checks

    async def run(self) -> None:
        """Look every second, forever."""
        while True:
            self._checks = await self.look()
            await asyncio.sleep(PULSE_S)

    async def look(self) -> list[Check]:
        """Make every check once."""
        checks = [await self._bounded("database", self._database_answers())]
        checks.append(await self._bounded("journal", self._journal_moves()))
        for name, committer in self._committers.items():
            checks.append(await self._bounded(f"writes_{name}", self._writes(committer)))
        if self._caller is not None:
            checks.append(await self._bounded("vault", self._vault_answers(self._caller)))
        checks.append(self._disk())
        return checks

    async def _bounded(self, name: str, looking: Coroutine[Any, Any, str]) -> Check:
        try:
            # Not wait_for: on Python 3.11 it loses a cancellation that comes with the result.
            async with asyncio.timeout(2):
                code = await looking
        except TimeoutError:
            return Check(name, False, "timeout")
        except StrongroomError as error:
            return Check(name, False, error.code)
        return Check(name, not code, code)

    async def _database_answers(self) -> str:
        await self._database.ping()
        return ""

    async def _vault_answers(self, caller: Caller) -> str:
        await caller.ping()
        return ""

    async def _journal_moves(self) -> str:
        await self._journal.probe()
        if self._sequencer is not None and self._sequencer.failure is not None:
            return self._sequencer.failure.code
        return "journal_behind" if await self._journal.lag() > JOURNAL_LAG_MAX_S else ""

    async def _writes(self, committer: Committer) -> str:
        if committer.depth >= COMMIT_QUEUE_MAX // 2:
            return "overloaded"
        if committer.failing:
            change = Change()
            entry = Entry(
                action="storage:writes:probe",
                subject="installation",
                outcome="succeeded",
                merchant=None,
                actor="system:readiness",
            )
            record(change, entry, at=SystemClock().now())
            await committer.submit(change)
        return ""

    def _disk(self) -> Check:
        free = shutil.disk_usage(self._data_dir).free
        enough = free >= DISK_FREE_MIN_BYTES
        return Check("disk", enough, "" if enough else "disk_full")

"""The leak hunt over an installation's own data: for the command, and once a day by itself.

The daily run is a process of its own at the lowest priority, so that no request waits for it; one
process of all that share the database runs it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from strongroom.app.compose import House
from strongroom.app.databases import target
from strongroom.app.lifeline import hold_on
from strongroom.app.logs import begin_logging
from strongroom.app.settings import Settings, load, login_variables
from strongroom.detection import Confidence, FileScanner, Finder, Report, scan_tables
from strongroom.kernel.errors import StrongroomError
from strongroom.keys import harden_process
from strongroom.keys.ceremony import ROOT_FD, held_roots, key_pipe
from strongroom.storage import Database

EVERY_S = 24 * 3600.0
ACTOR = "system:scan"
_NICE = 19
_HASH_BYTES = 16
_log = logging.getLogger("strongroom.scan")

Told = Callable[[str, int, int], None]


class Scans:
    """What an installation looks into of its own.

    Args:
        house: the opened rooms.
        include_test: whether published test numbers are hits.
        progress: told how far it has come.
    """

    def __init__(
        self, house: House, *, include_test: bool = False, progress: Told | None = None
    ) -> None:
        self._house = house
        self._include_test = include_test
        self._progress = progress

    def finder(self, least: Confidence = "medium") -> Finder:
        """Return a finder whose hashes are keyed by the installation."""
        hasher = self._house.keyring.api_key_hasher()
        return Finder(
            least=least, keyed_hash=lambda digits: hasher(b"finding\0" + digits)[:_HASH_BYTES]
        )

    async def database(self, finder: Finder, report: Report) -> None:
        """Look into every table as its owner."""
        owner = Database(target(self._house.settings, "strongroom_owner"), size=2)
        await owner.open()
        try:
            await scan_tables(
                owner, finder, report, include_test=self._include_test, progress=self._progress
            )
        finally:
            await owner.close()

    async def files(self, finder: Finder, report: Report, paths: Iterable[Path]) -> None:
        """Look into files and directories, in a thread of its own."""
        scanner = FileScanner(
            finder, report, include_test=self._include_test, progress=self._progress
        )
        await asyncio.to_thread(scanner.scan, list(paths))

    async def logs(self, finder: Finder, report: Report) -> None:
        """Look into all that lies in the data directory: logs, tables, write-ahead log, exports."""
        await self.files(finder, report, [self._house.settings.data_dir])


async def run_due(settings: Settings, *, every_s: float = EVERY_S) -> list[str]:
    """Run the periodic scans that are due; returns which ran."""
    ran = []
    async with House(settings) as house:
        scans = Scans(house)
        for what, scan in (("database", scans.database), ("logs", scans.logs)):
            if not await house.detection.due(what, every_s=every_s):
                continue
            report = Report()
            await scan(scans.finder(), report)
            opened = await house.detection.take(report.hits, actor=ACTOR)
            await house.detection.ran(what, report)
            ran.append(what)
            if opened:
                _log.error("scan of %s opened %d findings", what, len(opened))
    return ran


async def run_apart(settings: Settings) -> None:
    """Run what is due in a process of its own; it ends with this one.

    It is given the logins and root keys that this process was given, in the same way.
    """
    given = {name: url.reveal() for name, url in login_variables(settings).items()}
    read_end, write_end = os.pipe()
    descriptors = [read_end]
    try:
        if held := held_roots():
            descriptors.append(key_pipe(held))
            given[ROOT_FD] = str(descriptors[-1])
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "strongroom.app.scanning",
            f"--data-dir={settings.data_dir}",
            f"--lifeline={read_end}",
            pass_fds=descriptors,
            env={**os.environ, **given},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        if await child.wait():
            _log.error("the daily scan did not run to its end")
    finally:
        for descriptor in (*descriptors, write_end):
            os.close(descriptor)


def main(arguments: list[str]) -> int:
    """Entry point of the daily run."""
    parser = argparse.ArgumentParser(prog="strongroom.app.scanning")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    options = parser.parse_args(arguments)
    hold_on(options.lifeline)
    os.nice(_NICE)
    harden_process()
    begin_logging()
    try:
        asyncio.run(run_due(load(options.data_dir)))
    except StrongroomError as error:
        sys.stderr.write(f"strongroom: {error.public} ({error.code}) {error.detail}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

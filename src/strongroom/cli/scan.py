"""`strongroom scan`: looks for card numbers in files, in the database, in our own logs."""

from __future__ import annotations

import hmac
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.command import (
    DEFAULT_DATA_DIR,
    FAILED,
    OK,
    UNAVAILABLE,
    AsJson,
    DataDir,
    command,
)
from strongroom.kernel.errors import StrongroomError

if TYPE_CHECKING:
    from rich.console import Console

    from strongroom.app import House
    from strongroom.detection import Confidence, Report

DATABASE, LOGS = "database", "logs"


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "scan", action="finding:scan")(scan)


def scan(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="TARGET…",
            help="Files and directories; `database` for every table, `logs` for all that lies in "
            "the data directory. A path of that name is written ./logs.",
        ),
    ],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    include_test: Annotated[
        bool, typer.Option("--include-test", help="Published test numbers count, too.")
    ] = False,
    least: Annotated[
        Literal["low", "medium", "high"],
        typer.Option("--min-confidence", help="Leave out what is less likely a card."),
    ] = "medium",
    record: Annotated[
        bool,
        typer.Option(
            "--record/--no-record", help="Open findings in the installation, where there is one."
        ),
    ] = True,
    as_json: AsJson = False,
) -> int:
    """Find card numbers where none may be; exit 1 if there are any, else 3 if not all was read."""
    asked = _Asked(targets, least, include_test, as_json)
    inside = _installed(data_dir, needed=bool(asked.words)) and (record or bool(asked.words))
    opened = _with_house(asked, data_dir, record) if inside else _alone(asked)
    asked.report.seconds = round(time.monotonic() - asked.started, 3)
    _tell(asked.report, opened, as_json=as_json)
    if asked.report.hits:
        return FAILED
    return UNAVAILABLE if asked.report.unread else OK


class _Asked:
    """One run of the command."""

    def __init__(
        self, targets: list[str], least: Confidence, include_test: bool, quiet: bool
    ) -> None:
        from strongroom.detection import Report

        self.words = set(targets) & {DATABASE, LOGS}
        self.paths = [Path(target) for target in targets if target not in (DATABASE, LOGS)]
        self.least: Confidence = least
        self.include_test = include_test
        self.quiet = quiet
        self.report = Report()
        self.started = time.monotonic()


def _installed(data_dir: Path, *, needed: bool) -> bool:
    """Return whether there is an installation whose key and findings can be used."""
    from strongroom.app import load

    try:
        load(data_dir, {**os.environ})
    except StrongroomError as error:
        if error.code != "not_initialized" or needed:
            raise
        return False
    return True


def _alone(asked: _Asked) -> list[str]:
    """Scan paths without an installation: equal numbers are told apart by this run's own key."""
    from strongroom.cli.show import progress
    from strongroom.detection import FileScanner, Finder

    key = secrets.token_bytes(32)
    finder = Finder(
        least=asked.least, keyed_hash=lambda data: hmac.digest(key, data, "sha256")[:16]
    )
    with progress("scan", quiet=asked.quiet) as told:
        scanner = FileScanner(finder, asked.report, include_test=asked.include_test, progress=told)
        scanner.scan(asked.paths)
    return []


def _with_house(asked: _Asked, data_dir: Path, record: bool) -> list[str]:
    """Scan with the installation's key, and open findings for what is found."""
    from strongroom.app import Scans
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import progress

    async def work(house: House, actor: str) -> list[str]:
        with progress("scan", quiet=asked.quiet) as told:
            scans = Scans(house, include_test=asked.include_test, progress=told)
            finder = scans.finder(asked.least)
            if DATABASE in asked.words:
                await scans.database(finder, asked.report)
            if LOGS in asked.words:
                await scans.logs(finder, asked.report)
            await scans.files(finder, asked.report, asked.paths)
        if not record:
            return []
        found = await house.detection.take(asked.report.hits, actor=actor)
        return [finding.id for finding in found]

    return in_house(data_dir, work)


def _tell(report: Report, opened: list[str], *, as_json: bool) -> None:
    import msgspec

    from strongroom.cli.show import emit

    told = {**msgspec.to_builtins(report), "opened": opened}
    emit(told, _text(report, opened), as_json=as_json)


def _text(report: Report, opened: list[str]) -> Callable[[Console], None]:
    from strongroom.cli.show import clean, table

    def text(out: Console) -> None:
        columns = ("severity", "what", "place", "where", "brand", "number", "confidence", "writing")
        rows = [
            (
                hit.severity,
                hit.sad or hit.kind,
                f"{hit.place}!{hit.inside}" if hit.inside else hit.place,
                _where(hit),
                hit.brand,
                hit.mask,
                hit.confidence,
                hit.writing,
            )
            for hit in report.hits
        ]
        if rows:
            out.print(table(columns, rows))
        for unread in report.unread:
            out.print(clean(f"not read: {unread.place}: {unread.reason}"), soft_wrap=True)
        for line in _summary(report, opened):
            out.print(line, soft_wrap=True)

    return text


def _where(hit: Any) -> str:
    if hit.row is not None:
        return f"row {hit.row}"
    return f"line {hit.line}, byte {hit.offset}" if hit.line is not None else ""


def _summary(report: Report, opened: list[str]) -> list[str]:
    size_mb, seconds = report.bytes / 1e6, max(report.seconds, 0.001)
    lines = [
        f"{report.files} files, {report.rows} rows of {report.columns} columns, {size_mb:.1f} MB "
        f"in {seconds:.1f} s ({size_mb / seconds:.0f} MB/s)",
        f"{len(report.hits)} hits; {report.test_numbers} published test numbers not counted; "
        f"{report.skipped} links and devices left alone; {len(report.unread)} not read",
    ]
    if opened:
        lines.append(f"{len(opened)} findings opened. Next: strongroom findings list")
    return lines

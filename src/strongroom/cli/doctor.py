"""`strongroom doctor`: is this installation well, and how is what is not well mended?

Works beside the running service and without it; it looks, it changes nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from strongroom.cli.command import (
    DEFAULT_DATA_DIR,
    FAILED,
    OK,
    AsJson,
    DataDir,
    authorize,
    command,
)
from strongroom.kernel.errors import StrongroomError

if TYPE_CHECKING:
    from rich.console import Console

    from strongroom.app import Settings
    from strongroom.cli.model import Finding

_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "doctor", action="system:doctor")(doctor)


What = Annotated[
    Literal["all", "hsm"],
    typer.Argument(help="`hsm` looks at the root's provider only: a dry run, nothing changes."),
]
RootFile = Annotated[
    Path | None,
    typer.Option("--root", help="With `hsm`: a file of `root create` instead of the settings."),
]


def doctor(
    what: What = "all",
    root: RootFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Check an installation and say how to mend what is not well; exit 1 on a failure."""
    from strongroom.cli.show import emit

    if what == "hsm":
        from strongroom.cli.health_root import examine_root

        findings = examine_root(data_dir, root)
    else:
        findings = _examine(data_dir)
    fine = not any(finding.status == "fail" for finding in findings)
    emit({"ok": fine, "checks": findings}, lambda out: _print(out, findings), as_json=as_json)
    return OK if fine else FAILED


def _examine(data_dir: Path) -> list[Finding]:
    from strongroom.app import load
    from strongroom.cli import health_machine as machine
    from strongroom.cli.model import fail, ok

    findings = [*machine.programs(), *machine.memory(), *machine.clock()]
    try:
        settings = load(data_dir)
    except StrongroomError as error:
        authorize("test")
        return [*findings, fail("settings", error.public, "See docs/operations/settings.md.")]
    authorize(settings.mode)
    findings.append(ok("settings", f"{settings.mode} mode, installation {settings.installation}"))
    findings += [*machine.disk(data_dir), *machine.permissions(settings)]
    root = list(machine.root(settings))
    findings += root
    return findings + _examine_store(settings, root_opens=root[0].status == "ok")


def _examine_store(settings: Settings, *, root_opens: bool) -> list[Finding]:
    from strongroom.cli import health_machine as machine
    from strongroom.cli.installation import database_running
    from strongroom.cli.model import fail

    running = False
    try:
        with database_running(settings) as started:
            running = not started and settings.embedded
            findings = asyncio.run(_ask(settings, root_opens=root_opens, running=running))
    except StrongroomError as error:
        mend = f"See {settings.data_dir / 'postgres.log'}." if settings.embedded else "Start it."
        told = " ".join(f"{error.public} ({error.code} {error.detail})".split())
        findings = [fail("database", told, mend)]
    findings += machine.service(settings, running=running)
    findings += machine.gateways(settings, running=running)
    return findings


async def _ask(settings: Settings, *, root_opens: bool, running: bool) -> list[Finding]:
    from strongroom.app import House
    from strongroom.cli import health_access as access
    from strongroom.cli import health_store as store
    from strongroom.cli import records
    from strongroom.cli.installation import owner
    from strongroom.cli.model import fail

    async with owner(settings) as database:
        findings = await store.engine(database, settings)
        findings.append(await store.migrations(database, settings))
    if not root_opens or findings[-1].status == "fail":
        return findings
    try:
        async with House(settings) as house:
            findings.append(await store.keys(house))
            findings += await store.certificates(house)
            findings += await store.journal(house, running=running)
            if house.role != "vault":
                findings.append(await access.emergencies(house))
                since = await records.installed_at(house.database)
                findings.append(await access.review(house, since=since))
    except StrongroomError as error:
        told = " ".join(f"{error.public} ({error.code} {error.detail})".split())
        findings.append(fail("keys and journal", told, "Mend what is told above, then look again."))
    return findings


def _print(out: Console, findings: list[Finding]) -> None:
    from rich.text import Text

    from strongroom.cli.show import table

    rows = [
        (Text(f.status, style=_STYLE[f.status]), f.check, f.told, f.mend or "") for f in findings
    ]
    out.print(table(("", "check", "found", "how to mend it"), rows))
    bad = sum(f.status == "fail" for f in findings)
    odd = sum(f.status == "warn" for f in findings)
    out.print(f"{len(findings)} checks: {bad} failed, {odd} to look after")

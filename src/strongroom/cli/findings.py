"""`strongroom findings`: what the hunt found, and what people did about it (PCI DSS 12.10.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.command import DEFAULT_DATA_DIR, OK, AsJson, DataDir, command, group

if TYPE_CHECKING:
    from rich.console import Console

    from strongroom.app import House

FindingId = Annotated[str, typer.Argument(help="The finding, fnd_….")]
Reason = Annotated[str, typer.Option("--reason", help="Why; goes to the journal.")]
_PAGE = 100


def register(app: typer.Typer) -> None:
    """Add the commands."""
    findings = group(app, "findings", "Card data found outside the vault.")
    command(findings, "findings list", action="finding:read")(list_findings)
    command(findings, "findings show", action="finding:read")(show_finding)
    command(findings, "findings acknowledge", action="finding:resolve")(acknowledge)
    command(findings, "findings resolve", action="finding:resolve")(resolve)


def list_findings(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    every: Annotated[bool, typer.Option("--all", help="Resolved ones, too.")] = False,
    as_json: AsJson = False,
) -> int:
    """List findings that are not resolved yet."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table
    from strongroom.detection import ALL_STATES, UNRESOLVED

    async def work(house: House, actor: str) -> list[Any]:
        states = ALL_STATES if every else UNRESOLVED
        found = page = await house.detection.page(states=states, limit=_PAGE)
        while len(page) == _PAGE:
            page = await house.detection.page(states=states, limit=_PAGE, after=page[-1].id)
            found = found + page
        return found

    found = in_house(data_dir, work)
    columns = ("id", "severity", "state", "kind", "place", "last4", ">count", "last seen")
    rows = [
        (f.id, f.severity, f.state, f.kind, f.place, f.last4, f.count, f.last_seen_at)
        for f in found
    ]
    emit(found, lambda out: out.print(table(columns, rows)), as_json=as_json)
    return OK


def show_finding(
    finding: FindingId, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> int:
    """Show one finding with every step that was taken."""
    from strongroom.cli.installation import in_house

    async def work(house: House, actor: str) -> Any:
        return await house.detection.find(finding)

    _show(in_house(data_dir, work), as_json=as_json)
    return OK


def acknowledge(
    finding: FindingId,
    reason: Reason,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Take a finding on."""
    from strongroom.cli.installation import in_house

    async def work(house: House, actor: str) -> Any:
        return await house.detection.acknowledge(finding, reason=reason, actor=actor)

    _show(in_house(data_dir, work), as_json=as_json)
    return OK


def resolve(
    finding: FindingId,
    disposition: Annotated[
        Literal["deleted", "retrieved", "migrated", "false_positive", "declared"],
        typer.Option("--disposition", help="What became of the data."),
    ],
    reason: Reason,
    source: Annotated[
        str, typer.Option("--source", help="Where the data came from and how it got there.")
    ] = "",
    fix: Annotated[str, typer.Option("--fix", help="What keeps it from coming again.")] = "",
    sad_checked: Annotated[
        bool,
        typer.Option("--sad-checked", help="Security codes and track data were looked for there."),
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Close a finding: retrieved, deleted or migrated, with its source and what was mended."""
    from strongroom.cli.installation import in_house
    from strongroom.detection import Resolution

    how = Resolution(
        disposition=disposition, reason=reason, source=source, fix=fix, sad_checked=sad_checked
    )

    async def work(house: House, actor: str) -> Any:
        return await house.detection.resolve(finding, how, actor=actor)

    _show(in_house(data_dir, work), as_json=as_json)
    return OK


def _show(finding: Any, *, as_json: bool) -> None:
    import msgspec

    from strongroom.cli.show import emit

    emit(finding, _lines(msgspec.structs.asdict(finding)), as_json=as_json)


def _lines(fields: dict[str, Any]) -> Callable[[Console], None]:
    from strongroom.cli.show import clean

    def text(out: Console) -> None:
        for name, value in fields.items():
            out.print(f"{name.replace('_', ' ')}: {clean(value)}", soft_wrap=True)

    return text

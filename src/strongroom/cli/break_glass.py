"""`strongroom break-glass`: access in an emergency, and what others find afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.command import (
    DEFAULT_DATA_DIR,
    OK,
    AsJson,
    DataDir,
    command,
    group,
    operator,
)
from strongroom.kernel.edge_limits import BREAK_GLASS_MINUTES_MAX

if TYPE_CHECKING:
    from strongroom.app import House


def register(app: typer.Typer) -> None:
    """Add the commands."""
    glass = group(app, "break-glass", "Access in an emergency, reviewed afterwards.")
    command(glass, "break-glass open", action="break_glass:open")(open_glass)
    command(glass, "break-glass list", action="break_glass:read")(list_emergencies)
    command(glass, "break-glass review", action="break_glass:review")(review)


def open_glass(
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the journal.")],
    minutes: Annotated[
        int, typer.Option("--minutes", min=1, max=BREAK_GLASS_MINUTES_MAX, help="For how long.")
    ] = 15,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Take emergency access for some minutes; another administrator reviews it within 72 hours."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        who = operator(house.settings.mode)
        return await house.break_glass.open(who, minutes=minutes, reason=reason)

    made = in_house(data_dir, work)
    text = (
        f"{made.id}: open until {made.ends_at:%FT%TZ}. Everything you do is an entry of its own. "
        f"To be reviewed by {made.needed} others: strongroom break-glass review {made.id}"
    )
    emit(made, lambda out: out.print(text, soft_wrap=True), as_json=as_json)
    return OK


def list_emergencies(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List emergencies and what others found, the newest first."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> Any:
        return await house.break_glass.page()

    found = in_house(data_dir, work)
    rows = [
        (e.id, e.actor, e.opened_at, e.ends_at, e.reason, len(e.reviews), e.needed) for e in found
    ]
    columns = ("id", "by", "opened", "ends", "reason", ">reviews", ">needed")
    emit(found, lambda out: out.print(table(columns, rows)), as_json=as_json)
    return OK


def review(
    emergency: Annotated[str, typer.Argument(metavar="EMERGENCY", help="brk_… of the list.")],
    verdict: Annotated[
        Literal["justified", "misused"], typer.Option("--verdict", help="What you found.")
    ],
    note: Annotated[str, typer.Option("--note", help="What you looked at; goes to the journal.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Note what you found about another person's emergency; your account has your login here."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        who = operator(house.settings.mode)
        return await house.break_glass.review(emergency, principal=who, verdict=verdict, note=note)

    done = in_house(data_dir, work)
    text = f"{done.id}: {len(done.reviews)} of {done.needed} reviews."
    emit(done, lambda out: out.print(text), as_json=as_json)
    return OK

"""`strongroom access-reviews`: every right looked at twice a year, kept or taken away."""

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

if TYPE_CHECKING:
    from rich.console import Console

    from strongroom.access.reviews import AccessReview
    from strongroom.app import House

Id = Annotated[str, typer.Argument(metavar="REVIEW", help="arv_… of `access-reviews list`.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    reviews = group(app, "access-reviews", "Every right, looked at twice a year.")
    command(reviews, "access-reviews start", action="access_review:start")(start)
    command(reviews, "access-reviews list", action="access_review:read")(list_reviews)
    command(reviews, "access-reviews show", action="access_review:read")(show)
    command(reviews, "access-reviews decide", action="access_review:decide")(decide)
    command(reviews, "access-reviews close", action="access_review:close")(close)


def start(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Begin a review of every account and key that there is now; due within 30 days."""
    from strongroom.cli.installation import in_house

    async def work(house: House, actor: str) -> Any:
        return await _reviews(house).start(operator(house.settings.mode))

    _emit(in_house(data_dir, work), as_json=as_json)
    return OK


def list_reviews(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List reviews, the newest first."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> Any:
        return await _reviews(house).page()

    found = in_house(data_dir, work)
    rows = [
        (r.id, r.started_at, r.due_at, len(r.lines), len(r.undecided), r.closed_at) for r in found
    ]
    columns = ("id", "started", "due", ">lines", ">left", "closed")
    emit(found, lambda out: out.print(table(columns, rows)), as_json=as_json)
    return OK


def show(review: Id, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Show a review line by line."""
    from strongroom.cli.installation import in_house

    async def work(house: House, actor: str) -> Any:
        return await _reviews(house).show(review)

    _emit(in_house(data_dir, work), as_json=as_json)
    return OK


def decide(
    review: Id,
    line: Annotated[int, typer.Argument(min=1, help="The line's number.")],
    verdict: Annotated[
        Literal["keep", "remove"], typer.Option("--verdict", help="`remove` revokes it at once.")
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why; goes to the journal.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Keep a right or take it away; nobody decides about his own."""
    from strongroom.cli.installation import in_house

    async def work(house: House, actor: str) -> Any:
        return await _reviews(house).decide(
            review,
            line,
            principal=operator(house.settings.mode),
            verdict=verdict,
            reason=reason,
        )

    _emit(in_house(data_dir, work), as_json=as_json)
    return OK


def close(review: Id, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """End a review whose every line is decided; its digest goes into the journal."""
    from strongroom.cli.installation import in_house

    async def work(house: House, actor: str) -> Any:
        return await _reviews(house).close(review, principal=operator(house.settings.mode))

    _emit(in_house(data_dir, work), as_json=as_json)
    return OK


def _reviews(house: House) -> Any:
    from strongroom.app.four_eyes import open_reviews

    return open_reviews(house)


def _emit(found: AccessReview, *, as_json: bool) -> None:
    from strongroom.cli.show import emit, table

    decided = {decision.line: decision for decision in found.decisions}
    rows = [
        (
            number,
            line.kind,
            line.subject,
            line.role,
            line.owner,
            line.last_used_at,
            decided[number].verdict if number in decided else "",
        )
        for number, line in enumerate(found.lines, 1)
    ]
    columns = (">line", "kind", "subject", "role", "owner", "last used", "decided")

    def text(out: Console) -> None:
        out.print(table(columns, rows))
        state = f"closed, SHA-256 {found.result_sha256}" if found.closed_at else "open"
        out.print(f"{found.id}: {state}, {len(found.undecided)} lines left", soft_wrap=True)

    emit(found, text, as_json=as_json)

"""Commands that show who may do what, and why: one decision, all of them, the database's rights."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.cli.command import (
    ACTION_OF,
    DEFAULT_DATA_DIR,
    FAILED,
    OK,
    AsJson,
    DataDir,
    authorize,
    command,
    group,
)

if TYPE_CHECKING:
    from rich.console import Console

    from strongroom.access import Survey
    from strongroom.app import Settings
    from strongroom.cli.asking import Asked, Given
    from strongroom.storage import Database


def register(app: typer.Typer) -> None:
    """Add the commands."""
    access = group(app, "access", "Who may do what, and which policies say so.")
    command(access, "access explain", action="access:explain")(explain)
    command(access, "access matrix", action="access:explain")(matrix)
    command(access, "access grants", action="access:explain")(grants)


def explain(
    principal: Annotated[
        str, typer.Argument(help="A role, or key_…, opr_…, or a service's spiffe://….")
    ],
    action: Annotated[str, typer.Argument(help="An action, as in docs/access.md.")],
    resource: Annotated[str, typer.Argument(help="pay_…, tok_…, mer_… or installation.")],
    merchant: Annotated[
        str | None,
        typer.Option("--merchant", help="mer_… of the caller, or the one an operator names."),
    ] = None,
    purpose: Annotated[
        str | None, typer.Option("--purpose", help="What a card number is to be shown for.")
    ] = None,
    amount: Annotated[
        int | None, typer.Option("--amount", min=0, help="Minor units to capture or give back.")
    ] = None,
    aal: Annotated[
        int, typer.Option("--aal", min=1, max=3, help="What a person's session showed.")
    ] = 3,
    mfa_minutes: Annotated[
        int, typer.Option("--mfa-minutes", min=0, help="How long ago it showed its second factor.")
    ] = 0,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Tell whether a caller may do something, and show the policies that decided."""
    from strongroom.access import Authorizer, require_known
    from strongroom.app import load
    from strongroom.cli.asking import Given
    from strongroom.cli.show import emit

    require_known(action)
    settings = load(data_dir)
    authorize(settings.mode)
    given = Given(
        principal=principal,
        action=action,
        resource=resource,
        merchant=merchant,
        amount_minor=amount,
        aal=aal,
        mfa_minutes=mfa_minutes,
    )
    question = _looked_up(given, settings)
    found = Authorizer(mode=settings.mode).explain(
        question.principal,
        action=action,
        merchant=question.merchant,
        context={} if purpose is None else {"purpose": purpose},
        resource=question.attributes,
    )
    told = {
        "principal": principal,
        "action": action,
        "resource": resource,
        "allowed": found.decision.allowed,
        "policies": [{"id": name, "text": text} for name, text in found.texts.items()],
        "reasons": list(found.reasons),
        "policy_set": found.decision.policy_set,
    }
    emit(told, lambda to: _tell(to, told), as_json=as_json)
    return OK if found.decision.allowed else FAILED


def _looked_up(given: Given, settings: Settings) -> Asked:
    """Return the question; the database is opened only for who or what must be looked up."""
    import asyncio

    from strongroom.cli.asking import asked
    from strongroom.cli.installation import database_running, owner

    if not given.needs_database:
        return given.without_database(mode=settings.mode)

    async def look() -> Asked:
        async with owner(settings) as database:
            return await asked(given, mode=settings.mode, database=database)

    with database_running(settings):
        return asyncio.run(look())


def _tell(to: Console, told: dict[str, Any]) -> None:
    to.print(f"{'Permitted' if told['allowed'] else 'Denied'}: {' '.join(told['reasons'])}")
    for policy in told["policies"]:
        to.print(f"\n{policy['text']}")
    to.print(f"\npolicy set {told['policy_set']}")


def matrix(as_json: AsJson = False) -> int:
    """Ask the policies about every caller, action and merchant; exit 1 if anything leaks.

    The places are all routes of the API, all pages of the console and all commands.
    """
    from strongroom.access import survey
    from strongroom.cli.places import places
    from strongroom.cli.show import emit, waiting

    with waiting("Asking the policies …", quiet=as_json):
        found = survey(places(ACTION_OF), now=datetime.now(UTC))
    emit(found, lambda to: _show_survey(to, found), as_json=as_json)
    return FAILED if found.leaks or found.unmapped_routes else OK


def _show_survey(to: Console, found: Survey) -> None:
    from strongroom.cli.show import table

    if found.leaking:
        rows = [(x.place, x.action, x.caller, x.merchant, x.promise) for x in found.leaking[:50]]
        to.print(table(("place", "action", "caller", "merchant", "promise broken"), rows))
    for name in found.unmapped:
        to.print(f"No action: {name}")
    to.print(
        f"{found.cells} cells, {found.permits} permits, {found.leaks} leaks, "
        f"{found.unmapped_routes} unmapped routes; policy set {found.policy_set}"
    )


def grants(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Show what each database role may do to which table, and where rows are narrowed."""
    from strongroom.cli import records
    from strongroom.cli.installation import as_owner
    from strongroom.cli.show import emit, table

    async def work(_: Settings, database: Database) -> list[dict[str, Any]]:
        return await records.grants(database)

    found = as_owner(data_dir, work)
    rows = [(x["role"], x["table"], x["rights"], x["columns"], x["rows"]) for x in found]
    columns = ("role", "table", "whole table", "some columns", "rows")
    emit(found, lambda to: to.print(table(columns, rows)), as_json=as_json)
    return OK

"""`strongroom access-approvals`: ask another administrator, and see what waits.

Deciding takes a passkey or a one-time code, and so a session: it is done in the console or over
HTTP. Custodians' dual control is another thing: `strongroom approvals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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

    from strongroom.access.approvals import Approval
    from strongroom.app import House

Merchant = Annotated[
    str | None, typer.Option("--merchant", help="mer_… that it is about; none: the installation.")
]
_PAGE = 100


def register(app: typer.Typer) -> None:
    """Add the commands."""
    approvals = group(app, "access-approvals", "What another administrator must approve.")
    command(approvals, "access-approvals request", action="four_eyes:request")(request)
    command(approvals, "access-approvals list", action="four_eyes:read")(list_approvals)
    command(approvals, "access-approvals show", action="four_eyes:read")(show)


def request(
    action: Annotated[str, typer.Argument(help="What is to be done, such as api_key:create.")],
    resource: Annotated[str, typer.Option("--resource", help="To what: see docs/four-eyes.md.")],
    parameters: Annotated[str, typer.Option("--parameters", help="Exactly what, as JSON.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for those who decide.")],
    minutes: Annotated[
        int, typer.Option("--minutes", min=1, max=60, help="How long it is good for.")
    ] = 15,
    merchant: Merchant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Ask another administrator to approve exactly one action, for one use within minutes."""
    from strongroom.cli.installation import in_house

    asked = _parameters(parameters)

    async def work(house: House, actor: str) -> Any:
        return await house.approvals.request(
            operator(house.settings.mode, merchant=merchant),
            action=action,
            merchant=merchant,
            resource=resource,
            parameters=asked,
            reason=reason,
            ttl_s=minutes * 60,
        )

    _emit(in_house(data_dir, work, merchant=merchant), as_json=as_json)
    return OK


def list_approvals(
    merchant: Merchant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """List the newest requests and where they stand."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> Any:
        who = operator(house.settings.mode, merchant=merchant)
        return (await house.approvals.page(who, limit=_PAGE)).data

    found: list[Approval] = in_house(data_dir, work, merchant=merchant)
    rows = [
        (a.id, a.action, a.statement.resource, a.state, len(a.approved_by), a.needed, a.requester)
        for a in found
    ]
    columns = ("id", "action", "resource", "state", ">approved", ">needed", "requester")
    emit([view(a) for a in found], lambda out: out.print(table(columns, rows)), as_json=as_json)
    return OK


def show(
    approval: Annotated[str, typer.Argument(metavar="APPROVAL", help="apr_… of the request.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Show a request in full."""
    from strongroom.cli.installation import in_house

    async def work(house: House, actor: str) -> Any:
        return await house.approvals.get(approval, principal=operator(house.settings.mode))

    _emit(in_house(data_dir, work), as_json=as_json)
    return OK


def view(found: Approval) -> dict[str, Any]:
    """Return a request as JSON shows it."""
    return {
        "id": found.id,
        "state": found.state,
        "action": found.action,
        "resource": found.statement.resource,
        "merchant": found.merchant,
        "parameters": dict(found.statement.parameters),
        "action_sha256": found.action_sha256.hex(),
        "requester": found.requester,
        "reason": found.reason,
        "needed": found.needed,
        "approved_by": list(found.approved_by),
        "created_at": found.created_at,
        "expires_at": found.expires_at,
    }


def _emit(found: Approval, *, as_json: bool) -> None:
    from strongroom.cli.show import clean, emit

    def text(out: Console) -> None:
        for name, value in view(found).items():
            out.print(f"{name.replace('_', ' ')}: {clean(value)}", soft_wrap=True)

    emit(view(found), text, as_json=as_json)


def _parameters(text: str) -> dict[str, Any]:
    import msgspec

    try:
        return msgspec.json.decode(text, type=dict[str, str | int | bool | list[str] | None])
    except msgspec.MsgspecError:
        raise typer.BadParameter("--parameters is JSON, such as '{}'.") from None

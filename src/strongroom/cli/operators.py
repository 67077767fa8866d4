"""Commands for the people who run the installation. An invitation's code is shown once."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.command import DEFAULT_DATA_DIR, OK, AsJson, DataDir, command, group, operator
from strongroom.cli.four_eyes import Approval, approved

if TYPE_CHECKING:
    from strongroom.access.approvals import Parameter
    from strongroom.app import House
    from strongroom.cli.installation import Permit
    from strongroom.identity import Principal
    from strongroom.identity.operators import OperatorView
    from strongroom.kernel.secret import Secret

Who = Annotated[str, typer.Argument(help="opr_… or the login, as `operators list` shows them.")]
Role = Literal["operator-read", "operator-admin"]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the journal.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Write the code into this new file (mode 0600).")
]
_PAGE = 100
_ACCEPT = "/console/invitation"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    people = group(app, "operators", "The people who run this installation.")
    command(people, "operators invite", action="operator:invite")(invite)
    command(people, "operators invite-again", action="operator:invite")(invite_again)
    command(people, "operators list", action="operator:list")(list_operators)
    command(people, "operators show", action="operator:list")(show)
    command(people, "operators role", action="operator:change_role")(role)
    command(people, "operators leave", action="operator:leave")(leave)
    command(people, "operators recover", action="operator:recover")(recover)
    command(people, "operators recoveries", action="operator:list")(recoveries)
    command(people, "operators unlock", action="operator:unlock")(unlock)
    command(people, "operators sessions", action="operator:list")(sessions)
    command(people, "operators end-sessions", action="operator:end_sessions")(end_sessions)


def invite(
    login: Annotated[str, typer.Argument(help="What the person signs in with, such as ada.")],
    name: Annotated[str, typer.Option("--name", help="The person's name.")],
    as_role: Annotated[Role, typer.Option("--role", help="What the person may do.")],
    out: Out = None,
    approval: Approval = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Make an account for a person and show their invitation once; it is good for 72 hours."""

    async def work(house: House, actor: str) -> Any:
        return await house.operators.accounts.invite(login, name=name, role=as_role, actor=actor)

    async def permit(house: House, who: Principal) -> None:
        described: dict[str, Parameter] = {"login": login, "name": name, "role": as_role}
        await _permit(house, who, "operator:invite", "operator", described, approval)

    return _invited(data_dir, work, out, permit=permit, as_json=as_json)


async def _permit(
    house: House,
    who: Principal,
    action: str,
    resource: str,
    described: dict[str, Parameter],
    approval: str | None,
) -> None:
    """Let a person be given a role, alone or with another person's approval."""
    administrators = await house.operators.accounts.administrators()
    pass_on = approved(
        action,
        merchant=None,
        resource=resource,
        parameters=described,
        context={"role": str(described["role"]), "administrators": administrators},
        approval=approval,
    )
    await pass_on(house, who)


def invite_again(
    who: Who,
    out: Out = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Replace the invitation of a person who did not accept theirs in time."""

    async def work(house: House, actor: str) -> Any:
        found = await house.operators.accounts.show(who)
        return await house.operators.accounts.invite_again(found.id, actor=actor)

    return _invited(data_dir, work, out, as_json=as_json)


def _invited(
    data_dir: Path,
    work: Callable[[House, str], Awaitable[Any]],
    out: Path | None,
    *,
    as_json: bool,
    permit: Permit | None = None,
) -> int:
    from strongroom.cli.installation import in_house

    if out is not None and out.exists():
        raise typer.BadParameter(f"{out} exists already.")

    async def located(house: House, actor: str) -> Any:
        return await work(house, actor), house.settings.public_url

    (view, code), url = in_house(data_dir, located, permit=permit)
    _hand_out(view, code, url, out, as_json=as_json)
    return OK


def _hand_out(
    view: OperatorView, code: Secret[str], url: str, out: Path | None, *, as_json: bool
) -> None:
    """Give the code to the person who asked; it cannot be shown again."""
    import msgspec

    from strongroom.cli.files import write_new_private
    from strongroom.cli.show import print_json

    if out is not None:
        write_new_private(out, code.reveal() + "\n")
    if as_json:
        told = msgspec.to_builtins(view)
        print_json(told if out is not None else {**told, "invitation": code.reveal()})
        return
    sys.stdout.write(f"{view.id}\n" if out is not None else f"{view.id}\n{code.reveal()}\n")
    sys.stderr.write(
        f"The person opens {url or 'http://localhost:8080'}{_ACCEPT} and enters the code. "
        "Hand it over by another way than the address; it cannot be shown again.\n"
    )


def list_operators(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List the people who run this installation, former ones too."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> list[Any]:
        accounts = house.operators.accounts
        found = page = await accounts.list_all(limit=_PAGE)
        while len(page) == _PAGE:
            page = await accounts.list_all(limit=_PAGE, after=page[-1].id)
            found = found + page
        return found

    found = in_house(data_dir, work)
    rows = [(o.id, o.login, o.name, o.role, o.status, _ways(o), o.seen_at) for o in found]
    columns = ("id", "login", "name", "role", "status", "signs in with", "last seen")
    emit(found, lambda to: to.print(table(columns, rows)), as_json=as_json)
    return OK


def _ways(view: OperatorView) -> str:
    ways = [f"{view.passkeys} passkeys"] if view.passkeys else []
    return ", ".join(ways + ["password and code"] * view.has_password) or "-"


def show(who: Who, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Show one person's account."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> Any:
        return await house.operators.accounts.show(who)

    view = in_house(data_dir, work)
    rows = [
        ("id", view.id),
        ("login", view.login),
        ("name", view.name),
        ("role", view.role),
        ("status", view.status),
        ("signs in with", _ways(view)),
        ("invited", view.created_at),
        ("invited by", view.created_by),
        ("last seen", view.seen_at),
    ]
    emit(view, lambda to: to.print(table(("what", "value"), rows)), as_json=as_json)
    return OK


def role(
    who: Who,
    to_role: Annotated[Role, typer.Argument(help="What the person may do from now on.")],
    approval: Approval = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Give a person another role; their sessions end."""

    async def work(house: House, actor: str, found: OperatorView) -> Any:
        return await house.operators.accounts.set_role(found.id, to_role, actor=actor)

    async def permit(house: House, by: Principal) -> None:
        found = await house.operators.accounts.show(who)
        await _permit(house, by, "operator:change_role", found.id, {"role": to_role}, approval)

    told = "{0.login} is {0.role}."
    return _done(data_dir, who, work, told, permit=permit, as_json=as_json)


def leave(
    who: Who,
    reason: Reason,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """See a person off: sessions, passkeys, API keys and approvals end within a second."""

    async def work(house: House, actor: str, found: OperatorView) -> Any:
        return await house.operators.accounts.leave(found.id, actor=actor, reason=reason)

    return _done(data_dir, who, work, "{0.login} has left.", as_json=as_json)


def recover(
    who: Who,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Ask for it: why the person lost every way in.")
    ] = None,
    approve: Annotated[
        bool, typer.Option("--approve", help="Be the second person, and get the new code.")
    ] = False,
    out: Out = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Let a person enroll anew: one administrator asks, another approves; then all else ends."""
    if approve == (reason is not None):
        raise typer.BadParameter("give --reason to ask, or --approve to be the second person.")
    if not approve:
        return _ask(data_dir, who, reason or "", as_json=as_json)

    async def work(house: House, actor: str) -> Any:
        accounts = house.operators.accounts
        found = await accounts.show(who)
        _, code = await accounts.recoveries.approve(found.id, actor=operator(house.settings.mode))
        return await accounts.show(found.id), code

    return _invited(data_dir, work, out, as_json=as_json)


def _ask(data_dir: Path, who: str, reason: str, *, as_json: bool) -> int:
    async def work(house: House, actor: str, found: OperatorView) -> Any:
        return await house.operators.accounts.recoveries.ask(
            found.id, actor=operator(house.settings.mode), reason=reason
        )

    told = "{0.id} waits until {0.until:%Y-%m-%d %H:%M}Z for another administrator."
    return _done(data_dir, who, work, told, as_json=as_json)


def recoveries(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List the recoveries that wait for a second person."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> Any:
        return await house.operators.accounts.recoveries.waiting()

    found = in_house(data_dir, work)
    rows = [(r.id, r.operator, r.asked_by, r.asked_at, r.reason, r.until) for r in found]
    columns = ("id", "operator", "asked by", "asked", "reason", "until")
    emit(found, lambda to: to.print(table(columns, rows)), as_json=as_json)
    return OK


def unlock(
    who: Who,
    reason: Reason,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Let a person try again before the half hour after ten failed tries is over."""

    async def work(house: House, actor: str, found: OperatorView) -> Any:
        return await house.operators.accounts.unlock(found.id, actor=actor, reason=reason)

    return _done(data_dir, who, work, "{0.login} may try again.", as_json=as_json)


def sessions(who: Who, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List a person's sessions of the last twelve hours."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> Any:
        found = await house.operators.accounts.show(who)
        return await house.operators.accounts.sessions(found.id)

    found = in_house(data_dir, work)
    rows = [(s.id, s.status, s.method, s.aal, s.started_at, s.seen_at) for s in found]
    columns = ("id", "status", "by", ">assurance", "started", "last used")
    emit(found, lambda to: to.print(table(columns, rows)), as_json=as_json)
    return OK


def end_sessions(
    who: Who,
    reason: Reason,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """End every session of a person; every process refuses them within a second."""

    async def work(house: House, actor: str, found: OperatorView) -> Any:
        await house.operators.end_sessions(found.id, actor=actor, reason=reason)
        return found

    return _done(data_dir, who, work, "Every session of {0.login} ended.", as_json=as_json)


def _done(
    data_dir: Path,
    who: str,
    work: Callable[[House, str, OperatorView], Awaitable[Any]],
    told: str,
    *,
    as_json: bool,
    permit: Permit | None = None,
) -> int:
    """Do something to one person's account and say so."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import clean, emit

    async def found(house: House, actor: str) -> Any:
        return await work(house, actor, await house.operators.accounts.show(who))

    result = in_house(data_dir, found, permit=permit)
    emit(result, lambda to: to.print(clean(told.format(result))), as_json=as_json)
    return OK

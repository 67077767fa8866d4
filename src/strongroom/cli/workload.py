"""Commands for workloads: join tokens, certificates on other hosts, who may call the API."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.command import (
    DEFAULT_DATA_DIR,
    OK,
    PUBLIC,
    AsJson,
    DataDir,
    command,
    group,
)

if TYPE_CHECKING:
    from strongroom.app import House

JOIN_MINUTES = 60
_PAGE = 100
Authority = Annotated[
    str, typer.Option("--authority", help="HOST:PORT at which the vault gives certificates.")
]
Dir = Annotated[Path, typer.Option("--dir", help="Directory of the files (mode 0600).")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    workload = group(app, "workload", "Services: their certificates, and what they may do.")
    command(workload, "workload join-token", action="workload:join")(join_token)
    command(workload, "workload join", action=PUBLIC)(join)
    command(workload, "workload renew", action=PUBLIC)(renew)
    command(workload, "workload register", action="workload:register")(register_workload)
    command(workload, "workload list", action="workload:list")(list_workloads)
    command(workload, "workload revoke", action="workload:revoke")(revoke)


def join_token(
    service: Annotated[str, typer.Argument(help="Name of the service: a-z, 0-9 and -.")],
    minutes: Annotated[
        int, typer.Option("--minutes", min=1, max=1440, help="Minutes it may wait for its use.")
    ] = JOIN_MINUTES,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the token into this new file (mode 0600).")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Make a token that gives one service its first certificate, once; it is shown once."""
    from strongroom.cli.files import write_new_private
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import print_json

    if out is not None and out.exists():
        raise typer.BadParameter(f"{out} exists already.")

    async def work(house: House, actor: str) -> Any:
        from strongroom.app.handout import joining

        return await joining(house).make_token(service, minutes=minutes, actor=actor)

    made = in_house(data_dir, work)
    if out is not None:
        write_new_private(out, made.text.reveal() + "\n")
    told = {"service": made.service, "expires_at": made.expires_at}
    if as_json:
        print_json(told if out is not None else {**told, "token": made.text.reveal()})
        return OK
    sys.stdout.write(f"{made.service}\n" if out is not None else f"{made.text.reveal()}\n")
    sys.stderr.write(f"It is good once, until {made.expires_at:%Y-%m-%d %H:%M} UTC.\n")
    return OK


def join(
    token_file: Annotated[
        Path, typer.Option("--token-file", help="File (mode 0600) with the join token.")
    ],
    authority: Authority,
    directory: Dir,
    as_json: AsJson = False,
) -> int:
    """Exchange a join token for a certificate, on any host; the token file is deleted."""
    from strongroom.app.joined import join_by_hand
    from strongroom.cli.files import secret_in

    own = join_by_hand(authority, secret_in(token_file), directory)
    token_file.unlink(missing_ok=True)
    return _tell_own(own, directory, as_json=as_json)


def renew(
    authority: Authority,
    directory: Dir,
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay, and renew at half life until stopped.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Renew a certificate by the one there is, if half of its life is over."""
    from strongroom.app.joined import keep_by_hand

    own = keep_by_hand(authority, directory, keep=keep)
    return _tell_own(own, directory, as_json=as_json)


def _tell_own(own: Any, directory: Path, *, as_json: bool) -> int:
    from strongroom.cli.show import emit

    told = {"spiffe_id": own.spiffe_id, "expires_at": own.expires_at, "dir": str(directory)}
    text = f"{own.spiffe_id} until {own.expires_at:%Y-%m-%d %H:%M:%S} UTC, in {directory}"
    emit(told, lambda to: to.print(text), as_json=as_json)
    return OK


def register_workload(
    service: Annotated[str, typer.Argument(help="Name of the service, or its SPIFFE id.")],
    owner: Annotated[str, typer.Option("--owner", help="Who answers for the service.")],
    role: Annotated[
        Literal["service-backend", "service-tokens", "service-monitor"],
        typer.Option("--role", help="What it may do."),
    ] = "service-backend",
    merchant: Annotated[
        str | None,
        typer.Option("--merchant", help="mer_… it acts for; none for service-monitor."),
    ] = None,
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", help="An action it may do, of its role's; may be repeated."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Let a service call the API on its certificate, for one merchant and in one role."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        from strongroom.identity.workloads import WorkloadSpec

        whole = service.startswith("spiffe://")
        name = service if whole else f"spiffe://{house.settings.trust_domain}/svc/{service}"
        spec = WorkloadSpec(
            spiffe_id=name,
            merchant=merchant,
            role=role,
            owner=owner,
            scopes=frozenset(scopes) if scopes else None,
        )
        return await house.workloads.register(spec, actor=actor)

    made = in_house(data_dir, work, merchant=merchant)
    emit(made, lambda to: to.print(f"{made.id}: {made.spiffe_id}"), as_json=as_json)
    return OK


def list_workloads(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List the services that may call the API, and as whom."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> list[Any]:
        found = page = await house.workloads.list_workloads(limit=_PAGE)
        while len(page) == _PAGE:
            page = await house.workloads.list_workloads(limit=_PAGE, after=page[-1].id)
            found = found + page
        return found

    found = in_house(data_dir, work)
    rows = [(w.id, w.spiffe_id, w.role, w.merchant, w.owner, w.status, w.created_at) for w in found]
    columns = ("id", "SPIFFE id", "role", "merchant", "owner", "status", "created")
    emit(found, lambda to: to.print(table(columns, rows)), as_json=as_json)
    return OK


def revoke(
    workload: Annotated[str, typer.Argument(help="wkl_… as `workload list` shows it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the journal.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """End a service's right to call the API, within a second; its certificate stays."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        return await house.workloads.revoke(workload, actor=actor, reason=reason)

    ended = in_house(data_dir, work)
    emit(ended, lambda to: to.print(f"{ended.id} is {ended.status}."), as_json=as_json)
    return OK

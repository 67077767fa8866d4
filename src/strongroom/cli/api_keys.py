"""Commands for API keys. A key's text is shown once, or written into a new file of mode 0600."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.command import (
    DEFAULT_DATA_DIR,
    FAILED,
    OK,
    AsJson,
    DataDir,
    command,
    group,
)
from strongroom.cli.four_eyes import Approval, approved

if TYPE_CHECKING:
    from strongroom.access.approvals import Parameter
    from strongroom.app import House
    from strongroom.identity import KeySpec, KeyView, Principal
    from strongroom.kernel.secret import Secret

Merchant = Annotated[
    str | None,
    typer.Option("--merchant", help="mer_… the key belongs to; none for an operator's key."),
]
Kind = Literal[
    "secret", "publishable", "restricted", "service-reveal", "operator-read", "operator-admin"
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", help="Only from here, such as 192.0.2.0/24; may be repeated."),
]
Out = Annotated[
    Path | None, typer.Option("--out", help="Write the key into this new file (mode 0600).")
]
_OVERLAP = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_UNIT = {"m": "minutes", "h": "hours", "d": "days"}
_REVEAL_SCOPES = ("token:reveal", "token:reveal_batch")
_PAGE = 100


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = group(app, "api-keys", "API keys of merchants and operators.")
    command(keys, "api-keys create", action="api_key:create")(create)
    command(keys, "api-keys list", action="api_key:list")(list_keys)
    command(keys, "api-keys rotate", action="api_key:create")(rotate)
    command(keys, "api-keys revoke", action="api_key:revoke")(revoke)
    command(keys, "api-keys report", action="api_key:list")(report)


def create(
    owner: Annotated[str, typer.Option("--owner", help="Who answers for the key.")],
    merchant: Merchant = None,
    kind: Annotated[Kind, typer.Option("--kind", help="What the key may do.")] = "secret",
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", help="An action a restricted key may do; may be repeated."),
    ] = None,
    expires_days: Annotated[
        int | None, typer.Option("--expires-days", min=1, max=3650, help="Days it is good for.")
    ] = None,
    networks: Networks = None,
    out: Out = None,
    approval: Approval = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Make an API key and show it once."""
    from strongroom.cli.installation import in_house

    if kind.startswith("operator") == (merchant is not None):
        raise typer.BadParameter("give --merchant for a merchant's key, none for an operator's.")
    _must_be_new(out)
    expires = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    spec = _spec(kind, merchant, owner, scopes, expires, tuple(networks or ()))

    async def work(house: House, actor: str) -> Any:
        return await house.identity.create_key(spec, actor=actor)

    permit = approved(
        "api_key:create",
        merchant=merchant,
        resource="api_key",
        parameters=_described(spec, expires_days),
        context={"role": spec.role},
        approval=approval,
    )
    view, secret = in_house(data_dir, work, merchant=merchant, permit=permit)
    _hand_out(view, secret, out, as_json=as_json)
    return OK


def _described(spec: KeySpec, expires_days: int | None) -> dict[str, Parameter]:
    """Return the key as whoever approves it sees it."""
    told: dict[str, Parameter] = {
        "kind": spec.kind.value,
        "role": spec.role,
        "owner": spec.owner,
    }
    if spec.scopes is not None:
        told["scopes"] = sorted(spec.scopes)
    if expires_days is not None:
        told["expires_days"] = expires_days
    return told


def _spec(
    kind: Kind,
    merchant: str | None,
    owner: str,
    scopes: list[str] | None,
    expires_at: datetime | None,
    networks: tuple[str, ...],
) -> KeySpec:
    from strongroom.identity import KeyKind, KeySpec

    kinds = {"secret": KeyKind.SECRET, "publishable": KeyKind.PUBLISHABLE}
    roles = {"secret": "merchant-backend", "publishable": "merchant-publishable"}
    own = kind.startswith("operator") or kind == "service-reveal"
    role = kind if own else roles.get(kind, "merchant-backend")
    if kind == "service-reveal" and not scopes:
        scopes = list(_REVEAL_SCOPES)
    return KeySpec(
        merchant=merchant,
        kind=kinds.get(kind, KeyKind.RESTRICTED),
        role=role,
        owner=owner,
        scopes=frozenset(scopes) if scopes else None,
        expires_at=expires_at,
        networks=networks,
    )


def _must_be_new(out: Path | None) -> None:
    if out is not None and out.exists():
        raise typer.BadParameter(f"{out} exists already.")


def _hand_out(view: KeyView, secret: Secret[str], out: Path | None, *, as_json: bool) -> None:
    """Give the key to the person who asked; it cannot be shown again."""
    import msgspec

    from strongroom.cli.files import write_new_private
    from strongroom.cli.show import print_json

    if out is not None:
        write_new_private(out, secret.reveal() + "\n")
    if as_json:
        told = msgspec.to_builtins(view)
        print_json(told if out is not None else {**told, "key": secret.reveal()})
        return
    sys.stdout.write(f"{view.id}\n" if out is not None else f"{view.id}\n{secret.reveal()}\n")
    sys.stderr.write("The key is not kept anywhere and cannot be shown again.\n")


def list_keys(
    merchant: Merchant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """List API keys: of a merchant, or the operators' own."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> list[Any]:
        found = page = await house.identity.list_keys(merchant, limit=_PAGE)
        while len(page) == _PAGE:
            page = await house.identity.list_keys(merchant, limit=_PAGE, after=page[-1].id)
            found = found + page
        return found

    found = in_house(data_dir, work, merchant=merchant)
    rows = [
        (k.id, k.hint, k.role, k.owner, k.status, k.created_at, k.expires_at, k.last_used_at)
        for k in found
    ]
    columns = ("id", "begins", "role", "owner", "status", "created", "expires", "last used")
    emit(found, lambda to: to.print(table(columns, rows)), as_json=as_json)
    return OK


def rotate(
    key_id: Annotated[str, typer.Argument(help="key_… as `api-keys list` shows it.")],
    overlap: Annotated[
        str, typer.Option("--overlap", help="How long both keys work: 30m, 24h, 7d.")
    ] = "24h",
    merchant: Merchant = None,
    out: Out = None,
    approval: Approval = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Make an API key's successor; both work until the overlap ends."""
    from strongroom.cli.installation import in_house

    _must_be_new(out)
    length = _overlap(overlap)

    async def work(house: House, actor: str) -> Any:
        return await house.identity.keys.rotate(merchant, key_id, overlap=length, actor=actor)

    async def permit(house: House, who: Principal) -> None:
        found = await _found(house, merchant, key_id)
        pass_on = approved(
            "api_key:create",
            merchant=merchant,
            resource=key_id,
            parameters={"kind": found.kind.value, "role": found.role, "owner": found.owner},
            context={"role": found.role},
            approval=approval,
        )
        await pass_on(house, who)

    rotated = in_house(data_dir, work, merchant=merchant, permit=permit)
    _hand_out(rotated.successor, rotated.secret, out, as_json=as_json)
    ends = rotated.former.expires_at
    sys.stderr.write(f"{key_id} works until {ends:%Y-%m-%dT%H:%M:%SZ}.\n")
    return OK


async def _found(house: House, merchant: str | None, key_id: str) -> KeyView:
    """Return the key that is named, whose successor may do the same."""
    from strongroom.kernel.errors import StrongroomError

    page = await house.identity.list_keys(merchant, limit=_PAGE)
    while page:
        for key in page:
            if key.id == key_id:
                return key
        page = await house.identity.list_keys(merchant, limit=_PAGE, after=page[-1].id)
    raise StrongroomError("api_key_not_found", "There is no such API key.")


def _overlap(text: str) -> timedelta:
    found = _OVERLAP.fullmatch(text)
    if found is None:
        raise typer.BadParameter("the overlap is a number and m, h or d, such as 24h.")
    return timedelta(**{_UNIT[found[2]]: int(found[1])})


def report(
    older_than: Annotated[
        int | None,
        typer.Option("--older-than-days", min=1, help="Warn of keys that are older."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Show the age and idle time of every living key; exit 1 on warnings."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> list[Any]:
        return list(await house.identity.keys.report(older_than_days=older_than))

    found = in_house(data_dir, work)
    rows = [
        (k.id, k.merchant, k.role, k.owner, k.age_days, k.idle_days, "; ".join(k.warnings))
        for k in found
    ]
    columns = ("id", "merchant", "role", "owner", ">age (days)", ">idle (days)", "to do")
    emit(found, lambda to: to.print(table(columns, rows)), as_json=as_json)
    return FAILED if any(key.warnings for key in found) else OK


def revoke(
    key_id: Annotated[str, typer.Argument(help="key_… as `api-keys list` shows it.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the journal.")],
    merchant: Merchant = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Revoke an API key; every process refuses it within a second."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        return await house.identity.revoke_key(merchant, key_id, actor=actor, reason=reason)

    view = in_house(data_dir, work, merchant=merchant)
    emit(view, lambda to: to.print(f"{view.id} is {view.status}."), as_json=as_json)
    return OK

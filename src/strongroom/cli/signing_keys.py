"""Commands for the public keys under which merchants sign their requests."""

from __future__ import annotations

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.command import DEFAULT_DATA_DIR, OK, AsJson, DataDir, command, group
from strongroom.cli.four_eyes import Approval, approved

if TYPE_CHECKING:
    from strongroom.access.approvals import Parameter
    from strongroom.app import House
    from strongroom.identity.signatures import SigningKeySpec

Merchant = Annotated[str, typer.Option("--merchant", help="mer_… the key belongs to.")]
_PAGE = 100
_FILE_MAX = 4_096


def register(app: typer.Typer) -> None:
    """Add the commands."""
    keys = group(app, "signing-keys", "Public keys of merchants for signed requests.")
    command(keys, "signing-keys add", action="signing_key:add")(add)
    command(keys, "signing-keys list", action="signing_key:list")(list_keys)
    command(keys, "signing-keys revoke", action="signing_key:revoke")(revoke)


def add(
    file: Annotated[Path, typer.Argument(help="The Ed25519 public key, in PEM or base64.")],
    merchant: Merchant,
    owner: Annotated[str, typer.Option("--owner", help="Who answers for the key.")],
    role: Annotated[
        Literal["merchant-backend", "service-reveal"],
        typer.Option("--role", help="What the key may do."),
    ] = "merchant-backend",
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", help="Only this action; may be repeated."),
    ] = None,
    networks: Annotated[
        list[str] | None,
        typer.Option("--network", help="Only from here, such as 192.0.2.0/24; may be repeated."),
    ] = None,
    expires_days: Annotated[
        int | None, typer.Option("--expires-days", min=1, max=3650, help="Days it is good for.")
    ] = None,
    approval: Approval = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Register a merchant's public key for signed requests."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit
    from strongroom.identity.signatures import SigningKeySpec

    expires = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    spec = SigningKeySpec(
        merchant=merchant,
        public_key=_public_key(file),
        owner=owner,
        role=role,
        scopes=frozenset(scopes) if scopes else None,
        networks=tuple(networks or ()),
        expires_at=expires,
    )

    async def work(house: House, actor: str) -> Any:
        return await house.signed.keys.add(spec, actor=actor)

    permit = approved(
        "signing_key:add",
        merchant=merchant,
        resource="signing_key",
        parameters=_described(spec, expires_days),
        context={"role": role},
        approval=approval,
    )
    made = in_house(data_dir, work, merchant=merchant, permit=permit)
    emit(made, lambda to: to.print(made.id), as_json=as_json)
    return OK


def _described(spec: SigningKeySpec, expires_days: int | None) -> dict[str, Parameter]:
    """Return the key as whoever approves it sees it."""
    told: dict[str, Parameter] = {
        "role": spec.role,
        "owner": spec.owner,
        "public_key": b64encode(spec.public_key).decode(),
    }
    if spec.scopes is not None:
        told["scopes"] = sorted(spec.scopes)
    if expires_days is not None:
        told["expires_days"] = expires_days
    return told


def list_keys(
    merchant: Merchant,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """List a merchant's public keys for signed requests."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> list[Any]:
        keys = house.signed.keys
        found = page = await keys.listed(merchant, limit=_PAGE)
        while len(page) == _PAGE:
            page = await keys.listed(merchant, limit=_PAGE, after=page[-1].id)
            found = found + page
        return list(found)

    found = in_house(data_dir, work, merchant=merchant)
    rows = [
        (k.id, k.fingerprint[:16], k.role, k.owner, k.status, k.expires_at, k.last_used_at)
        for k in found
    ]
    columns = ("id", "fingerprint", "role", "owner", "status", "expires", "last used")
    emit(found, lambda to: to.print(table(columns, rows)), as_json=as_json)
    return OK


def revoke(
    key_id: Annotated[str, typer.Argument(help="sig_… as `signing-keys list` shows it.")],
    merchant: Merchant,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the journal.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Revoke a public key for signed requests; every process refuses it within a second."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        return await house.signed.keys.revoke(merchant, key_id, actor=actor, reason=reason)

    view = in_house(data_dir, work, merchant=merchant)
    emit(view, lambda to: to.print(f"{view.id} is {view.status}."), as_json=as_json)
    return OK


def _public_key(file: Path) -> bytes:
    from strongroom.keys.verifying import read_ed25519

    try:
        with file.open("rb") as opened:
            text = opened.read(_FILE_MAX).decode("ascii")
    except (OSError, UnicodeDecodeError):
        raise typer.BadParameter(f"{file} cannot be read as text.") from None
    found = read_ed25519(text)
    if found is None:
        raise typer.BadParameter(f"{file} holds no Ed25519 public key in PEM or base64.")
    return found

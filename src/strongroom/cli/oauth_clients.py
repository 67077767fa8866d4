"""Commands for OAuth clients of merchants. Only public keys are read; no secret exists here."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.command import (
    DEFAULT_DATA_DIR,
    OK,
    AsJson,
    DataDir,
    command,
    group,
)
from strongroom.cli.four_eyes import Approval, approved
from strongroom.kernel.edge_limits import (
    OAUTH_CLIENT_DAYS_MAX,
    OAUTH_CLIENT_JWKS_MAX_BYTES,
    OAUTH_KEY_OVERLAP_DAYS_MAX,
)

if TYPE_CHECKING:
    from strongroom.access.approvals import Parameter
    from strongroom.app import House
    from strongroom.cli.installation import Permit
    from strongroom.identity import Principal
    from strongroom.identity.oauth import ClientView

Merchant = Annotated[str, typer.Option("--merchant", help="mer_… whose service the client is.")]
ClientId = Annotated[str, typer.Argument(help="ocl_… as `oauth-clients list` shows it.")]
Jwks = Annotated[
    Path,
    typer.Option(
        "--jwks",
        exists=True,
        dir_okay=False,
        help="File with the public keys as a JWKS (RFC 7517).",
    ),
]
_PAGE = 100


def register(app: typer.Typer) -> None:
    """Add the commands."""
    clients = group(app, "oauth-clients", "OAuth clients: merchants' services with access tokens.")
    command(clients, "oauth-clients add", action="oauth_client:create")(add)
    command(clients, "oauth-clients list", action="oauth_client:list")(list_clients)
    command(clients, "oauth-clients rotate-key", action="oauth_client:rotate_key")(rotate_key)
    command(clients, "oauth-clients revoke", action="oauth_client:revoke")(revoke)


def add(
    merchant: Merchant,
    owner: Annotated[str, typer.Option("--owner", help="Who answers for the client.")],
    jwks: Jwks,
    scopes: Annotated[
        list[str], typer.Option("--scope", help="An action that it may do; may be repeated.")
    ],
    role: Annotated[
        Literal["merchant-backend", "service-reveal"],
        typer.Option("--role", help="What the client is."),
    ] = "merchant-backend",
    binding: Annotated[
        Literal["any", "dpop", "mtls"],
        typer.Option("--binding", help="What its tokens may be bound to."),
    ] = "any",
    expires_days: Annotated[
        int | None,
        typer.Option(
            "--expires-days", min=1, max=OAUTH_CLIENT_DAYS_MAX, help="Days it is good for."
        ),
    ] = None,
    approval: Approval = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Register an OAuth client with its public keys."""
    from strongroom.identity.oauth import ClientSpec

    expires = None if expires_days is None else datetime.now(UTC) + timedelta(days=expires_days)
    spec = ClientSpec(
        merchant=merchant,
        role=role,
        scopes=frozenset(scopes),
        owner=owner,
        jwks=_read(jwks),
        binding=binding,
        expires_at=expires,
    )

    async def work(house: House, actor: str) -> Any:
        return await house.oauth.clients.add(spec, actor=actor)

    described: dict[str, Parameter] = {
        "role": role,
        "owner": owner,
        "jwks_sha256": _digest(spec.jwks),
        "scopes": sorted(spec.scopes),
        "binding": binding,
    }
    if expires_days is not None:
        described["expires_days"] = expires_days
    permit = approved(
        "oauth_client:create",
        merchant=merchant,
        resource="oauth_client",
        parameters=described,
        context={"role": role},
        approval=approval,
    )
    return _told(data_dir, work, merchant, permit=permit, as_json=as_json)


def list_clients(
    merchant: Merchant, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False
) -> int:
    """List a merchant's OAuth clients."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> list[ClientView]:
        clients = house.oauth.clients
        found = page = await clients.listed(merchant, limit=_PAGE)
        while len(page) == _PAGE:
            page = await clients.listed(merchant, limit=_PAGE, after=page[-1].id)
            found = found + page
        return found

    found = in_house(data_dir, work, merchant=merchant)
    rows = [
        (c.id, c.role, " ".join(c.scopes), c.binding, c.owner, c.status, c.expires_at,
         c.last_token_at)
        for c in found
    ]  # fmt: skip
    columns = ("id", "role", "scopes", "binding", "owner", "status", "expires", "last token")
    emit(found, lambda to: to.print(table(columns, rows)), as_json=as_json)
    return OK


def rotate_key(
    client: ClientId,
    merchant: Merchant,
    jwks: Jwks,
    overlap_hours: Annotated[
        int,
        typer.Option(
            "--overlap-hours",
            min=0,
            max=24 * OAUTH_KEY_OVERLAP_DAYS_MAX,
            help="How long the former keys stay good; 0 ends them at once.",
        ),
    ] = 24,
    approval: Approval = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Give an OAuth client new keys; the former ones end after the overlap."""
    document, overlap = _read(jwks), timedelta(hours=overlap_hours)

    async def work(house: House, actor: str) -> Any:
        return await house.oauth.clients.rotate_key(
            merchant, client, document, overlap=overlap, actor=actor
        )

    async def permit(house: House, who: Principal) -> None:
        found = await house.oauth.clients.show(merchant, client)
        pass_on = approved(
            "oauth_client:rotate_key",
            merchant=merchant,
            resource=client,
            parameters={"role": found.role, "jwks_sha256": _digest(document)},
            context={"role": found.role},
            approval=approval,
        )
        await pass_on(house, who)

    return _told(data_dir, work, merchant, permit=permit, as_json=as_json)


def revoke(
    client: ClientId,
    merchant: Merchant,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the journal.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Revoke an OAuth client and all its tokens; every process refuses them within a second."""

    async def work(house: House, actor: str) -> Any:
        return await house.oauth.clients.revoke(merchant, client, actor=actor, reason=reason)

    return _told(data_dir, work, merchant, as_json=as_json)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(OAUTH_CLIENT_JWKS_MAX_BYTES + 1)


def _digest(jwks: bytes) -> str:
    """Return what whoever approves compares the file with: its SHA-256, in base64."""
    return b64encode(hashlib.sha256(jwks).digest()).decode()


def _told(
    data_dir: Path, work: Any, merchant: str, *, as_json: bool, permit: Permit | None = None
) -> int:
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    view: ClientView = in_house(data_dir, work, merchant=merchant, permit=permit)
    names = ", ".join(key.kid for key in view.keys)
    emit(view, lambda to: to.print(f"{view.id} is {view.status}; keys: {names}"), as_json=as_json)
    return OK

"""Commands for certificates of services: issue, list, revoke, the authority, and handing out."""

from __future__ import annotations

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

if TYPE_CHECKING:
    from strongroom.app import House

DAYS_MAX = 90
OVERLAP_S = 60
Out = Annotated[Path, typer.Option("--out", help="Directory for the files (mode 0600).")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    certificates = group(app, "certificates", "Certificates of services and their authority.")
    command(certificates, "certificates issue", action="certificate:issue")(issue)
    command(certificates, "certificates list", action="certificate:list")(list_certificates)
    command(certificates, "certificates revoke", action="certificate:revoke")(revoke)
    command(certificates, "certificates rotate-authority", action="certificate:rotate")(
        rotate_authority
    )
    command(certificates, "certificates hand-out", action="certificate:issue")(hand_out)


def issue(
    role: Annotated[
        Literal["vault", "api", "worker"], typer.Option("--role", help="Whose certificate.")
    ],
    out: Out,
    days: Annotated[
        int, typer.Option("--days", min=1, max=DAYS_MAX, help="Days it is good for; 90 at most.")
    ] = DAYS_MAX,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Issue a certificate for days with a fresh key, for where nothing can renew it by itself."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        from strongroom.app.handout import write_certificate

        issued = await house.keyring.certificates().issue(role, days=days, actor=actor)
        return issued, write_certificate(issued, role, out)

    issued, files = in_house(data_dir, work)
    told = {
        "spiffe_id": issued.spiffe_id,
        "serial": issued.serial,
        "expires_at": issued.expires_at,
        "files": [str(file) for file in files],
    }
    text = f"{issued.spiffe_id} until {issued.expires_at:%Y-%m-%d %H:%M} UTC, in {out}"
    emit(told, lambda to: to.print(text), as_json=as_json)
    return OK


def list_certificates(
    ended: Annotated[
        bool, typer.Option("--all", help="Expired and revoked ones of the last 90 days, too.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """List the certificates that are good and until when, the authorities first."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> Any:
        certificates = house.keyring.certificates()
        await certificates.authority()
        return await certificates.inventory(ended=ended)

    found = in_house(data_dir, work)
    rows = [(c.role, c.spiffe_id, c.serial, c.expires_at, c.revoked_at, c.issued_by) for c in found]
    columns = ("service", "SPIFFE id", "serial", "expires", "revoked", "issued by")
    emit(found, lambda to: to.print(table(columns, rows)), as_json=as_json)
    return OK


def revoke(
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the journal.")],
    serial: Annotated[
        str | None, typer.Option("--serial", help="One certificate and what was renewed from it.")
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", help="All certificates and join tokens of a service.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Revoke certificates; vault and API refuse them within a second, and none is renewed."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    if (serial is None) == (service is None):
        raise typer.BadParameter("give --serial or --service.")

    async def work(house: House, actor: str) -> Any:
        certificates = house.keyring.certificates()
        if serial is not None:
            return await certificates.revoke(serial, actor=actor, reason=reason)
        return await certificates.revoke_service(service or "", actor=actor, reason=reason)

    ended = in_house(data_dir, work)
    lines = [f"{one.spiffe_id} {one.serial} is revoked" for one in ended]
    text = "\n".join(lines) or f"{service} had no good certificate; nothing else of it is good now."
    emit(ended, lambda to: to.print(text), as_json=as_json)
    return OK


def rotate_authority(
    overlap_s: Annotated[
        int,
        typer.Option(
            "--overlap-s", min=2, max=86_400, help="Seconds it is trusted before it signs."
        ),
    ] = OVERLAP_S,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Make a new authority; the old one stays trusted while a certificate of it is good."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        certificates = house.keyring.certificates()
        return await certificates.rotate_authority(actor=actor, overlap_s=overlap_s)

    made = in_house(data_dir, work)
    told = f"Authority {made.serial} is trusted now and signs from {made.signs_from:%H:%M:%S} UTC."
    emit(made, lambda to: to.print(told), as_json=as_json)
    return OK


def hand_out(
    role: Annotated[
        Literal["api", "worker"], typer.Option("--role", help="Which process it is for.")
    ],
    vault: Annotated[
        str, typer.Option("--vault", help="HOST:PORT at which that process reaches the vault.")
    ],
    out: Out,
    authority: Annotated[
        str | None,
        typer.Option("--authority", help="HOST:PORT of certificates; port 7444 of the vault."),
    ] = None,
    minutes: Annotated[
        int, typer.Option("--minutes", min=1, max=1440, help="Minutes its token may wait.")
    ] = 1440,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Write the data directory of an API or worker process: it holds nothing that opens a card."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    asked_at = authority or f"{vault.rpartition(':')[0]}:7444"

    async def work(house: House, actor: str) -> Any:
        from strongroom.app.handout import hand_out as write

        return await write(
            house, role, out, vault=vault, authority=asked_at, actor=actor, minutes=minutes
        )

    token = in_house(data_dir, work)
    told = {
        "service": token.service,
        "authority": asked_at,
        "token_expires_at": token.expires_at,
        "data_dir": str(out),
    }
    text = f"Start {role} with {out} before {token.expires_at:%Y-%m-%d %H:%M} UTC."
    emit(told, lambda to: to.print(text), as_json=as_json)
    return OK

"""Commands for the certificates of this installation's processes, and what each role is given."""

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
Days = Annotated[
    int, typer.Option("--days", min=1, max=DAYS_MAX, help="Days it is good for; 90 at most.")
]
Out = Annotated[Path, typer.Option("--out", help="Directory for the files (mode 0600).")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    certificates = group(app, "certificates", "Certificates of vault, API and worker processes.")
    command(certificates, "certificates issue", action="certificate:issue")(issue)
    command(certificates, "certificates list", action="certificate:list")(list_certificates)
    command(certificates, "certificates hand-out", action="certificate:issue")(hand_out)


def issue(
    role: Annotated[
        Literal["vault", "api", "worker"], typer.Option("--role", help="Whose certificate.")
    ],
    out: Out,
    days: Days = DAYS_MAX,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Issue a certificate with a fresh key to a role of process; the key is kept nowhere else."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        from strongroom.app.handout import certificates, write_certificate

        issued = await (await certificates(house)).issue(role, days=days, actor=actor)
        return issued, write_certificate(issued, role, out)

    issued, files = in_house(data_dir, work)
    told = {
        "spiffe_id": issued.spiffe_id,
        "serial": issued.serial,
        "expires_at": issued.expires_at,
        "files": [str(file) for file in files],
    }
    emit(told, lambda to: to.print(_told(issued, out)), as_json=as_json)
    return OK


def list_certificates(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List what was issued to which role and until when, the authority first."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> Any:
        from strongroom.app.handout import certificates

        return await (await certificates(house)).inventory()

    found = in_house(data_dir, work)
    rows = [(c.role, c.spiffe_id, c.algorithm, c.expires_at, c.issued_by) for c in found]
    columns = ("role", "SPIFFE id", "algorithm", "expires", "issued by")
    emit(found, lambda to: to.print(table(columns, rows)), as_json=as_json)
    return OK


def hand_out(
    role: Annotated[
        Literal["api", "worker"], typer.Option("--role", help="Which process it is for.")
    ],
    vault: Annotated[
        str, typer.Option("--vault", help="HOST:PORT at which that process reaches the vault.")
    ],
    out: Out,
    days: Days = DAYS_MAX,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Write the data directory of an API or worker process: it holds nothing that opens a card."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        from strongroom.app.handout import hand_out as write

        return await write(house, role, out, vault=vault, actor=actor, days=days)

    issued = in_house(data_dir, work)
    told = {
        "spiffe_id": issued.spiffe_id,
        "expires_at": issued.expires_at,
        "data_dir": str(out),
    }
    emit(told, lambda to: to.print(_told(issued, out)), as_json=as_json)
    return OK


def _told(issued: Any, out: Path) -> str:
    return f"{issued.spiffe_id} until {issued.expires_at:%Y-%m-%d %H:%M} UTC, in {out}"

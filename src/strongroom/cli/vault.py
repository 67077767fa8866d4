"""Commands at the vault: bulk grants, cards of another vault by file, the legacy export.

Each needs what two custodians approved; without it a command says exactly what to ask them for.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.command import DEFAULT_DATA_DIR, FAILED, OK, AsJson, DataDir, command, group
from strongroom.cli.four_eyes import by_custodians

if TYPE_CHECKING:
    from strongroom.app import House
    from strongroom.vault import VaultDesk

Merchant = Annotated[str, typer.Option("--merchant", help="mer_… whose cards are meant.")]
Approval = Annotated[
    str | None, typer.Option("--approval", help="apr_… that two custodians approved for this.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    vault = group(app, "vault", "Card numbers in bulk, under dual control.")
    command(vault, "vault grant-reveal", action="token:grant")(grant_reveal)
    command(vault, "vault grants", action="token:grant")(grants)
    command(vault, "vault import", action="token:import")(import_cards)
    command(vault, "vault export-ff1", action="token:export")(export_ff1)


def grant_reveal(
    merchant: Merchant,
    principal: Annotated[
        str, typer.Option("--principal", help="Who may then see them, such as key_….")
    ],
    purpose: Annotated[str, typer.Option("--purpose", help="What for, as the caller will say.")],
    count: Annotated[int, typer.Option("--count", min=1, help="How many card numbers.")],
    until: Annotated[
        datetime,
        typer.Option("--until", formats=["%Y-%m-%dT%H:%M:%SZ"], help="UTC, within seven days."),
    ],
    approval: Approval = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Let a caller see more card numbers than an hour allows, once they are spent no more."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Any:
        return await _desk(house).grants.open(
            merchant,
            principal=principal,
            purpose=purpose,
            count=count,
            until=until.replace(tzinfo=UTC),
            approval=approval,
            actor=actor,
        )

    permit = by_custodians("token:grant", merchant=merchant, approval=approval)
    made = in_house(data_dir, work, merchant=merchant, permit=permit)
    text = f"{made.id}: {made.principal} may see {made.granted} card numbers until {until:%FT%TZ}."
    emit(made, lambda out: out.print(text), as_json=as_json)
    return OK


def grants(
    merchant: Merchant,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """List a merchant's bulk grants and what is left of them, the newest first."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> Any:
        return await _desk(house).grants.list(merchant)

    found = in_house(data_dir, work, merchant=merchant)
    rows = [
        (g.id, g.principal, g.purpose, g.granted, g.remaining, g.valid_until, g.created_by)
        for g in found
    ]
    columns = ("id", "principal", "purpose", ">granted", ">left", "until", "by")
    emit(found, lambda out: out.print(table(columns, rows)), as_json=as_json)
    return OK


def import_cards(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Cards, mode 0600.")],
    merchant: Merchant,
    tokens: Annotated[
        Path, typer.Option("--out", help="Write external_id,token into this new file (mode 0600).")
    ],
    rejects: Annotated[
        Path, typer.Option("--rejects", help="Write refused lines into this new file (mode 0600).")
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Names the import, to go on with it; the file's name."),
    ] = None,
    format: Annotated[
        Literal["csv", "jsonl"] | None,
        typer.Option("--format", help="What FILE is; its ending says if not given."),
    ] = None,
    approval: Approval = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Bring in the cards of another vault; run it again to go on. Exit 1 if lines were refused."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, progress
    from strongroom.vault import ImportFiles

    kind = format or ("jsonl" if source.suffix in (".jsonl", ".ndjson") else "csv")
    files = ImportFiles(source=source, format=kind, tokens=tokens, rejects=rejects)

    with progress("Importing cards", quiet=as_json) as tell:

        async def work(house: House, actor: str) -> Any:
            return await _desk(house).imports.run(
                merchant,
                name or source.name,
                files,
                actor=actor,
                approval=approval,
                tell=lambda done, size: tell("bytes", done, size),
            )

        done = in_house(data_dir, work, merchant=merchant)
    told = {
        "name": done.name,
        "imported": done.imported,
        "rejected": done.rejected,
        "tokens": str(tokens),
        "rejects": str(rejects),
    }
    lines = [
        f"{done.imported} cards are in; their tokens are in {tokens}.",
        f"{done.rejected} lines were refused; {rejects} says why.",
        f"Now destroy {source}: it holds card numbers in clear.",
    ]
    emit(told, lambda out: out.print("\n".join(lines), soft_wrap=True), as_json=as_json)
    return FAILED if done.rejected else OK


def export_ff1(
    merchant: Merchant,
    out: Annotated[Path, typer.Option("--out", help="Write token,ff1 into this new file.")],
    approval: Approval = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Write a merchant's saved cards as digits that FF1 made; the file stays in PCI DSS scope."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, progress

    with progress("Exporting", quiet=as_json) as tell:

        async def work(house: House, actor: str) -> Any:
            return await _desk(house).exporter.run(
                merchant,
                out,
                actor=actor,
                approval=approval,
                tell=lambda done, total: tell("cards", done, total),
            )

        permit = by_custodians("token:export", merchant=merchant, approval=approval)
        count = in_house(data_dir, work, merchant=merchant, permit=permit)
    text = f"{count} cards are in {out}. Treat it like card numbers."
    emit({"cards": count, "out": str(out)}, lambda to: to.print(text), as_json=as_json)
    return OK


def _desk(house: House) -> VaultDesk:
    from strongroom.vault import VaultDesk

    return VaultDesk(
        house.vault_database,
        house.vault_committer,
        house.keyring,
        clock=house.clock,
        ff1_export=house.settings.ff1_export,
    )

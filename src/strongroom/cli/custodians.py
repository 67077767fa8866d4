"""Commands for key custodians: `create` on the custodian's own machine, the rest at the service."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.cli.command import DEFAULT_DATA_DIR, OK, PUBLIC, AsJson, DataDir, command, group

if TYPE_CHECKING:
    from strongroom.app import House
    from strongroom.kernel.secret import Secret
    from strongroom.keys.dual_control import Card, Custodian, CustodianKey

KeyFile = Annotated[
    Path, typer.Option("--key-file", help="The custodian's sealed key file (mode 0600).")
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", help="File (mode 0600) with its passphrase; asked for if not given."
    ),
]
ApprovalId = Annotated[
    str | None, typer.Option("--approval", help="apr_… that permits it, where one is needed.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    custodian = group(app, "custodian", "People who hold key shares and approve together.")
    command(custodian, "custodian create", action=PUBLIC)(create)
    command(custodian, "custodian enroll", action="custodian:enroll")(enroll)
    command(custodian, "custodian list", action="custodian:list")(list_custodians)
    command(custodian, "custodian revoke", action="custodian:revoke")(revoke)


def create(
    name: Annotated[str, typer.Option("--name", help="The person's name as operator: a-z, 0-9.")],
    key_file: KeyFile,
    passphrase_file: PassphraseFile = None,
    acknowledge: Annotated[
        bool,
        typer.Option("--acknowledge", help="Sign the custodian's duties without being asked."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Make a custodian's keys on this machine; only the public file next to them is handed on."""
    from strongroom.cli.files import write_new_private
    from strongroom.cli.show import emit, print_json
    from strongroom.keys.dual_control import ACKNOWLEDGEMENT, CustodianKey

    public = key_file.with_name(key_file.name + ".pub")
    if public.exists():
        raise typer.BadParameter(f"{public} exists already.")
    if not acknowledge:
        typer.echo(ACKNOWLEDGEMENT, err=True)
        typer.confirm("Do you sign this?", abort=True, err=True)
    secret = passphrase(passphrase_file, new=True)
    key = CustodianKey.create(key_file, name=name, passphrase=secret, at=datetime.now(UTC))
    write_new_private(public, _as_text(key.card))
    if as_json:
        print_json({**_view_card(key.card), "public_file": str(public)})
        return OK
    emit(
        None,
        lambda out: out.print(
            f"{key.card.custodian} {name}\nKeep {key_file} and its passphrase to yourself.\n"
            f"Hand on {public}: it is public.",
            soft_wrap=True,
        ),
        as_json=False,
    )
    return OK


def enroll(
    card_file: Annotated[Path, typer.Argument(metavar="FILE", help="The custodian's .pub file.")],
    approval: ApprovalId = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Enroll a custodian; compare the key's fingerprint with the person's own screen first."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit
    from strongroom.keys.dual_control import read_card

    card = read_card(card_file)

    async def work(house: House, actor: str) -> Any:
        return await house.keyring.dual_control.enroll(card, actor=actor, approval=approval)

    made = in_house(data_dir, work)
    emit(
        view(made),
        lambda out: out.print(f"{made.id} {made.name} is enrolled.", soft_wrap=True),
        as_json=as_json,
    )
    return OK


def list_custodians(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List custodians, past ones too."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> list[Custodian]:
        return await house.keyring.dual_control.custodians()

    found = in_house(data_dir, work)
    rows = [(c.id, c.name, c.enrolled_at, c.enrolled_by, c.revoked_at) for c in found]
    columns = ("id", "name", "enrolled", "by", "revoked")
    emit([view(c) for c in found], lambda out: out.print(table(columns, rows)), as_json=as_json)
    return OK


def revoke(
    custodian: Annotated[str, typer.Argument(help="cus_… or name.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the journal.")],
    approval: ApprovalId = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """End a custodian's part in approvals; make the root's shares anew afterwards."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> None:
        await house.keyring.dual_control.revoke(
            custodian, actor=actor, reason=reason, approval=approval
        )

    in_house(data_dir, work)
    emit(
        {"revoked": custodian},
        lambda out: out.print(f"{custodian} is revoked.", soft_wrap=True),
        as_json=as_json,
    )
    return OK


def open_key(key_file: Path, passphrase_file: Path | None) -> CustodianKey:
    """Open a custodian's key with the passphrase from a file or the terminal."""
    from strongroom.keys import harden_process
    from strongroom.keys.dual_control import CustodianKey

    harden_process()
    return CustodianKey.open_file(key_file, passphrase=passphrase(passphrase_file))


def passphrase(file: Path | None, *, new: bool = False) -> Secret[str]:
    """Return a passphrase from a 0600 file, or ask for it without showing it."""
    from strongroom.cli.files import secret_in
    from strongroom.kernel.secret import Secret

    if file is not None:
        return secret_in(file, spaces=True)
    asked = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=new, err=True)
    return Secret(str(asked))


def view(custodian: Custodian) -> dict[str, object]:
    """Return a custodian as JSON shows it."""
    return {
        "id": custodian.id,
        "name": custodian.name,
        "signing_key": custodian.signing_key.hex(),
        "exchange_key": custodian.exchange_key.hex(),
        "acknowledged_at": custodian.acknowledged_at,
        "enrolled_at": custodian.enrolled_at,
        "enrolled_by": custodian.enrolled_by,
        "revoked_at": custodian.revoked_at,
    }


def _view_card(card: Card) -> dict[str, object]:
    return {"custodian": card.custodian, "name": card.name, "signing_key": card.signing_key}


def _as_text(card: Card) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(card), indent=2).decode() + "\n"

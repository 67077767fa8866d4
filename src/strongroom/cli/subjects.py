"""Commands for data subjects: destroy a person's cards, check a receipt, replay the ledger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.cli.command import DEFAULT_DATA_DIR, OK, PUBLIC, AsJson, DataDir, command, group
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret

if TYPE_CHECKING:
    from strongroom.app import House

_RECEIPT_BYTES_MAX = 65_536


def register(app: typer.Typer) -> None:
    """Add the commands."""
    subjects = group(app, "subjects", "People whose cards are in the vault.")
    command(subjects, "subjects shred", action="data_subject:erase")(shred)
    command(subjects, "subjects verify-receipt", action=PUBLIC)(verify_receipt)
    command(subjects, "subjects key", action="key:list")(key)
    command(subjects, "subjects replay", action="system:restore")(replay)


def shred(
    file: Annotated[
        Path,
        typer.Argument(help="File (mode 0600) with your reference of the person; - reads stdin."),
    ],
    merchant: Annotated[str, typer.Option("--merchant", help="Whose customer it is (mer_…).")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the receipt.")],
    force: Annotated[
        bool, typer.Option("--force", help="Although payments still wait for a card.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the receipt into this new file (0600).")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Destroy a person's keys and cards for good; the signed receipt proves it."""
    from strongroom.cli.files import write_new_private
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    if out is not None and out.exists():
        raise typer.BadParameter(f"{out} exists already.")
    person = _reference(file)

    async def work(house: House, actor: str) -> Any:
        if not force:
            tokens = await house.vault.subject_tokens(merchant, person)
            if await house.payments.waiting_for(merchant, tokens):
                raise StrongroomError(
                    "data_subject_in_use",
                    "A payment still waits for one of the cards. End it first, or give --force.",
                )
        return await house.vault.erase_subject(merchant, person, reason=reason, actor=actor)

    told = in_house(data_dir, work, merchant=merchant)
    if out is not None:
        import msgspec

        write_new_private(out, msgspec.json.encode(told).decode() + "\n")
    receipt = told.receipt
    line = f"{receipt['subject']}: {receipt['cards_removed']} cards and their keys are destroyed."
    emit(told, lambda to: to.print(line, soft_wrap=True), as_json=as_json)
    return OK


def verify_receipt(
    file: Annotated[Path, typer.Argument(help="The receipt, as it was answered.")],
    key_file: Annotated[
        Path, typer.Option("--key-file", help="A file with the public key `subjects key` prints.")
    ],
    as_json: AsJson = False,
) -> int:
    """Check a receipt offline: nothing of an installation is needed, only its public key."""
    from strongroom.cli.show import clean, emit
    from strongroom.keys.subjects import verify_receipt as verify

    text = key_file.read_text("utf-8", errors="replace")
    with file.open("rb") as opened:
        receipt = verify(opened.read(_RECEIPT_BYTES_MAX + 1), key=text)
    line = (
        f"{receipt['subject']} of {receipt['merchant']}: {receipt['cards_removed']} cards and "
        f"{len(receipt['keys'])} keys destroyed at {receipt['destroyed_at']} "
        f"for {receipt['requested_by']}: {receipt['reason']}"
    )
    emit(receipt, lambda to: to.print(clean(line), soft_wrap=True), as_json=as_json)
    return OK


def key(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Print the public key of receipts, which auditors keep to check them."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> str:
        return house.keyring.subjects.signer.public_key.hex()

    text = in_house(data_dir, work)
    emit({"key": text}, lambda to: to.print(text), as_json=as_json)
    return OK


def replay(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Shred again what a restored database revived; every start does the same."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> int:
        return house.shredded_again + await house.vault.replay_shreds()

    again = in_house(data_dir, work)
    emit({"keys": again}, lambda to: to.print(f"{again} keys shredded again"), as_json=as_json)
    return OK


def _reference(file: Path) -> Secret[str]:
    from strongroom.cli.files import secret_in

    if str(file) != "-":
        return secret_in(file)
    return Secret(sys.stdin.readline().strip())

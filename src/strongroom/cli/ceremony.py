"""Commands of ceremonies: a root of m of n shares is made, unsealed, re-shared and tried out.

`answer` and `verify` work on a custodian's own machine, without an installation.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.cli.ceremony_files import (
    read_answer,
    read_cards,
    read_root_copy,
    read_session,
    read_share,
    write_shares,
)
from strongroom.cli.command import (
    DEFAULT_DATA_DIR,
    FAILED,
    OK,
    PUBLIC,
    AsJson,
    DataDir,
    authorize,
    command,
    group,
)
from strongroom.cli.custodians import KeyFile, PassphraseFile, open_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from strongroom.app import Settings
    from strongroom.keys.ceremony import Purpose, SessionCard

Cards = Annotated[
    list[Path], typer.Option("--custodian", help="A custodian's .pub file; once for each share.")
]
Threshold = Annotated[
    int, typer.Option("--threshold", min=2, max=16, help="Shares that open the root together.")
]
OutDir = Annotated[Path, typer.Option("--out-dir", help="Where the encrypted shares are written.")]
ShareFile = Annotated[Path, typer.Option("--share-file", help="The custodian's share file.")]
ForReshare = Annotated[
    bool, typer.Option("--reshare", help="Answer a waiting `ceremony reshare`, not the service.")
]
ROOT_NAME = "root-shares.json"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    ceremony = group(app, "ceremony", "A root key that m of n custodians open together.")
    command(ceremony, "ceremony init", action="ceremony:lead")(init)
    command(ceremony, "ceremony reshare", action="ceremony:lead")(reshare)
    command(ceremony, "ceremony session", action="ceremony:take_part")(session)
    command(ceremony, "ceremony unseal", action="ceremony:take_part")(unseal)
    command(ceremony, "ceremony submit", action="ceremony:take_part")(submit)
    command(ceremony, "ceremony answer", action=PUBLIC)(answer)
    command(ceremony, "ceremony verify", action=PUBLIC)(verify)
    command(ceremony, "ceremony transcript", action=PUBLIC)(transcript)


def init(
    custodians: Cards,
    out_dir: OutDir,
    threshold: Threshold = 3,
    file: Annotated[
        str, typer.Option("--file", help="Name of the new root's file in the data directory.")
    ] = ROOT_NAME,
    hand_to_commands: Annotated[
        bool,
        typer.Option(
            "--hand-to-commands/--keep-from-commands",
            help="Whether commands beside the running service get the root key from it.",
        ),
    ] = True,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Make a root key in shares and switch to it; the present root becomes a former one."""
    from strongroom.app.roots import switch_root
    from strongroom.app.share_out import make_shares_root
    from strongroom.cli.show import emit
    from strongroom.keys.roots import SharesSpec

    settings = _settings(data_dir)
    cards = read_cards(custodians)
    made, shares = make_shares_root(settings, cards, threshold=threshold, name=file)
    written = write_shares(out_dir, shares)
    spec = SharesSpec(file=file, hand_to_commands=hand_to_commands)
    switch_root(settings, spec)
    told = {
        "root": made.root,
        "set": made.shares.set_id,
        "threshold": threshold,
        "total": len(cards),
        "shares": written,
    }
    lines = [
        f"{made.root}: any {threshold} of {len(cards)} custodians open it.",
        *(f"  {path}" for path in written.values()),
        "Give each custodian the share with that name; delete them here.",
        f"Next: strongroom up --data-dir {data_dir}   (waits for the custodians)",
        f"      strongroom keys rotate root --data-dir {data_dir}",
    ]
    emit(told, _text(lines), as_json=as_json)
    return OK


def reshare(
    custodians: Cards,
    out_dir: OutDir,
    threshold: Threshold = 3,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Make a new set of shares of the same root, once enough present custodians have answered."""
    from strongroom.app.share_out import new_shares
    from strongroom.cli.running import stop_on_sigterm
    from strongroom.cli.show import emit
    from strongroom.keys import harden_process

    harden_process()
    settings = _settings(data_dir)
    cards = read_cards(custodians)
    out_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with stop_on_sigterm():
        made, shares = new_shares(
            settings, cards, threshold=threshold, keep=lambda new: write_shares(out_dir, new)
        )
    told = {
        "root": made.root,
        "set": made.shares.set_id,
        "threshold": threshold,
        "total": len(cards),
        "shares": {share.name: str(out_dir / f"{share.name}.share") for share in shares},
    }
    lines = [
        f"{made.root} has a new set: any {threshold} of {len(cards)}. The old shares are void.",
        "Whoever kept an old root file and enough old shares still has the root key: if somebody "
        "is not trusted any more, make a new root with ceremony init.",
    ]
    emit(told, _text(lines), as_json=as_json)
    return OK


def session(
    for_reshare: ForReshare = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Show the session that waits; its --json form is what `ceremony answer` takes."""
    from strongroom.cli.show import emit
    from strongroom.keys.ceremony import session_card

    card = session_card(_settings(data_dir).data_dir, _purpose(for_reshare))
    emit(card, _text(_about(card)), as_json=as_json)
    return OK


def unseal(
    share_file: ShareFile,
    key_file: KeyFile,
    passphrase_file: PassphraseFile = None,
    expected: Annotated[
        str | None,
        typer.Option("--fingerprint", help="What the service's console shows; must be the same."),
    ] = None,
    for_reshare: ForReshare = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Give one custodian's share to the service that waits, encrypted to it alone."""
    from strongroom.cli.show import emit
    from strongroom.keys.ceremony import answer_to, fingerprint, hand_in, session_card

    folder, purpose = _settings(data_dir).data_dir, _purpose(for_reshare)
    share = read_share(share_file)
    card = session_card(folder, purpose)
    _compare(card, expected, ask=passphrase_file is None)
    key = open_key(key_file, passphrase_file)
    missing = hand_in(folder, answer_to(card, share, key, at=datetime.now(UTC)), purpose)
    told = {"session": fingerprint(card), "custodian": key.card.custodian, "missing": missing}
    emit(told, _text([_still(missing)]), as_json=as_json)
    return OK


def answer(
    session_file: Annotated[
        Path, typer.Argument(metavar="SESSION", help="What `ceremony session --json` printed.")
    ],
    share_file: ShareFile,
    key_file: KeyFile,
    out: Annotated[Path, typer.Option("--out", help="Write the answer here.")],
    passphrase_file: PassphraseFile = None,
    expected: Annotated[
        str | None,
        typer.Option("--fingerprint", help="What the service's console shows; must be the same."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Make an answer on the custodian's own machine; only the waiting service can open it."""
    import msgspec

    from strongroom.cli.files import write_new_private
    from strongroom.cli.show import emit
    from strongroom.keys.ceremony import answer_to, fingerprint

    card, share = read_session(session_file), read_share(share_file)
    _compare(card, expected, ask=passphrase_file is None)
    key = open_key(key_file, passphrase_file)
    made = answer_to(card, share, key, at=datetime.now(UTC))
    write_new_private(out, msgspec.json.encode(made).decode() + "\n")
    emit({"answer": str(out), "session": fingerprint(card)}, _text([f"{out}"]), as_json=as_json)
    return OK


def submit(
    answer_file: Annotated[
        Path, typer.Argument(metavar="ANSWER", help="What `ceremony answer` wrote.")
    ],
    for_reshare: ForReshare = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Give the waiting service an answer that was made elsewhere."""
    from strongroom.cli.show import emit
    from strongroom.keys.ceremony import hand_in

    given = read_answer(answer_file)
    missing = hand_in(_settings(data_dir).data_dir, given, _purpose(for_reshare))
    emit(
        {"custodian": given.custodian, "missing": missing},
        _text([_still(missing)]),
        as_json=as_json,
    )
    return OK


def verify(
    share_file: ShareFile,
    key_file: KeyFile,
    passphrase_file: PassphraseFile = None,
    root_file: Annotated[
        Path | None,
        typer.Option("--root-file", help="A copy of the root's file; it opens nothing alone."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Dry run: prove that this share opens and is of the present set; nothing is combined.

    At the installation it is written to the transcript, signed by the custodian.
    """
    from strongroom.app.share_out import shares_file, write_verified
    from strongroom.cli.show import emit
    from strongroom.keys.ceremony import prove_share

    share = read_share(share_file)
    settings = _settings(data_dir, ask=False) if root_file is None else None
    root = shares_file(settings) if settings else read_root_copy(root_file or Path())
    key = open_key(key_file, passphrase_file)
    held = prove_share(root, share, key)
    if settings is not None:
        write_verified(settings, root, held, key)
    told = {"custodian": held.custodian, "name": held.name, "set": share.set_id, "ok": True}
    emit(told, _text([f"{held.name}'s share {held.index} is good."]), as_json=as_json)
    return OK


def transcript(
    file: Annotated[
        Path | None, typer.Argument(help="A transcript; the installation's own if not given.")
    ] = None,
    head: Annotated[
        str | None, typer.Option("--head", help="The hash that a journal entry names.")
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Check a transcript's chain and signatures, offline; exit 1 if anything is wrong."""
    from strongroom.app.unsealing import TRANSCRIPT
    from strongroom.cli.show import emit
    from strongroom.keys.ceremony import verify as check

    report = check(file or data_dir / TRANSCRIPT, head=head)
    lines = [
        f"{report.lines} lines, {report.statements} statements of custodians, head {report.head}",
        *(f"  {ceremony}" for ceremony in report.ceremonies),
        *(f"PROBLEM {problem}" for problem in report.problems),
    ]
    told = {
        "ok": report.ok,
        "lines": report.lines,
        "statements": report.statements,
        "head": report.head,
        "ceremonies": report.ceremonies,
        "problems": report.problems,
    }
    emit(told, _text(lines), as_json=as_json)
    return OK if report.ok else FAILED


def _settings(data_dir: Path, *, ask: bool = True) -> Settings:
    from strongroom.app import load

    settings = load(data_dir)
    if ask:
        authorize(settings.mode)
    return settings


def _purpose(for_reshare: bool) -> Purpose:
    return "reshare" if for_reshare else "unseal"


def _compare(card: SessionCard, expected: str | None, *, ask: bool) -> None:
    """Make sure that the session is the one on the service's console."""
    from strongroom.kernel.errors import StrongroomError
    from strongroom.keys.ceremony import fingerprint

    shown = fingerprint(card)
    if expected is not None and expected.strip().lower() != shown:
        raise StrongroomError(
            "unseal_other_session", "The session is not the one of that fingerprint. Stop and ask."
        )
    if expected is None and ask:
        typer.echo("\n".join(_about(card)), err=True)
        typer.confirm("Does the service's console show the same?", abort=True, err=True)


def _about(card: SessionCard) -> list[str]:
    from strongroom.keys.ceremony import fingerprint

    return [
        f"session    {fingerprint(card)}",
        f"for        {card.purpose} of {card.root} ({card.mode}, {card.installation})",
        f"given      {len(card.given)} of {card.threshold} shares",
        f"expires    {card.expires_at}",
        *([f"new set    {card.after}"] if card.after else []),
    ]


def _still(missing: int) -> str:
    return f"Taken; {missing} more are needed." if missing else "Taken; that was the last one."


def _text(lines: list[str]) -> Callable[[Console], None]:
    from strongroom.cli.show import clean

    def text(out: Console) -> None:
        for line in lines:
            out.print(clean(line), soft_wrap=True)

    return text

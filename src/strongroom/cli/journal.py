"""Commands for the journal: check the live store or an exported file, export, show the key."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from strongroom.kernel.errors import StrongroomError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from strongroom.app import House

_PROBLEMS_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands."""
    journal = group(app, "journal", "The append-only journal.")
    command(journal, "journal verify", action="journal:verify")(verify)
    command(journal, "journal export", action="journal:export")(export)
    command(journal, "journal key", action="checkpoint:read")(key)
    command(journal, "journal accept-rollback", action="system:init")(accept_rollback)


def verify(
    file: Annotated[
        Path | None, typer.Argument(help="An exported file; the live store if not given.")
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="The journal's public key, as `journal key` printed it."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Check the journal against its signed checkpoints: the live store, or an exported file."""
    from strongroom.cli.show import emit, progress

    public_key = _public_key(key_file)
    with progress("journal", quiet=as_json) as tell:
        if file is None:
            report = _verify_store(data_dir, public_key, tell)
        else:
            report = _verify_file(file, public_key, tell)
    emit(report, _told(report), as_json=as_json)
    return OK if report["ok"] else FAILED


def _public_key(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text("utf-8").strip()
    except UnicodeDecodeError:
        raise StrongroomError("journal_note_invalid", f"{path} holds no journal key.") from None


def _verify_store(
    data_dir: Path, public_key: str | None, tell: Callable[[str, int, int], None]
) -> dict[str, Any]:
    from strongroom.cli.installation import in_house
    from strongroom.journal import verify_store

    async def work(house: House, actor: str) -> Any:
        keys = house.sequencer.public_keys
        return await verify_store(
            house.database,
            public_keys=[public_key] if public_key else keys,
            witness=house.sequencer.witness,
            progress=tell,
        )

    return _as_dict(in_house(data_dir, work), key_given=public_key is not None)


def _verify_file(
    file: Path, public_key: str | None, tell: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Check an exported file; nothing of an installation is needed."""
    from strongroom.journal import verify_slice

    report = verify_slice(
        file, public_key=public_key, progress=lambda done: tell("entries", done, done)
    )
    return _as_dict(report)


def _as_dict(report: Any, **more: Any) -> dict[str, Any]:
    import msgspec

    return {"ok": report.ok, **more, **msgspec.to_builtins(report)}


def _told(report: dict[str, Any]) -> Callable[[Console], None]:
    from strongroom.cli.show import clean

    def text(out: Console) -> None:
        counts = ("size", "entries", "batches", "tiles", "checkpoints", "unsequenced")
        told = [f"{report[name]} {name}" for name in counts if name in report]
        out.print(", ".join(told).replace("size", "under the last checkpoint"))
        for statement in report.get("statements", ()):
            out.print(clean(statement))
        for problem in report["problems"][:_PROBLEMS_SHOWN]:
            out.print(clean(f"{problem['code']} {problem['where']}: {problem['message']}"))
        more = report["problem_count"] - _PROBLEMS_SHOWN
        if more > 0:
            out.print(f"and {more} more problems; --json tells up to a thousand")
        out.print("the journal holds" if report["ok"] else "THE JOURNAL DOES NOT HOLD")

    return text


def export(
    out: Annotated[Path, typer.Argument(help="The file to make.")],
    merchant: Annotated[
        str | None, typer.Option("--merchant", help="Only this merchant's entries (mer_…).")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="First moment, 2026-11-23 or …T12:00:00Z.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="First moment left out.")] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Write journal entries with their proofs into a file that anyone can check offline."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    first, end = _moment("--from", since), _moment("--to", until)

    async def work(house: House, actor: str) -> Any:
        from strongroom.journal import export_slice

        written = await export_slice(
            house.database,
            out,
            public_keys=house.sequencer.public_keys,
            merchant=merchant,
            since=first,
            until=end,
            signer=house.keyring.signer(),
        )
        facts = {"merchant": merchant, "count": written.count, "sha256": written.sha256}
        await _note(house, actor, action="journal:slice:export", facts=facts)
        return written

    written = in_house(data_dir, work, merchant=merchant)
    told = {"file": str(out), "entries": written.count, "sha256": written.sha256}
    emit(told, lambda to: to.print(f"{written.count} entries in {out}"), as_json=as_json)
    return OK


async def _note(
    house: House,
    actor: str,
    *,
    action: str,
    facts: dict[str, Any],
    reason: str | None = None,
) -> None:
    """Record who did it: taking entries out of the audit trail is an event (PCI DSS 10.2.1.3)."""
    from strongroom.journal import Entry, record
    from strongroom.storage import Change

    change = Change()
    entry = Entry(
        action=action,
        subject="journal",
        outcome="success",
        merchant=None,
        actor=actor,
        reason=reason,
        facts={name: value for name, value in facts.items() if value is not None},
    )
    record(change, entry, at=house.clock.now())
    await house.committer.submit(change)


def _moment(option: str, text: str | None) -> datetime | None:
    """Read a day or a moment; without an offset it is UTC."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{option} must be like 2026-11-23 or 2026-11-23T12:00:00Z."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def key(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Print the journal's public key, which auditors keep to check exports."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import print_json

    async def work(house: House, actor: str) -> list[str]:
        return house.sequencer.public_keys

    keys = in_house(data_dir, work)
    if as_json:
        print_json({"key": keys[0], "retired": keys[1:]})
    else:
        typer.echo(keys[0])
    return OK


def accept_rollback(
    reason: Annotated[str, typer.Option("--reason", help="Why entries are lost; it is kept.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Go on with an older copy of the database although signed entries are lost with it."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> Path | None:
        witness = house.sequencer.witness
        kept = None if witness is None else witness.override(reason=reason)
        if kept is not None:
            facts = {"kept": kept.name}
            action = "journal:witness:override"
            await _note(house, actor, action=action, facts=facts, reason=reason)
        return kept

    kept = in_house(data_dir, work)
    told = "There was nothing to set aside." if kept is None else f"Set aside as {kept}."
    emit({"kept": kept}, lambda to: to.print(told, soft_wrap=True), as_json=as_json)
    return OK

"""Commands for dual control: ask, look, approve or reject here, or sign elsewhere and hand in."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli.command import DEFAULT_DATA_DIR, OK, PUBLIC, AsJson, DataDir, command, group
from strongroom.cli.custodians import KeyFile, PassphraseFile, open_key
from strongroom.kernel.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.app import House
    from strongroom.keys.dual_control import Approval, Decision, DualControl, World

Id = Annotated[str, typer.Argument(metavar="APPROVAL", help="apr_… of the request.")]
_LONGEST_BYTES = 65_536


def register(app: typer.Typer) -> None:
    """Add the commands."""
    approvals = group(app, "approvals", "What one person must not do alone.")
    command(approvals, "approvals request", action="approval:request")(request)
    command(approvals, "approvals list", action="approval:list")(list_approvals)
    command(approvals, "approvals show", action="approval:list")(show)
    command(approvals, "approvals approve", action="approval:decide")(approve)
    command(approvals, "approvals reject", action="approval:decide")(reject)
    command(approvals, "approvals sign", action=PUBLIC)(sign)
    command(approvals, "approvals submit", action="approval:decide")(submit)


def request(
    action: Annotated[str, typer.Argument(help="What is to be done, such as keys:destroy.")],
    payload: Annotated[str, typer.Option("--payload", help="Exactly what, as flat JSON.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for those who decide.")],
    requester: Annotated[
        str | None,
        typer.Option("--requester", help="Who will do it, such as key_…; you if not given."),
    ] = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Ask two custodians to approve exactly one action, good for a day and one use."""
    asked = _flat(payload)

    async def work(house: House, actor: str) -> Any:
        made = await house.keyring.dual_control.request(
            action, asked, requester=requester or actor, reason=reason, asked_by=actor
        )
        return house.keyring.dual_control.world, made

    _show_one(data_dir, work, as_json=as_json)
    return OK


def list_approvals(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List the newest requests and where they stand."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> Any:
        control = house.keyring.dual_control
        return control.world, await control.approvals()

    world, found = in_house(data_dir, work)
    rows = [(a.id, a.action, a.state, len(a.approved_by), a.requester, a.expires_at) for a in found]
    columns = ("id", "action", "state", ">approved", "requester", "expires")
    emit(
        [_view(world, a) for a in found],
        lambda out: out.print(table(columns, rows)),
        as_json=as_json,
    )
    return OK


def show(
    approval: Id,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Show a request in full; its --json form is what `approvals sign` takes."""

    async def work(house: House, actor: str) -> Any:
        control = house.keyring.dual_control
        return control.world, await control.approval(approval)

    _show_one(data_dir, work, as_json=as_json)
    return OK


def approve(
    approval: Id,
    key_file: KeyFile,
    passphrase_file: PassphraseFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Approve a request with a custodian's key."""
    _decide(approval, "approve", key_file, passphrase_file, data_dir, as_json=as_json)
    return OK


def reject(
    approval: Id,
    key_file: KeyFile,
    passphrase_file: PassphraseFile = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Reject a request with a custodian's key; nobody can approve it afterwards."""
    _decide(approval, "reject", key_file, passphrase_file, data_dir, as_json=as_json)
    return OK


def sign(
    request_file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `approvals show --json` printed.")
    ],
    key_file: KeyFile,
    out: Annotated[Path, typer.Option("--out", help="Write the signed statement here.")],
    decision: Annotated[
        Literal["approve", "reject"], typer.Option("--decision", help="Your decision.")
    ] = "approve",
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> int:
    """Sign a decision on the custodian's own machine; hand it in within five minutes."""
    from strongroom.cli.files import write_new_private
    from strongroom.cli.show import emit, print_json
    from strongroom.keys.dual_control import approval_statement

    world, asked = _read_request(request_file)
    if not as_json:
        emit(None, lambda to: _print(to, asked), as_json=False)
    key = open_key(key_file, passphrase_file)
    now = datetime.now(UTC)
    statement = approval_statement(
        world, asked, custodian=key.card.custodian, decision=decision, signed_at=now
    )
    signature = base64.b64encode(key.sign(statement)).decode()
    write_new_private(
        out, json.dumps({"statement": statement.decode(), "signature": signature}) + "\n"
    )
    if as_json:
        print_json({"statement_file": str(out), "custodian": key.card.custodian})
    return OK


def submit(
    statement_file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What `approvals sign` wrote.")
    ],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Hand in a decision that was signed elsewhere."""
    try:
        signed = json.loads(_read(statement_file))
        told = json.loads(signed["statement"])
        signature = base64.b64decode(signed["signature"], validate=True)
        approval, custodian = str(told["approval"]), str(told["custodian"])
        decision: Decision = "reject" if told["decision"] == "reject" else "approve"
        signed_at = datetime.fromisoformat(told["signed_at"])
    except (ValueError, KeyError, TypeError):
        raise _not_readable(statement_file) from None

    async def work(house: House, actor: str) -> Any:
        control = house.keyring.dual_control
        hand_in = control.approve if decision == "approve" else control.reject
        made = await hand_in(
            approval, custodian=custodian, signed_at=signed_at, signature=signature
        )
        return control.world, made

    _show_one(data_dir, work, as_json=as_json)
    return OK


def _decide(
    approval: str,
    decision: Decision,
    key_file: Path,
    passphrase_file: Path | None,
    data_dir: Path,
    *,
    as_json: bool,
) -> None:
    from strongroom.cli.show import emit
    from strongroom.keys.dual_control import approval_statement

    async def work(house: House, actor: str) -> Any:
        control: DualControl = house.keyring.dual_control
        asked = await control.approval(approval)
        if not as_json:
            emit(None, lambda out: _print(out, asked), as_json=False)
        key = open_key(key_file, passphrase_file)
        now = house.clock.now()
        signature = key.sign(
            approval_statement(
                control.world, asked, custodian=key.card.custodian, decision=decision, signed_at=now
            )
        )
        hand_in = control.approve if decision == "approve" else control.reject
        made = await hand_in(
            asked.id, custodian=key.card.custodian, signed_at=now, signature=signature
        )
        return control.world, made

    _show_one(data_dir, work, as_json=as_json)


def _show_one(data_dir: Path, work: Any, *, as_json: bool) -> None:
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    world, made = in_house(data_dir, work)
    emit(_view(world, made), lambda out: _print(out, made), as_json=as_json)


def _print(out: Any, approval: Approval) -> None:
    from strongroom.cli.show import clean

    lines = {
        "request": f"{approval.id} ({approval.state})",
        "action": approval.action,
        **{f"  {name}": value for name, value in approval.payload.items()},
        "sha256": approval.payload_sha256,
        "for": approval.requester,
        "asked by": approval.asked_by,
        "why": approval.reason,
        "expires": approval.expires_at,
        "approved": " ".join(approval.approved_by) or "nobody yet",
    }
    for name, value in lines.items():
        out.print(f"{clean(name):<10} {clean(value)}", soft_wrap=True)


def _view(world: World, approval: Approval) -> dict[str, object]:
    import msgspec

    told: dict[str, object] = msgspec.to_builtins(approval)
    return {"installation": str(world.installation), "mode": world.mode, **told}


def _read_request(path: Path) -> tuple[World, Approval]:
    """Return what a request file says; the payload's hash is computed anew from what is shown."""
    import msgspec

    from strongroom.keys.dual_control import Approval, World, payload_hash

    try:
        text = _read(path)
        world = msgspec.json.decode(text, type=World)
        asked = msgspec.json.decode(text, type=Approval)
    except msgspec.MsgspecError:
        raise _not_readable(path) from None
    hashed = payload_hash(asked.payload)
    return world, msgspec.structs.replace(asked, payload_sha256=hashed)


def _flat(payload: str) -> dict[str, Any]:
    import msgspec

    try:
        return msgspec.json.decode(payload, type=dict[str, str | int | bool | None])
    except msgspec.MsgspecError:
        raise typer.BadParameter('--payload is flat JSON, such as \'{"key":"dek_…"}\'.') from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_BYTES)
    except OSError:
        raise _not_readable(path) from None


def _not_readable(path: Path) -> StrongroomError:
    return StrongroomError("approval_invalid", f"The file {path} is not what this command takes.")

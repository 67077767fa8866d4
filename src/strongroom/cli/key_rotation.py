"""Commands for the life of keys: `keys status`, `keys rotate`, `keys compromise` …"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from strongroom.cli import client_keys, token_keys
from strongroom.cli.command import DEFAULT_DATA_DIR, FAILED, OK, AsJson, DataDir, command
from strongroom.kernel import limits

if TYPE_CHECKING:
    from rich.console import Console

    from strongroom.app import House
    from strongroom.keys import KeyInfo
    from strongroom.keys.rotation import Job

JobId = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, rot_…")]
KeyName = Annotated[str, typer.Argument(metavar="KEY", help="The key's id, such as dek_…")]
ApprovalId = Annotated[
    str | None, typer.Option("--approval", help="apr_… that permits it (dual control).")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it is done.")]
_POLL_S = 0.25
_TAKE_OVER_S = 3.0
"""A job nobody works on by then is worked on by the command: nothing serves here."""


def register(keys: typer.Typer) -> None:
    """Add the commands to the group `keys`."""
    command(keys, "keys status", action="key:list")(status)
    command(keys, "keys rotate", action="key:rotate")(rotate)
    command(keys, "keys jobs", action="key:list")(jobs)
    command(keys, "keys pause", action="key:rotate")(pause)
    command(keys, "keys resume", action="key:rotate")(resume)
    command(keys, "keys cancel", action="key:rotate")(cancel)
    command(keys, "keys compromise", action="key:compromise")(compromise)
    command(keys, "keys destroy", action="key:destroy")(destroy)
    command(keys, "keys accept-rollback", action="system:init")(accept_rollback)


def status(
    rows: Annotated[
        bool, typer.Option("--rows", help="Count what each key still holds; reads every card.")
    ] = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Show every key's state, age, what is left of it, and the rotations; exit 1 on warnings."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, table

    async def work(house: House, actor: str) -> Any:
        keys = await house.keyring.inventory()
        counted = [key.id for key in keys if _counts(key, rows)]
        held = {key: await house.rotation.references(key) for key in counted}
        return keys, held, await house.rotation.jobs()

    keys, held, found = in_house(data_dir, work)
    said = [*map(_warning, keys), *(_job_warning(job) for job in found)]
    warnings = [text for text in said if text]
    told = {
        "keys": [{**_key_view(key), "rows": held.get(key.id)} for key in keys],
        "jobs": [_view(job) for job in found],
        "warnings": warnings,
    }
    columns = ("key", "purpose", ">version", "state", ">days left", ">uses left", ">rows")
    lines = [
        (k.id, k.purpose, k.version, k.state, k.days_left, _uses_left(k), held.get(k.id))
        for k in keys
    ]

    def text(out: Console) -> None:
        out.print(table(columns, lines))
        _show_jobs(out, [job for job in found if job.is_open])
        for warning in warnings:
            out.print(f"warning: {warning}")

    emit(told, text, as_json=as_json)
    return FAILED if warnings else OK


def rotate(
    level: Annotated[
        Literal["root", "kek", "dek", "index", "client", "pepper", "token"],
        typer.Argument(help="Which level of keys."),
    ],
    merchant: Annotated[
        str | None, typer.Option("--merchant", help="Only this merchant's data or index key.")
    ] = None,
    rate: Annotated[
        int, typer.Option("--rate", min=0, help="Cards per second; 0 for as fast as it goes.")
    ] = limits.ROTATION_RATE,
    suite: Annotated[
        str | None, typer.Option("--suite", help="Only these client keys, such as hpke-xwing.")
    ] = None,
    wait: Wait = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do it in this command, beside no service.")
    ] = False,
    approval: ApprovalId = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Replace keys while everything runs; a service that runs does the work."""
    if level == "client":
        return client_keys.rotate(data_dir, suite=suite, approval=approval, as_json=as_json)
    if level == "pepper":
        return client_keys.rotate_pepper(data_dir, approval=approval, as_json=as_json)
    if level == "token":
        return token_keys.rotate(data_dir, approval=approval, as_json=as_json)

    async def start(house: House, actor: str) -> Job:
        payload = {"level": level, "merchant": merchant}
        await house.keyring.dual_control.redeem(
            "keys:generate", payload, approval=approval, requester=actor
        )
        return await house.rotation.start(level, merchant=merchant, rate=rate, actor=actor)

    return _started(data_dir, start, wait=wait or offline, offline=offline, as_json=as_json)


def jobs(data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """List rotations, open ones first."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> list[Job]:
        return await house.rotation.jobs()

    found = in_house(data_dir, work)
    emit([_view(job) for job in found], lambda out: _show_jobs(out, found), as_json=as_json)
    return OK


def pause(job: JobId, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Let a rotation rest."""

    async def work(house: House, actor: str) -> Job:
        return await house.rotation.pause(job, actor=actor)

    return _turned(data_dir, work, as_json=as_json)


def resume(job: JobId, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """Let a paused rotation go on where it was."""

    async def work(house: House, actor: str) -> Job:
        return await house.rotation.resume(job, actor=actor)

    return _turned(data_dir, work, as_json=as_json)


def cancel(job: JobId, data_dir: DataDir = DEFAULT_DATA_DIR, as_json: AsJson = False) -> int:
    """End a rotation; what moved stays moved."""

    async def work(house: House, actor: str) -> Job:
        return await house.rotation.cancel(job, actor=actor)

    return _turned(data_dir, work, as_json=as_json)


def compromise(
    key: KeyName,
    wait: Wait = False,
    approval: ApprovalId = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Mark a key as compromised: it is replaced at once and all it sealed moves at full rate."""
    if client_keys.is_client_key(key):
        return client_keys.compromise(data_dir, key=key, approval=approval, as_json=as_json)
    if token_keys.may_be_token_key(key):
        return token_keys.compromise(data_dir, key=key, approval=approval, as_json=as_json)

    async def start(house: House, actor: str) -> Job:
        await house.keyring.dual_control.redeem(
            "keys:compromise", {"key": key}, approval=approval, requester=actor
        )
        return await house.rotation.compromise(key, actor=actor)

    return _started(data_dir, start, wait=wait, offline=False, as_json=as_json)


def destroy(
    key: KeyName,
    approval: ApprovalId = None,
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Destroy a replaced key for good; refused while anything still needs it."""
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    async def work(house: House, actor: str) -> KeyInfo:
        await house.rotation.require_destroyable(key)
        await house.keyring.dual_control.redeem(
            "keys:destroy", {"key": key}, approval=approval, requester=actor
        )
        return await house.rotation.destroy(key, actor=actor)

    gone = in_house(data_dir, work)
    emit(
        _key_view(gone), lambda out: out.print(f"{gone.id} is destroyed for good."), as_json=as_json
    )
    return OK


def accept_rollback(
    reason: Annotated[str, typer.Option("--reason", help="Why older keys are right; it is kept.")],
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> int:
    """Go on with an older copy of the key tables, restored together with the cards of its time."""
    from strongroom.app import load
    from strongroom.cli.command import authorize
    from strongroom.cli.show import emit
    from strongroom.keys.anchor import FILE, FileAnchor

    settings = load(data_dir)
    authorize(settings.mode)
    kept = FileAnchor(settings.path(FILE)).override(reason=reason)
    told = "There was nothing to set aside." if kept is None else f"Set aside as {kept}."
    emit({"kept": kept}, lambda to: to.print(told, soft_wrap=True), as_json=as_json)
    return OK


def _started(
    data_dir: Path,
    start: Callable[[House, str], Any],
    *,
    wait: bool,
    offline: bool,
    as_json: bool,
) -> int:
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit, progress

    async def work(house: House, actor: str) -> Job:
        job: Job = await start(house, actor)
        if not wait:
            return job
        with progress("Rotating", quiet=as_json) as tell:
            return await _followed(house, job, tell, take_over_s=0 if offline else _TAKE_OVER_S)

    done = in_house(data_dir, work)
    emit(_view(done), lambda out: _show_jobs(out, [done]), as_json=as_json)
    return FAILED if wait and (done.state != "done" or done.problem) else OK


async def _followed(
    house: House, job: Job, tell: Callable[[str, int, int], None], *, take_over_s: float
) -> Job:
    """Watch a job to its end; work on it here when nobody else does."""
    name, idle_s = _name(job), 0.0
    working: asyncio.Task[Job | None] | None = None
    while job.state == "open":
        idle_s = 0.0 if job.leased else idle_s + _POLL_S
        if working is None and not job.leased and idle_s > take_over_s:
            working = asyncio.create_task(house.rotation.work(name))
        if working is not None and working.done():
            working.result()
            working, idle_s = None, 0.0
        await asyncio.sleep(_POLL_S)
        job = await house.rotation.job(name)
        tell(job.level, job.done, max(job.total, job.done))
    if working is not None:
        await working
    return await house.rotation.job(name)


def _turned(data_dir: Path, work: Callable[[House, str], Any], *, as_json: bool) -> int:
    from strongroom.cli.installation import in_house
    from strongroom.cli.show import emit

    job: Job = in_house(data_dir, work)
    emit(_view(job), lambda out: _show_jobs(out, [job]), as_json=as_json)
    return OK


def _show_jobs(out: Console, found: list[Job]) -> None:
    from strongroom.cli.show import table

    rows = [
        (_name(j), j.level, _view(j)["merchant"], j.state, j.done, j.total, j.rate, j.problem)
        for j in found
    ]
    if rows:
        columns = ("job", "level", "merchant", "state", ">done", ">total", ">rate", "problem")
        out.print(table(columns, rows))


def _name(job: Job) -> str:
    from strongroom.kernel.ids import id_from

    return id_from("rot", job.id)


def _view(job: Job) -> dict[str, Any]:
    from strongroom.kernel.ids import id_from

    return {
        "id": _name(job),
        "level": job.level,
        "merchant": None if job.owner is None else id_from("mer", job.owner),
        "state": job.state,
        "working": job.leased,
        "reason": job.reason,
        "rate": job.rate,
        "done": job.done,
        "total": job.total,
        "problem": job.problem,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }


def _key_view(key: KeyInfo) -> dict[str, Any]:
    import msgspec

    return {**msgspec.to_builtins(key), "uses_left": _uses_left(key)}


def _uses_left(key: KeyInfo) -> int | None:
    if key.uses_limit is None or key.uses_reserved is None:
        return None
    return key.uses_limit - key.uses_reserved


def _counts(key: KeyInfo, rows: bool) -> bool:
    pepper = key.purpose == "api-key-pepper"
    return rows and (key.kind in ("kek", "dek", "index") or pepper) and key.state != "destroyed"


def _warning(key: KeyInfo) -> str | None:
    if key.state == "compromised":
        return f"{key.id} is compromised: rotate until it holds nothing, then destroy it"
    if key.kind == "client" or key.purpose == "token-signing":  # renewed a week before their end
        return None
    if key.days_left is not None and key.days_left <= limits.KEY_WARN_DAYS:
        return f"{key.id} ({key.purpose}) has {key.days_left} days left"
    return None


def _job_warning(job: Job) -> str | None:
    return f"{_name(job)}: {job.problem}" if job.problem and job.is_open else None

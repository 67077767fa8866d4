"""Commands that run something until they are told to stop: `up`, `serve`, `sandbox`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer

from strongroom.cli.command import (
    DEFAULT_DATA_DIR,
    OK,
    PUBLIC,
    AsJson,
    DataDir,
    authorize,
    command,
)
from strongroom.kernel.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.app import Ready, Supervisor
    from strongroom.identity import Mode

Port = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="TCP port; 0 takes a free one.")
]
Host = Annotated[str, typer.Option("--host", help="Address to listen on.")]
ReadyFile = Annotated[
    Path | None,
    typer.Option("--ready-file", help="Write addresses and keys here (mode 0600) when ready."),
]
Role = Literal["all", "api", "vault", "worker"]
_ROLES: tuple[Role, ...] = get_args(Role)
_WORKERS_MAX = 64


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "up", action="system:init")(up)
    command(app, "serve", action="system:init")(serve)
    command(app, "sandbox", action=PUBLIC)(sandbox)


def up(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    host: Host = "127.0.0.1",
    port: Port = 0,
    ready_file: ReadyFile = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=_WORKERS_MAX, help="Server processes.")
    ] = 1,
    split: Annotated[
        bool,
        typer.Option("--split", help="Run the vault, which alone has the keys, apart."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Run the whole service on this machine: database, servers, sandbox gateway in test mode."""
    with (
        suppress(KeyboardInterrupt),
        started(
            data_dir, host=host, port=port, workers=workers, ready_file=ready_file, split=split
        ) as (supervisor, ready),
    ):
        _tell_ready(ready, data_dir, ready_file, as_json=as_json)
        return supervisor.wait()
    return OK  # asked to stop while it started, and stopped in order


@contextmanager
def started(
    data_dir: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    workers: int = 1,
    ready_file: Path | None = None,
    split: bool = False,
) -> Iterator[tuple[Supervisor, Ready]]:
    """Start everything; at the end of the block everything is stopped, also after SIGTERM."""
    from strongroom.app import Supervisor, write_ready

    authorize(mode_of(data_dir))
    if ready_file is not None:
        ready_file.unlink(missing_ok=True)
    with stop_on_sigterm():
        supervisor = Supervisor(data_dir, host=host, port=port, workers=workers, split=split)
        try:
            ready = _start(supervisor)
            if ready_file is not None:
                write_ready(ready_file, ready)
            yield supervisor, ready
        finally:
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)
            supervisor.stop()


def mode_of(data_dir: Path) -> Mode:
    """Return an installation's mode; where there is none yet, a test installation is made."""
    from strongroom.app import load

    try:
        return load(data_dir, {**os.environ}).mode
    except StrongroomError as error:
        if error.code != "not_initialized":
            raise
        return "test"


def _start(supervisor: Supervisor) -> Ready:
    try:
        return supervisor.start()
    except OSError as error:
        raise StrongroomError(
            "start_failed", f"The address cannot be used: {error.strerror}. Choose another --port."
        ) from None


def _tell_ready(ready: Ready, data_dir: Path, ready_file: Path | None, *, as_json: bool) -> None:
    from strongroom.cli.show import console, print_json

    kept = ready_file or data_dir / "test-credentials.json"
    if as_json:
        print_json({"url": ready.url, "sandbox_url": ready.sandbox_url, "pid": ready.pid})
        return
    out = console()
    out.print(f"Strongroom answers on {ready.url} (docs: {ready.url}/docs)")
    if ready.api_key is not None:
        out.print(f"test API keys are in {kept}")
    out.print("Ctrl-C or SIGTERM drains and stops it.")


def serve(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    host: Annotated[
        str | None,
        typer.Option("--host", help="Address; 127.0.0.1, for the vault that of its settings."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="TCP port; 8080, for the vault 7443."),
    ] = None,
    role: Annotated[
        str, typer.Option("--role", help="all, vault, api or worker: what this process does.")
    ] = "all",
    as_json: AsJson = False,
) -> int:
    """Run one process of an initialized installation."""
    import asyncio

    from strongroom.app import load, run
    from strongroom.app.ceremonies import record_ceremonies
    from strongroom.app.unsealing import unseal
    from strongroom.cli.installation import database_running, refuse_old_schema

    known = _role(role)
    settings = load(data_dir)
    authorize(settings.mode)
    with stop_on_sigterm(), ExitStack() as stack:
        listener: Any = None
        if known != "worker":
            usual = settings.listens_at(known)
            listener = _listen(host or usual[0], usual[1] if port is None else port)
        if known in ("all", "vault"):
            waiting = unseal(settings, listener)
            if waiting is not None:
                stack.callback(waiting.close)
        stack.enter_context(database_running(settings))
        asyncio.run(refuse_old_schema(settings))
        if known in ("all", "vault"):
            asyncio.run(record_ceremonies(settings, role=known))
        _tell_serving(known, listener, tls=settings.tls is not None, as_json=as_json)
        run(settings, [] if listener is None else [listener], role=known)
    return OK


def _role(text: str) -> Role:
    for known in _ROLES:
        if text == known:
            return known
    if text == "console":
        raise typer.BadParameter("console is not there yet; operators use the command line.")
    raise typer.BadParameter("--role is all, vault, api or worker.")


def _listen(host: str, port: int) -> Any:
    import socket

    try:
        return socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise StrongroomError(
            "start_failed",
            f"{host}:{port} cannot be used: {error.strerror}. Choose another --port.",
        ) from None


def _tell_serving(role: Role, listener: Any, *, tls: bool, as_json: bool) -> None:
    from strongroom.cli.show import console, print_json

    where = None if listener is None else "{}:{}".format(*listener.getsockname()[:2])
    url = f"{'https' if tls else 'http'}://{where}" if role in ("all", "api") else where
    if as_json:
        print_json({"url": url, "pid": os.getpid()})
        return
    who = {"vault": "The vault", "worker": "The worker"}.get(role, "Strongroom")
    told = f"{who} runs" if url is None else f"{who} answers on {url}"
    console().print(f"{told}. Ctrl-C or SIGTERM drains and stops it.")


def sandbox(
    secret_file: Annotated[
        Path, typer.Option("--secret-file", help="File (mode 0600) with the gateway's key.")
    ],
    host: Host = "127.0.0.1",
    port: Port = 0,
    webhook_url: Annotated[
        str | None, typer.Option("--webhook-url", help="Where events are sent.")
    ] = None,
    webhook_secret_file: Annotated[
        Path | None,
        typer.Option("--webhook-secret-file", help="File (mode 0600) with the signing secret."),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", help="File that keeps charges over a restart.")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option("--ready-file", help="Write the address here (mode 0600).")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Run the sandbox gateway: a card gateway with its issuers, for tests."""
    from strongroom.cli.files import secret_in
    from strongroom.cli.sandbox import run_until_signal

    if (webhook_url is None) != (webhook_secret_file is None):
        raise typer.BadParameter("--webhook-url and --webhook-secret-file go together.")
    return run_until_signal(
        secret_in(secret_file),
        host=host,
        port=port,
        webhook_url=webhook_url,
        webhook_secret=None if webhook_secret_file is None else secret_in(webhook_secret_file),
        state=state,
        ready_file=ready_file,
        as_json=as_json,
    )


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, while nothing of its own handles it."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

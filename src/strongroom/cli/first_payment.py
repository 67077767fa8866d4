"""`strongroom run`: what `make run` calls. Starts everything and takes one payment over HTTP.

The receipt shows what a merchant sees, the postings, and the journal entries of the payment with
each proof checked here against the signed checkpoint and the journal's public key.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.cli.command import DEFAULT_DATA_DIR, FAILED, OK, AsJson, DataDir, command
from strongroom.cli.running import Port, mode_of, started
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret

if TYPE_CHECKING:
    from strongroom.app import House, Ready
    from strongroom.cli.receipt import Receipt


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "run", action="system:init")(run)


def run(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    port: Port = 0,
    once: Annotated[
        bool, typer.Option("--once", help="Stop everything after the receipt.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Start everything, take one test payment over HTTP, show receipt, postings and proof."""
    from strongroom.cli.receipt import show
    from strongroom.cli.show import console, emit, waiting

    if mode_of(data_dir) == "live":
        raise StrongroomError(
            "live_mode", "This installation is live: only a test installation takes this payment."
        )
    began = time.monotonic()
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        with waiting("Starting database, sandbox gateway and server …", quiet=as_json):
            supervisor, ready = stack.enter_context(started(data_dir, port=port))
        if not as_json:
            _welcome(ready, data_dir, time.monotonic() - began)
        receipt = _take(ready, data_dir)
        emit(receipt, lambda out: show(out, receipt), as_json=as_json)
        if once:
            return OK if receipt.proven else FAILED
        if not as_json:
            console().print("Everything stays up; Ctrl-C stops it and keeps the data.")
        return supervisor.wait()
    return OK


def _welcome(ready: Ready, data_dir: Path, elapsed_s: float) -> None:
    from strongroom.cli.show import console

    out = console()
    out.print(f"Strongroom is up after {elapsed_s:.1f} s.")
    told = {
        "URL": ready.url,
        "documentation": f"{ready.url}/docs",
        "test API key": ready.api_key,
        "all test keys": data_dir / "test-credentials.json",
    }
    for name, value in told.items():
        out.print(f"  {name:13}  {value}", soft_wrap=True)


def _take(ready: Ready, data_dir: Path) -> Receipt:
    """Take one payment through the public API and collect all that tells of it."""
    from strongroom.cli.client import Client
    from strongroom.cli.installation import in_house
    from strongroom.cli.receipt import collect, pay

    async def key_of(house: House, actor: str) -> str:
        return house.sequencer.public_keys[0]

    client = Client(ready.url, Secret(ready.api_key or ""))
    paid = pay(client)
    return collect(client, paid, public_key=in_house(data_dir, key_of))

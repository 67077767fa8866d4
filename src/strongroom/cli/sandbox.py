"""Runs the sandbox gateway in the foreground of a command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import uvloop

from strongroom.cli.command import OK
from strongroom.cli.files import write_new_private
from strongroom.cli.show import console, print_json
from strongroom.gateways.sandbox_server import Settings, serve
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret


def run_until_signal(
    secret: Secret[str],
    *,
    host: str,
    port: int,
    webhook_url: str | None,
    webhook_secret: Secret[str] | None,
    state: Path | None,
    ready_file: Path | None,
    as_json: bool,
) -> int:
    """Run it until SIGTERM or SIGINT. The ready file tells address and pid, not the key."""
    settings = Settings(
        secret=secret,
        host=host,
        port=port,
        webhook_url=webhook_url,
        webhook_secret=webhook_secret,
        state=state,
    )

    def tell(url: str) -> None:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
            write_new_private(ready_file, json.dumps({"url": url, "pid": os.getpid()}) + "\n")
        if as_json:
            print_json({"url": url, "pid": os.getpid()})
        else:
            console().print(f"The sandbox gateway answers on {url}.")

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(settings, stop=stop, on_ready=tell)

    try:
        uvloop.run(run())
    except OSError as error:
        raise StrongroomError(
            "start_failed", f"{host}:{port} cannot be used: {error.strerror}."
        ) from None
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
    return OK

"""One server process: opens the house, answers HTTP, runs the workers, drains on SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from strongroom.api import build, server_config
from strongroom.app.compose import House
from strongroom.app.lifeline import hold_on
from strongroom.app.settings import Settings, load
from strongroom.app.worker import Workers
from strongroom.kernel.errors import StrongroomError
from strongroom.keys import harden_process

_GC_THRESHOLDS = (50_000, 20, 50)
"""Requests make few cycles; the default thresholds spend a tenth of the time looking for them."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling; ours drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings, sockets: list[socket.socket]) -> None:
    """Serve HTTP on the given listening sockets until SIGTERM or SIGINT, then drain."""
    async with House(settings) as house:
        workers = Workers(house)
        api = build(house.services(), house.api_settings())
        server = _Server(server_config(api))
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        workers.start()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        serving = asyncio.create_task(server.serve(sockets=sockets))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        await api.drain()
        server.should_exit = True
        await serving
        stopping.cancel()
        await workers.stop()


def run(settings: Settings, sockets: list[socket.socket]) -> None:
    """Run one server process to its end, on uvloop."""
    import uvloop

    harden_process()
    uvloop.run(serve(settings, sockets))


def main(arguments: list[str]) -> int:
    """Entry point of the processes a supervisor starts: listening socket and lifeline by number."""
    parser = argparse.ArgumentParser(prog="strongroom.app.serving")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    options = parser.parse_args(arguments)
    hold_on(options.lifeline)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    try:
        run(load(options.data_dir), [socket.socket(fileno=options.fd)])
    except StrongroomError as error:
        sys.stderr.write(f"strongroom: {error.public} ({error.code}) {error.detail}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

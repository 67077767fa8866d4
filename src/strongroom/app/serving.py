"""One process of the service: opens its rooms, answers, runs its workers, drains on SIGTERM.

`all` and `api` answer HTTP, `vault` answers other processes, `worker` answers nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import get_args

from strongroom.api import Listener, TlsFiles, build
from strongroom.app.certified import caller_files, listener_files
from strongroom.app.compose import House, Role
from strongroom.app.console import Faces, open_console
from strongroom.app.hosting import giving_certificates, serving_vault
from strongroom.app.lifeline import hold_on
from strongroom.app.logs import begin_logging
from strongroom.app.settings import Settings, load
from strongroom.app.worker import Workers
from strongroom.kernel.errors import StrongroomError
from strongroom.keys import harden_process

_GC_THRESHOLDS = (50_000, 20, 50)
"""Requests make few cycles; the default thresholds spend a tenth of the time looking for them."""


async def serve(
    settings: Settings,
    sockets: list[socket.socket],
    *,
    role: Role = "all",
    may_reveal: Collection[str] = (),
    joining: socket.socket | None = None,
) -> None:
    """Serve on the given listening sockets until SIGTERM or SIGINT, then drain."""
    async with _certified(settings, role), House(settings, role=role) as house:
        workers = Workers(house)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if house.role == "vault":
            serving = serving_vault(house, sockets[0], joining=joining, may_reveal=may_reveal)
        elif house.role == "worker":
            serving = _idle()
        else:
            serving = _serving_http(house, sockets)
        workers.start()
        async with serving as ended:
            gc.collect()
            gc.freeze()
            gc.set_threshold(*_GC_THRESHOLDS)
            stopping = asyncio.ensure_future(_set(stop))
            await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        await workers.stop()


@asynccontextmanager
async def _certified(settings: Settings, role: Role) -> AsyncIterator[None]:
    """Have a certificate from a Workload API where the settings say so; the vault sees itself."""
    workload = settings.workload
    if workload is None or workload.source != "spire" or role == "vault":
        yield
        return
    from strongroom.app.spire import following

    files = caller_files(settings) if settings.vault is not None else listener_files(settings)
    async with following(settings, files):
        yield


@asynccontextmanager
async def _serving_http(
    house: House, sockets: list[socket.socket]
) -> AsyncIterator[asyncio.Future[None]]:
    """Answer HTTP for the block; yields what is done when the server ended by itself."""
    api = build(house.services(), house.api_settings())
    tls = house.settings.tls
    if tls is not None and tls.workload_authority is not None and house.certified is not None:
        await house.certified.ready()
    faces = Faces(api, open_console(house, api))
    listener = Listener(faces, sockets[0], tls=_tls_files(house.settings))
    serving = asyncio.create_task(listener.serve())
    try:
        async with giving_certificates(house):
            yield serving
    finally:
        await listener.stop()
        await serving


def _tls_files(settings: Settings) -> TlsFiles | None:
    tls = settings.tls
    if tls is None:
        return None
    own = tls.workload_authority
    return TlsFiles(
        certificate=settings.path(tls.certificate),
        key=settings.path(tls.key),
        client_authorities=tuple(map(settings.path, tls.client_authorities)),
        workload_authority=None if own is None else settings.path(own),
        allow_tls12=tls.min_version == "1.2",
    )


async def _set(event: asyncio.Event) -> None:
    await event.wait()


@asynccontextmanager
async def _idle() -> AsyncIterator[asyncio.Future[None]]:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    yield never


def run(
    settings: Settings,
    sockets: list[socket.socket],
    *,
    role: Role = "all",
    may_reveal: Collection[str] = (),
    joining: socket.socket | None = None,
) -> None:
    """Run one process to its end, on uvloop."""
    import uvloop

    harden_process()
    uvloop.run(serve(settings, sockets, role=role, may_reveal=may_reveal, joining=joining))


def main(arguments: list[str]) -> int:
    """Entry point of the processes a supervisor starts: listening socket and lifeline by number."""
    parser = argparse.ArgumentParser(prog="strongroom.app.serving")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--fd", type=int, help="listening socket of the HTTP face")
    parser.add_argument("--vault-fd", type=int, help="listening socket of the vault")
    parser.add_argument("--join-fd", type=int, help="socket where the vault gives certificates")
    parser.add_argument("--role", choices=get_args(Role), default="all")
    parser.add_argument("--may-reveal", action="append", default=[])
    parser.add_argument("--lifeline", type=int, required=True)
    options = parser.parse_args(arguments)
    hold_on(options.lifeline)
    begin_logging()
    try:
        given = options.fd if options.vault_fd is None else options.vault_fd
        sockets = [] if given is None else [socket.socket(fileno=given)]
        joining = None if options.join_fd is None else socket.socket(fileno=options.join_fd)
        run(
            load(options.data_dir),
            sockets,
            role=options.role,
            may_reveal=options.may_reveal,
            joining=joining,
        )
    except StrongroomError as error:
        sys.stderr.write(f"strongroom: {error.public} ({error.code}) {error.detail}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

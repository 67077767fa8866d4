"""Puts the sandbox gateway together, listens, and stops in order."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Literal

import msgspec
import uvloop

from strongroom.gateways.sandbox_server.answers import Answers, encode
from strongroom.gateways.sandbox_server.connection import Connection, Shared
from strongroom.gateways.sandbox_server.control import Control
from strongroom.gateways.sandbox_server.faults import ArmedFaults
from strongroom.gateways.sandbox_server.flow import Gateway
from strongroom.gateways.sandbox_server.later import Later
from strongroom.gateways.sandbox_server.limits import DRAIN_TIMEOUT_S, ROWS_MAX
from strongroom.gateways.sandbox_server.routes import Routes
from strongroom.gateways.sandbox_server.store import Store
from strongroom.gateways.sandbox_server.webhooks import Target, Webhooks
from strongroom.kernel.secret import Secret

_log = logging.getLogger("strongroom.sandbox")

_BACKLOG = 2048


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a sandbox gateway is run."""

    secret: Secret[str]
    host: str = "127.0.0.1"
    port: int = 0
    """0 picks a free port."""
    public_url: str | None = None
    """Where browsers reach the 3DS pages; the listening address unless given."""
    webhook_url: str | None = None
    webhook_secret: Secret[str] | None = None
    webhook_events: Literal["all", "async"] = "all"
    state: Path | None = None
    rows_max: int = ROWS_MAX
    late_s: float = 1.0
    """How long after the answer late refunds, disputes and warnings come."""


async def serve(
    settings: Settings, *, stop: asyncio.Event, on_ready: Callable[[str], None]
) -> None:
    """Run a sandbox gateway until `stop` is set.

    Args:
        settings: how to run it.
        stop: set it to drain and return.
        on_ready: called with the base URL once connections are accepted.
    """
    listener = _listen(settings.host, settings.port)
    url = _url_of(listener)
    store = Store(rows_max=settings.rows_max, path=settings.state)
    shared = _assemble(settings, store, public_url=settings.public_url or url)
    loop = asyncio.get_running_loop()
    shared.date = _date_line()
    server = await loop.create_server(lambda: Connection(shared), sock=listener, backlog=_BACKLOG)
    sweeper = loop.create_task(_sweep(shared))
    on_ready(url)
    try:
        await stop.wait()
    finally:
        sweeper.cancel()
        server.close()
        await _drain(shared)
        store.close()


def main(
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    secret: str | None = None,
    webhook_url: str | None = None,
    webhook_secret: str | None = None,
    webhook_events: Literal["all", "async"] = "all",
    public_url: str | None = None,
    state: Path | None = None,
    ready_file: Path | None = None,
    rows_max: int = ROWS_MAX,
) -> int:
    """Run the sandbox gateway until SIGTERM or SIGINT; return the exit code.

    Without a `secret` one is made. The ready file (mode 0600, JSON `{"url", "secret", "pid"}`) is
    written when connections are accepted, and removed at the end.
    """
    key = secret or f"sbx_sk_{secrets.token_urlsafe(24)}"
    settings = Settings(
        secret=Secret(key),
        host=host,
        port=port,
        public_url=public_url,
        webhook_url=webhook_url,
        webhook_secret=Secret(webhook_secret) if webhook_secret else None,
        webhook_events=webhook_events,
        state=state,
        rows_max=rows_max,
    )
    if webhook_url is not None and not webhook_secret:
        sys.stderr.write("A webhook URL needs a webhook secret: give --webhook-secret.\n")
        return 2

    def on_ready(url: str) -> None:
        if ready_file is not None:
            _write_ready(ready_file, {"url": url, "secret": key, "pid": os.getpid()})
        sys.stdout.write(f"sandbox gateway on {url}\n")
        if secret is None and ready_file is None:
            sys.stdout.write(f"key (made for this run): {key}\n")
        sys.stdout.flush()

    try:
        uvloop.run(_until_signal(settings, on_ready))
    except OSError as error:
        sys.stderr.write(f"The sandbox gateway cannot run: {error.strerror or error}\n")
        return 1
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
    return 0


async def _until_signal(settings: Settings, on_ready: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop=stop, on_ready=on_ready)


def _assemble(settings: Settings, store: Store, *, public_url: str) -> Shared:
    bearer = settings.secret.reveal().encode()
    hook_secret = settings.webhook_secret.reveal() if settings.webhook_secret else None
    webhooks = Webhooks(
        Target(url=settings.webhook_url, secret=hook_secret, events=settings.webhook_events)
    )
    later = Later(delay_s=settings.late_s)
    faults = ArmedFaults()
    answers = Answers(
        store, page_key=_derive(bearer, "3ds page"), public_url=public_url.rstrip("/")
    )
    gateway = Gateway(
        store=store,
        answers=answers,
        events=webhooks,
        later=later,
        fingerprint_key=_derive(bearer, "fingerprint"),
    )
    if settings.state is not None:
        gateway.resume()
    control = Control(store=store, answers=answers, faults=faults, webhooks=webhooks, later=later)
    routes = Routes(
        gateway=gateway,
        control=control,
        faults=faults,
        store=store,
        answers=answers,
        bearer=bearer,
    )
    return Shared(routes=routes, webhooks=webhooks)


async def _sweep(shared: Shared) -> None:
    loop = asyncio.get_running_loop()
    while True:
        shared.date = _date_line()
        for connection in list(shared.connections):
            connection.sweep(loop.time())
        await asyncio.sleep(1.0)


async def _drain(shared: Shared) -> None:
    shared.draining = True
    for connection in list(shared.connections):
        connection.drain()
    if shared.tasks:
        await asyncio.wait(set(shared.tasks), timeout=DRAIN_TIMEOUT_S)
    for task in set(shared.tasks):
        task.cancel()
    await asyncio.gather(*shared.tasks, return_exceptions=True)
    await shared.webhooks.drain(timeout_s=2.0)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _date_line() -> bytes:
    return b"date: %b\r\n" % formatdate(usegmt=True).encode()


def _derive(bearer: bytes, purpose: str) -> bytes:
    return hmac.digest(bearer, f"strongroom sandbox {purpose}".encode(), hashlib.sha256)


def _write_ready(path: Path, content: dict[str, object]) -> None:
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(encode(content) + b"\n")
    fresh.replace(path)

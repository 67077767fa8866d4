"""A listening face of the vault: one socket, a TLS context that follows renewed files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from strongroom.kernel.errors import StrongroomError
from strongroom.vault.remote.gate import Gate, Refuse
from strongroom.vault.remote.tls import Files, server_context


class Accepting(Protocol):
    """What takes the connections of a listener."""

    @property
    def refuse(self) -> Refuse:
        """Hears of who was turned away."""
        ...

    def connection(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""
        ...

    async def drain(self, timeout_s: float) -> None:
        """Take no more, wait for what is under way, close."""
        ...


RELOAD_S = 0.5
"""Renewed files and new authorities are in use within this time."""

_BACKLOG = 256
_log = logging.getLogger("strongroom.vault")


class Listener:
    """Accepts peers for a `Host` on one socket.

    Args:
        host: what takes the connections.
        sock: a listening socket.
        files: the certificate, followed while they change.
        context: makes a TLS context of the files.
    """

    def __init__(
        self,
        host: Accepting,
        sock: socket.socket,
        *,
        files: Files,
        reload_s: float = RELOAD_S,
        context: Callable[[Files], ssl.SSLContext] = server_context,
    ) -> None:
        self._host = host
        self._socket = sock
        self._files = files
        self._reload_s = reload_s
        self._make = context
        self._stamp: tuple[int, ...] = ()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    async def start(self) -> Listener:
        """Begin to accept.

        Raises:
            StrongroomError: `certificate_unusable`.
        """
        self._load()
        self._gate = Gate(self._host.connection, lambda: self._context, refuse=self._host.refuse)
        self._socket.listen(_BACKLOG)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._gate.accept(self._socket)),
            loop.create_task(self._follow()),
        ]
        return self

    async def stop(self, *, drain_s: float = 0.0) -> None:
        """Stop accepting, let calls under way end within `drain_s`, close."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._gate.close()
        self._socket.close()
        await self._host.drain(drain_s)

    def _load(self) -> None:
        """Take the certificate files as they are now; earlier connections stay."""
        stamp = self._files.stamp() if self._files.key.exists() else ()
        self._context = self._make(self._files)
        self._stamp = stamp

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._reload_s)
            with contextlib.suppress(OSError):  # a file that is being replaced
                if self._files.stamp() == self._stamp:
                    continue
                try:
                    self._load()
                except StrongroomError as error:
                    _log.error("renewed certificate not taken: %s", error.public)

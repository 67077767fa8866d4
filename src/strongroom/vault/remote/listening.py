"""A listening vault: one socket, a TLS context that follows renewed certificate files."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket

from strongroom.kernel.errors import StrongroomError
from strongroom.vault.remote.hosting import Host
from strongroom.vault.remote.tls import Files, server_context

RELOAD_S = 5.0
_HANDSHAKE_S = 5.0
_BACKLOG = 256
_log = logging.getLogger("strongroom.vault")


class Listener:
    """Accepts peers for a `Host` on one socket."""

    def __init__(
        self, host: Host, sock: socket.socket, *, files: Files, reload_s: float = RELOAD_S
    ) -> None:
        self._host = host
        self._socket = sock
        self._files = files
        self._reload_s = reload_s
        self._server: asyncio.Server | None = None
        self._stamp: tuple[int, ...] = ()
        self._following: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._socket.getsockname()[1])

    async def start(self) -> Listener:
        """Begin to accept.

        Raises:
            StrongroomError: `certificate_unusable`.
        """
        await self._accept()
        self._following = asyncio.get_running_loop().create_task(self._follow())
        return self

    async def stop(self, *, drain_s: float = 0.0) -> None:
        """Stop accepting, let calls under way end within `drain_s`, close."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        self._socket.close()
        await self._host.drain(drain_s)

    async def _accept(self) -> None:
        """Listen with the certificate files as they are now; earlier connections stay."""
        context = server_context(self._files)
        self._stamp = self._files.stamp()
        before, self._server = (
            self._server,
            await asyncio.get_running_loop().create_server(
                self._host.connection,
                sock=self._socket.dup(),
                ssl=context,
                backlog=_BACKLOG,
                ssl_handshake_timeout=_HANDSHAKE_S,
            ),
        )
        if before is not None:
            before.close()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._reload_s)
            with contextlib.suppress(OSError):  # a file that is being replaced
                if self._files.stamp() == self._stamp:
                    continue
                try:
                    await self._accept()
                except StrongroomError as error:
                    _log.error("renewed certificate not taken: %s", error.public)

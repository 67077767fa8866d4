"""Accepts connections: bounded in all, for each source and while they shake hands; TLS or plain.

Connections are accepted by us rather than by uvicorn's server, so that a flood is turned away
before it costs a handshake, and so that renewed certificates need no restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Iterator

import uvicorn

from strongroom.api.server import Application, BoundedProtocol, server_config
from strongroom.api.tls import Contexts, TlsFiles
from strongroom.kernel.edge_limits import (
    CONNECTIONS_MAX,
    DESCRIPTORS_KEPT,
    HANDSHAKE_TIMEOUT_S,
    HANDSHAKES_MAX,
    SOURCE_CONNECTIONS_MAX,
    STALLED_MAX_MS,
)

_PAUSE_S = 0.05
_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", 18)
_log = logging.getLogger("strongroom.edge")


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling; ours drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    """Serves an application on a listening socket.

    Args:
        api: the application.
        sock: a listening socket, which other processes may share.
        tls: what to serve TLS with; None serves plain HTTP, for this machine or behind a proxy.

    Raises:
        StrongroomError: `certificate_unusable`, naming the file.
    """

    def __init__(
        self, api: Application, sock: socket.socket, *, tls: TlsFiles | None = None
    ) -> None:
        self._api = api
        self._socket = sock
        self._contexts = None if tls is None else Contexts(tls)
        self._server = _Server(server_config(api))
        self._connections_max = _connections_max()
        self._sources: Counter[str] = Counter()
        self._handshakes: dict[asyncio.Task[None], None] = {}
        self._accepting: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Serve until `stop`."""
        self._socket.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())
        try:
            await self._server.serve(sockets=[])
        finally:
            await self._stop_accepting()

    async def stop(self) -> None:
        """Refuse new requests, let those under way end, then end `serve`."""
        await self._api.drain()
        await self._stop_accepting()
        self._server.should_exit = True

    async def _stop_accepting(self) -> None:
        ending = [*self._handshakes, *([self._accepting] if self._accepting else [])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._socket)
            except OSError as error:  # out of descriptors, or the caller left already
                _log.warning("a connection was not accepted: %s", type(error).__name__)
                await asyncio.sleep(_PAUSE_S)
                continue
            with contextlib.suppress(OSError):  # it may be gone again
                connection.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, STALLED_MAX_MS)
            source = _source(address)
            if self._has_room(source):
                self._begin(connection, source)
            else:
                connection.close()

    def _has_room(self, source: str) -> bool:
        if self._sources.total() >= self._connections_max:
            return False
        return self._sources[source] < SOURCE_CONNECTIONS_MAX or self._api.trusts(source)

    def _begin(self, connection: socket.socket, source: str) -> None:
        """Shake hands; with too many who do, the one who has taken longest is let go."""
        while len(self._handshakes) >= HANDSHAKES_MAX:
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]
            oldest.cancel()
        self._sources[source] += 1
        task = asyncio.create_task(self._shake(connection, self._release(source)))
        self._handshakes[task] = None
        task.add_done_callback(lambda done: self._handshakes.pop(done, None))

    def _release(self, source: str) -> Callable[[], None]:
        """Return what gives a connection's place back, once."""
        held = [source]

        def release() -> None:
            if held:
                held.clear()
                self._sources[source] -= 1
                if not self._sources[source]:
                    del self._sources[source]

        return release

    async def _shake(self, connection: socket.socket, release: Callable[[], None]) -> None:
        serving = None if self._contexts is None else self._contexts.current()
        made: list[BoundedProtocol] = []

        def protocol() -> BoundedProtocol:
            one = BoundedProtocol(
                config=self._server.config,
                server_state=self._server.server_state,
                app_state={},
            )
            one.released = release
            one.workloads = frozenset() if serving is None else serving.workloads
            made.append(one)
            return one

        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                protocol,
                connection,
                ssl=None if serving is None else serving.context,
                ssl_handshake_timeout=None if serving is None else HANDSHAKE_TIMEOUT_S,
            )
        except (OSError, ssl.SSLError, TimeoutError):
            connection.close()
        finally:
            if not (made and made[0].connected):
                release()


def _source(address: object) -> str:
    """Return whose connections count together: an IPv4 address, or an IPv6 network of 64 bits."""
    if not isinstance(address, tuple):
        return ""
    found = ipaddress.ip_address(str(address[0]).partition("%")[0])
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)).network_address)


def _connections_max() -> int:
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(1, min(CONNECTIONS_MAX, descriptors - DESCRIPTORS_KEPT))

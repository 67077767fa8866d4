"""uvicorn as we run it: bounded request lines and headers, bounded waiting, our own error form.

uvicorn's httptools protocol has no bound on the size of a URL, of headers or of the queue of
requests, waits for ever for a request that never completes or an answer that is never read, and
takes trailers for headers; the subclass here adds bounds, `requestline`'s rules and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from strongroom.api import headers, problems
from strongroom.api.arrival import PEER
from strongroom.api.requestline import fault
from strongroom.api.tls import peer_of, seconds_left
from strongroom.identity import Peer
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.kernel.limits import REQUEST_TIMEOUT_S

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

URL_BYTES_MAX = 4_096
"""A path has at most 512 bytes and a query 2 kB; the rest is room for gateways that return."""

HEADER_BYTES_MAX = 16_384
HEADERS_MAX = 64
"""Honest clients send about 1 kB in 20 headers; a chain of proxies adds some."""

MESSAGE_BYTES_MAX = 1_048_576
"""One request with everything around its body: a 64 kB body in one-byte chunks is 400 kB."""

HEADER_TIMEOUT_S = 10
"""How long a connection may take to send a request's headers before it is closed."""

BODY_TIMEOUT_S = 20
"""How long a request's body may take: 64 kB at the pace of the slowest mobile networks."""

WRITE_TIMEOUT_S = 30
"""How long a caller may let an answer lie before it is hung up on."""

PIPELINED_MAX = 64
"""Requests that wait on one connection; honest clients send the next one after the answer."""

KEEP_ALIVE_S = 75
"""How long an idle connection is kept: longer than the usual 60 s of proxies in front."""

_EXPIRY_MAX_S = 86_400.0
"""A connection by a client certificate ends with it, and after a day at the latest."""

BACKLOG = 2_048


class Application(Protocol):
    """What is served: the API alone, or with another face of the process beside it."""

    def trusts(self, address: str) -> bool:
        """Whether connections from this address are a proxy's that the settings trust."""
        ...

    async def drain(self) -> bool:
        """Refuse new requests and wait for those under way."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        ...


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    `released` is called once it is gone; `workloads` are the certificates of our own authority.
    """

    released: Callable[[], None] = staticmethod(lambda: None)
    workloads: frozenset[bytes] = frozenset()
    connected = False
    _peer: Peer | None = None
    _running: RequestResponseCycle | None = None
    _stalled: asyncio.TimerHandle | None = None
    _expiry: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start waiting for the first request."""
        super().connection_made(transport)
        self.connected = True
        connection = transport.get_extra_info("ssl_object")
        self._peer = peer_of(connection, self.workloads)
        left_s = seconds_left(connection)
        if left_s is not None:
            self._expiry = self.loop.call_later(min(left_s, _EXPIRY_MAX_S), self.shutdown)
        self._size = self._count = self._received = 0
        self._in_head, self._refused = True, False
        self._patience = self.loop.call_later(HEADER_TIMEOUT_S, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._patience.cancel()
        for timer in (self._stalled, self._expiry):
            if timer is not None:
                timer.cancel()
        self.released()
        for cycle in (self._running, *(waiting for waiting, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True  # uvicorn tells the newest request only
                cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which itself would collect a header without end."""
        self._received += len(data)
        super().data_received(data)
        if self._in_head and self._received > URL_BYTES_MAX + HEADER_BYTES_MAX:
            self._refuse("headers_too_large", "The request has too many or too large headers.")
        elif self._received > MESSAGE_BYTES_MAX:
            self._refuse("body_too_large", "The request is too large.")
        elif self._received and self._patience.cancelled() and not self._refused:
            # Empty lines begin no request, but have ended uvicorn's waiting for the next one.
            self._patience = self.loop.call_later(HEADER_TIMEOUT_S, self._give_up)

    def on_message_begin(self) -> None:
        """Count anew for each request."""
        super().on_message_begin()
        cast("dict[str, object]", self.scope)[PEER] = self._peer
        self._size = self._count = 0
        self._in_head = True
        self._patience.cancel()
        self._patience = self.loop.call_later(HEADER_TIMEOUT_S, self._give_up)

    def on_url(self, url: bytes) -> None:
        """Refuse URLs that are too long."""
        super().on_url(url)
        if len(self.url) > URL_BYTES_MAX:
            self._refuse("url_too_long", "The URL is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Refuse too many or too large headers."""
        if self._in_head:  # what follows the body is counted, and read by nobody
            super().on_header(name, value)
        self._size += len(name) + len(value)
        self._count += 1
        if self._size > HEADER_BYTES_MAX or self._count > HEADERS_MAX:
            self._refuse("headers_too_large", "The request has too many or too large headers.")

    def on_headers_complete(self) -> None:
        """Hand the request on."""
        self._patience.cancel()
        self._in_head = False
        version = self.parser.get_http_version()
        method = self.parser.get_method().decode("ascii")
        if version not in ("1.1", "1.0") or fault(version, method, self.url, self.headers):
            self._refuse("invalid_http", "The request is not valid HTTP/1.1.")
        if self.parser.should_upgrade():  # uvicorn would drop what follows, the body with it
            self._refuse("invalid_http", "No other protocol is spoken here. Leave Upgrade out.")
        if not self._refused:
            self._patience = self.loop.call_later(BODY_TIMEOUT_S, self._give_up_body)
            super().on_headers_complete()
        if len(self.pipeline) > PIPELINED_MAX:
            self._refuse("invalid_http", "Too many requests were sent at once.")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the end of the body."""
        self._received = 0
        self._patience.cancel()
        if not self._refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP (smuggling attempts among it) in our own form, and hang up."""
        self._refuse("invalid_http", "The request is not valid HTTP/1.1.")

    def pause_writing(self) -> None:
        """Wait a while for the caller to read on."""
        super().pause_writing()
        self._stalled = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    @property
    def _answering(self) -> bool:
        """Whether the answer to a complete request is still to come on this connection."""
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        return bool(self.pipeline) or cycle.response_started or not cycle.more_body

    def _give_up(self) -> None:
        if self._answering:  # its end starts no waiting for what was begun meanwhile
            self._patience = self.loop.call_later(HEADER_TIMEOUT_S, self._give_up)
            return
        if self._received == 0:  # an answer could meet a request that is just being sent
            self.transport.close()
        else:
            self._refuse("header_timeout", "The request took too long to arrive.")

    def _give_up_body(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self.transport.close()  # answered without its body, which still drips in
        else:
            self._refuse("header_timeout", "The request took too long to arrive.")

    def _refuse(self, code: str, public: str) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._patience.cancel()
        if not self._answering:  # else it would be read as the answer to the request before
            self.transport.write(_raw_problem(StrongroomError(code, public)))
        self.transport.close()


def server_config(
    api: Application,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    fd: int | None = None,
) -> uvicorn.Config:
    """Return how uvicorn is to run the application."""
    return uvicorn.Config(
        api,
        host=host,
        port=port,
        fd=fd,
        http=BoundedProtocol,
        ws="none",
        loop="uvloop",
        lifespan="off",
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(REQUEST_TIMEOUT_S),
    )


def _raw_problem(error: StrongroomError) -> bytes:
    request = new_id("req")
    instance = f"urn:strongroom:request:{request}"
    body = problems.body(error, request=request, instance=instance, doc_base="")
    status = problems.status_of(error.code)
    fields = [
        *headers.SECURITY,
        (b"content-type", headers.PROBLEM),
        (b"content-length", str(len(body)).encode()),
        (b"request-id", request.encode()),
        (b"connection", b"close"),
    ]
    head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
    head += [name + b": " + value for name, value in fields]
    return b"\r\n".join([*head, b"", body])

"""One HTTP/1.1 connection: parses with httptools, answers in order, and can break on purpose.

Calls are processed synchronously as soon as they are whole; only a fault or a long answer takes a
task.
Refuses heads and bodies over the limits, and senders that take too long.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from collections.abc import Coroutine
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, NamedTuple, cast

import httptools

from strongroom.gateways.sandbox_server.delivery import deliver
from strongroom.gateways.sandbox_server.errors import Refused
from strongroom.gateways.sandbox_server.limits import (
    BODY_BYTES_MAX,
    HEAD_BYTES_MAX,
    IDLE_TIMEOUT_S,
    PIPELINE_MAX,
    REQUEST_TIMEOUT_S,
)
from strongroom.gateways.sandbox_server.messages import Answer, Incoming, refusal
from strongroom.gateways.sandbox_server.routes import Routes
from strongroom.gateways.sandbox_server.webhooks import Webhooks

_log = logging.getLogger("strongroom.sandbox")

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Shared:
    """What all connections of a server share."""

    def __init__(self, *, routes: Routes, webhooks: Webhooks) -> None:
        self.routes = routes
        self.webhooks = webhooks
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.date = b""
        self.draining = False

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something that outlives its connection if need be."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class _Whole(NamedTuple):
    request: Incoming
    keep_alive: bool
    chunks: bool


class Connection(asyncio.Protocol):
    """The server's side of one TCP connection."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[_Whole] = deque()
        self._writable = asyncio.Event()
        self._writable.set()
        self._busy = False
        self._receiving = False
        self._since = self._loop.time()
        self._keep_alive = True
        self._refused: Refused | None = None
        self._transport: asyncio.Transport

    # --- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        peer = transport.get_extra_info("peername")
        self._from_loopback = _is_loopback(str(peer[0])) if peer else False
        self._shared.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End; a call under way is still processed."""
        self._shared.connections.discard(self)
        self._writable.set()
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            refused = self._refused or Refused(400, "invalid_request", "This is not HTTP/1.1.")
            self._keep_alive = False
            if self._busy:
                self.close()  # another answer is half written
            else:
                self.send(refusal(refused))

    def pause_writing(self) -> None:
        """Stop reading from a caller that does not read."""
        self._writable.clear()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable.set()
        self._transport.resume_reading()

    # --- what the parser calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._receiving, self._since = True, self._loop.time()
        self._url = b""
        self._body = b""
        self._head_bytes = 0
        self._headers: dict[bytes, bytes] = {}

    def on_url(self, url: bytes) -> None:
        """Take (a part of) the target."""
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field."""
        self._headers[name.lower()] = value
        self._count_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """Let the caller send the body if it waits to be asked."""
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Take (a part of) the body."""
        self._body += body
        if len(self._body) > BODY_BYTES_MAX:
            self._refuse(Refused(413, "body_too_large", f"At most {BODY_BYTES_MAX} bytes."))

    def on_message_complete(self) -> None:
        """Answer the request, or queue it behind the one under way."""
        self._receiving, self._since = False, self._loop.time()
        path, _, query = self._url.partition(b"?")
        method = self._parser.get_method().decode("ascii")
        text = path.decode("latin-1")
        request = Incoming(method, text, query, self._headers, self._body, self._from_loopback)
        chunks = self._parser.get_http_version() == "1.1"
        self._waiting.append(_Whole(request, self._parser.should_keep_alive(), chunks))
        if not self._busy:
            self._answer_waiting()
        elif len(self._waiting) > PIPELINE_MAX:
            self._refuse(Refused(429, "too_many_requests", "Too many requests are pipelined."))

    # --- answering

    def _answer_waiting(self) -> None:
        routes = self._shared.routes
        while self._waiting and not self.closed:
            request, keep_alive, chunks = self._waiting.popleft()
            self._keep_alive = keep_alive and not self._shared.draining
            call = routes.prepare(request)
            if call.fault is not None:
                self._busy = True
                work = deliver(
                    call, call.fault, wire=self, routes=routes, hooks=self._shared.webhooks
                )
                self._shared.spawn(self._finish(work))
                return
            answer = routes.perform(call)
            if answer.pieces is not None:
                self._busy = True
                self._shared.spawn(self._finish(self._stream(answer, chunks=chunks)))
                return
            self.send(answer)

    async def _finish(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - logged; the caller sees a closed connection
            _log.exception("an answer failed")
            self.close()
        self._busy, self._since = False, self._loop.time()
        if not self.closed:
            self._answer_waiting()

    async def _stream(self, answer: Answer, *, chunks: bool) -> None:
        framing = b"transfer-encoding: chunked\r\n" if chunks else b""
        self._keep_alive = self._keep_alive and chunks
        self.send_raw(self._head(answer, framing))
        for piece in answer.pieces or ():
            if self.closed:
                return
            if piece:
                self.send_raw(b"%x\r\n%b\r\n" % (len(piece), piece) if chunks else piece)
            await self._writable.wait()
            await asyncio.sleep(0)
        if chunks:
            self.send_raw(b"0\r\n\r\n")
        if not self._keep_alive:
            self.close()

    # --- the Wire of delivery.py

    @property
    def closed(self) -> bool:
        """Whether the caller has gone."""
        return self._transport.is_closing()

    def send(self, answer: Answer) -> None:
        """Send an answer, whole."""
        length = b"content-length: %d\r\n" % len(answer.body)
        self.send_raw(self._head(answer, length) + answer.body)
        if not self._keep_alive:
            self.close()

    def send_head(self, answer: Answer) -> None:
        """Send the head that announces an answer's body."""
        self.send_raw(self._head(answer, b"content-length: %d\r\n" % len(answer.body)))

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        if not self.closed:
            self._transport.write(data)

    def close(self) -> None:
        """Send what is waiting, then close."""
        self._transport.close()

    def reset(self) -> None:
        """Break the connection with a TCP reset: no linger, then abort."""
        if self.closed:
            return
        link = self._transport.get_extra_info("socket")
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    # --- limits and ending

    def sweep(self, now: float) -> None:
        """Close when nothing has come for too long."""
        limit_s = REQUEST_TIMEOUT_S if self._receiving else IDLE_TIMEOUT_S
        if not self._busy and now - self._since > limit_s:
            self.close()

    def drain(self) -> None:
        """Close now if idle, else after the answer under way."""
        self._keep_alive = False
        if not self._busy:
            self.close()

    def _head(self, answer: Answer, framing: bytes) -> bytes:
        extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        if not self._keep_alive:
            extra += "connection: close\r\n"
        line = _STATUS_LINES.get(answer.status) or b"HTTP/1.1 %d Status\r\n" % answer.status
        return b"%b%bcontent-type: %b\r\ncache-control: no-store\r\n%b%b\r\n" % (
            line, self._shared.date, answer.content_type.encode(), framing, extra.encode("latin-1")
        )  # fmt: skip

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse(Refused(431, "head_too_large", f"At most {HEAD_BYTES_MAX} bytes."))

    def _refuse(self, refused: Refused) -> None:
        self._refused = refused
        raise refused  # the parser stops; `data_received` answers


def _is_loopback(peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback

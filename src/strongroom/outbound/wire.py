"""One HTTP/1.1 connection to another server: one request at a time, one strictly parsed answer.

It knows exactly whether a byte of an answer came, which is what a second sending turns on. No
redirects, cookies, proxies, compression or pipelining; the answer is bounded while it is read.
llhttp (through httptools) parses, in its strict mode.
"""

from __future__ import annotations

import asyncio
from typing import NoReturn

import httptools

from strongroom.kernel.limits import GATEWAY_HEAD_MAX_BYTES, MAX_GATEWAY_ANSWER_BYTES

_INFORMATIONAL = range(100, 200)
_SWITCHING = 101


class Broken(Exception):
    """The connection ended before a single byte of the answer; `reused` tells an old connection."""

    def __init__(self, *, reused: bool) -> None:
        super().__init__("connection ended before the answer")
        self.reused = reused


class Unusable(Exception):
    """Bytes were written and no usable answer came; the request may have arrived."""


class Answer:
    """An answer while it is read."""

    __slots__ = ("body", "complete", "headers", "size", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.size = 0
        self.complete = False


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time.

    Args:
        body_max_bytes: the largest body of an answer that is taken.
    """

    def __init__(self, body_max_bytes: int = MAX_GATEWAY_ANSWER_BYTES) -> None:
        self._body_max_bytes = body_max_bytes
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._answer = Answer()
        self._parser = httptools.HttpResponseParser(self)
        self._refusal: Unusable | None = None
        self._bytes_before_body = 0
        self._header_bytes = 0
        self._got_bytes = False
        self._in_head = True
        self._keep_alive = False
        self._lost = False
        self.exchanges = 0
        self.idle_until = 0.0

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request under way, if any."""
        self._lost = True
        self._fail_ended()

    def eof_received(self) -> bool:
        """Close our side too; answers must say their own length."""
        self._fail_ended()
        return False

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._waiter is None:
            self.abort()  # bytes nobody asked for
            return
        self._got_bytes = True
        if self._in_head:
            self._bytes_before_body += len(data)
            # A head may arrive in one read together with a whole body.
            if self._bytes_before_body > GATEWAY_HEAD_MAX_BYTES + self._body_max_bytes:
                self._fail(Unusable("the answer's head is too large"))
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(self._refusal or Unusable("the answer is not HTTP"))

    # --- httptools callbacks ---

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; repeated ones are joined."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > GATEWAY_HEAD_MAX_BYTES:
            self._refuse("the answer's head is too large")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers = self._answer.headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        """Check the status and the coding before any of the body is taken."""
        answer = self._answer
        self._in_head = False
        answer.status = self._parser.get_status_code()
        if answer.headers.get("content-encoding", "identity") != "identity":
            self._refuse("the answer is compressed although nobody asked")

    def on_body(self, chunk: bytes) -> None:
        """Take a piece of the body, up to the limit."""
        answer = self._answer
        answer.size += len(chunk)
        if answer.size > self._body_max_bytes:
            self._refuse("the answer is too large")
        answer.body.append(chunk)

    def on_message_complete(self) -> None:
        """Hand the answer over; interim answers (103 and the like) are passed by."""
        answer = self._answer
        if answer.status in _INFORMATIONAL:
            if answer.status == _SWITCHING:
                self._refuse("the other side switched protocols")
            self._begin()
            return
        if answer.complete or self._waiter is None:
            self._refuse("more than one answer")
        answer.complete = True
        self._keep_alive = bool(self._parser.should_keep_alive())
        waiter, self._waiter = self._waiter, None
        if not waiter.done():
            waiter.set_result(answer)

    # --- the pool's side ---

    @property
    def usable(self) -> bool:
        """Whether the connection was open when the loop last looked."""
        transport = self._transport
        return transport is not None and not self._lost and not transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Whether the last exchange left the connection clean."""
        return self.usable and self._waiter is None and self._keep_alive

    async def exchange(self, data: bytes) -> Answer:
        """Write a request and wait for its answer. Time-outs are the caller's.

        Raises:
            Broken: the connection ended before the first byte of the answer.
            Unusable: it ended later, or the answer is unusable.
        """
        transport = self._transport
        if transport is None or not self.usable:
            raise Broken(reused=True)
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiter = waiter
        self._got_bytes = self._keep_alive = False
        self._begin()
        self.exchanges += 1
        transport.write(data)
        try:
            return await waiter
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._lost = True
        if self._transport is not None:
            self._transport.abort()

    def expire(self) -> None:
        """End the exchange under way: its time is over."""
        self._fail(Unusable("no complete answer in time"))

    def close(self) -> None:
        """Close an idle connection properly."""
        if self._transport is not None:
            self._transport.close()

    def _begin(self) -> None:
        self._answer = Answer()
        self._in_head = True
        self._bytes_before_body = self._header_bytes = 0

    def _refuse(self, why: str) -> NoReturn:
        """Stop parsing; httptools wraps what a callback raises, so the reason is kept aside."""
        self._refusal = Unusable(why)
        raise self._refusal

    def _fail_ended(self) -> None:
        if not self._got_bytes:
            self._fail(Broken(reused=self.exchanges > 1))
        else:
            self._fail(Unusable("the connection ended within the answer"))

    def _fail(self, error: Exception) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)
        self.abort()

"""A server made of raw sockets, so that tests can answer as no well-behaved library would."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from strongroom.kernel.secret import Secret
from strongroom.vault import OutboundRequest, Slot

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[bool | None]]
"""Gets the raw request; returns False to close the connection."""


def answer(body: bytes = b"{}", *, status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


class FakeGateway:
    """Keeps what it got; `respond` says what it does with each request."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.respond: Handler = self._ok
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    @property
    def origin(self) -> str:
        host = "localhost" if self._tls else "127.0.0.1"
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def bodies(self) -> list[bytes]:
        return [request.partition(b"\r\n\r\n")[2] for request in self.requests]

    async def start(self) -> FakeGateway:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0.01)

    def drop_idle(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def say(self, raw: bytes) -> None:
        """Answer every request with these bytes."""

        async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
            writer.write(raw)

        self.respond = respond

    async def _ok(self, _: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                body = await reader.readexactly(length) if length else b""
                self.requests.append(head + body)
                if await self.respond(head + body, writer) is False:
                    return
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()


async def close_at_once(_: bytes, writer: asyncio.StreamWriter) -> bool:
    return False


async def silence(_: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def reset(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def drip(_: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _byte in range(1000):
        writer.write(b"x")
        await asyncio.sleep(0.05)


CARD_BODY = (
    '{"card":{"number":',
    Slot.NUMBER,
    ',"exp_month":',
    Slot.EXP_MONTH,
    ',"exp_year":',
    Slot.EXP_YEAR,
    (',"cvc":', Slot.CVC),
    (',"holder_name":', Slot.HOLDER_NAME),
    "}}",
)


def post(gateway: FakeGateway, **more: object) -> OutboundRequest:
    given = {
        "method": "POST",
        "url": f"{gateway.origin}/v1/charges?x=1",
        "headers": (("Content-Type", "application/json"), ("Authorization", Secret("Bearer k"))),
        "timeout_ms": 2_000,
        **more,
    }
    return OutboundRequest(**given)  # type: ignore[arg-type]

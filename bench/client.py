"""A small HTTP/1.1 load generator: kept-alive connections, one request at a time on each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import msgspec


class Connection(asyncio.Protocol):
    """One connection; `call` sends a request and waits for its whole answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect an answer with a Content-Length, or one in chunks."""
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or not _whole(head.lower(), body):
            return
        self._buffer = b""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail what waits."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("closed"))

    async def call(self, request: bytes) -> tuple[int, bytes]:
        """Return status and body."""
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


def _whole(head: bytes, body: bytes) -> bool:
    """Return whether all of the body is there; no answer here has trailers."""
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"\r\n0\r\n\r\n")
    start = head.find(b"content-length:") + 15
    end = head.find(b"\r\n", start)
    return len(body) >= int(head[start : end if end > 0 else None])


class Result(msgspec.Struct):
    """What a run gave: answers by status, latencies in ms, seconds it took."""

    statuses: dict[int, int]
    latencies_ms: list[float]
    seconds: float

    @property
    def per_s(self) -> float:
        """Answers with the most frequent status, each second."""
        return max(self.statuses.values(), default=0) / self.seconds

    def percentile(self, q: float) -> float:
        """Return the q-quantile (0 to 1) of the latencies in ms."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0


def post(host: str, port: int, path: str, key: str) -> Callable[[bytes, str | None], bytes]:
    """Return a function that makes the bytes of a POST with a body and an idempotency key."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\n"
    ).encode()

    def make(body: bytes, idempotency_key: str | None) -> bytes:
        named = f'Idempotency-Key: "{idempotency_key}"\r\n'.encode() if idempotency_key else b""
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, named, len(body), body)

    return make


async def connect(host: str, port: int, count: int) -> list[Connection]:
    """Open connections."""
    loop = asyncio.get_running_loop()
    pairs = [await loop.create_connection(Connection, host, port) for _ in range(count)]
    return [protocol for _, protocol in pairs]


async def closed_loop(
    connections: list[Connection],
    requests: Iterator[bytes],
    seconds: float,
    tick: Callable[[int], None] = lambda _: None,
) -> Result:
    """Each connection sends its next request as soon as it has its answer."""
    statuses: dict[int, int] = {}
    latencies: list[float] = []
    started = time.perf_counter()
    deadline = started + seconds

    async def work(connection: Connection) -> None:
        while (now := time.perf_counter()) < deadline:
            status, _ = await connection.call(next(requests))
            latencies.append((time.perf_counter() - now) * 1000)
            statuses[status] = statuses.get(status, 0) + 1
            tick(len(latencies))

    await asyncio.gather(*map(work, connections))
    return Result(statuses, latencies, time.perf_counter() - started)


async def open_loop(
    connections: list[Connection], requests: Iterator[bytes], per_s: float, seconds: float
) -> Result:
    """Requests start on schedule; latency counts from the scheduled moment, waiting included."""
    statuses: dict[int, int] = {}
    latencies: list[float] = []
    free: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in connections:
        free.put_nowait(connection)
    started = time.perf_counter()
    running: set[asyncio.Task[None]] = set()

    async def one(scheduled: float, connection: Connection) -> None:
        status, _ = await connection.call(next(requests))
        latencies.append((time.perf_counter() - scheduled) * 1000)
        statuses[status] = statuses.get(status, 0) + 1
        free.put_nowait(connection)

    for number in range(int(per_s * seconds)):
        scheduled = started + number / per_s
        await _until(scheduled)
        task = asyncio.create_task(one(scheduled, await free.get()))
        running.add(task)
        task.add_done_callback(running.discard)
    await asyncio.gather(*running)
    return Result(statuses, latencies, time.perf_counter() - started)


async def _until(moment: float) -> None:
    wait = moment - time.perf_counter()
    if wait > 0:
        await asyncio.sleep(wait)


async def warm(call: Callable[[], Awaitable[object]], times: int) -> None:
    """Call something some times, so that caches and plans are made."""
    for _ in range(times):
        await call()

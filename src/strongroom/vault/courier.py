"""Sends filled requests to allowed origins over kept-alive connections and bounds everything.

Nothing is retried, with one exception: a *repeatable* request (idempotency key, or a read) whose
kept-alive connection turns out to be dead before the first byte of an answer goes out once more, on
a fresh connection. Whatever fails before bytes are written is NotSent; after that, OutcomeUnknown.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import deque
from typing import Literal

from strongroom.kernel.clock import Clock
from strongroom.kernel.limits import (
    EGRESS_CONNECTIONS_MAX,
    EGRESS_IDLE_S,
    GATEWAY_CONNECT_TIMEOUT_MS,
)
from strongroom.kernel.secret import Secret
from strongroom.vault.egress import (
    EgressPolicy,
    NotSent,
    OutboundRequest,
    OutcomeUnknown,
)
from strongroom.vault.origins import Origin, Origins, tls_context
from strongroom.vault.wire import Answer, Broken, Connection

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\t -~]{0,4096}")
_OURS = frozenset(
    "host content-length transfer-encoding connection accept-encoding expect upgrade te trailer "
    "keep-alive proxy-authorization proxy-connection cookie".split()
)
_KEEP_ALIVE = re.compile(r"timeout=([0-9]{1,6})")


class _Pool:
    """The connections to one origin."""

    __slots__ = ("idle", "slots")

    def __init__(self) -> None:
        self.idle: deque[Connection] = deque()
        self.slots = asyncio.Semaphore(EGRESS_CONNECTIONS_MAX)


class Courier:
    """The only way out of the house."""

    def __init__(
        self, policy: EgressPolicy, *, mode: Literal["test", "live"], clock: Clock
    ) -> None:
        self._origins = Origins(policy, mode=mode, clock=clock)
        self._tls = tls_context(policy) if self._origins.any_secure else None
        self._monotonic = clock.monotonic
        self._pools: dict[Origin, _Pool] = {}
        self._closed = False

    async def send(self, request: OutboundRequest, body: bytes) -> Answer:
        """Send a request and return its answer.

        Raises:
            NotSent: the gateway certainly got nothing.
            OutcomeUnknown: it may have.
        """
        origin, target = self._origins.find(request.url)
        head = _head(request, origin, target)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = _Pool()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.timeout_ms / 1000
        await self._slot(pool, deadline)
        try:
            connection = self._idle(pool) or await self._connect(origin, deadline)
            try:
                return await self._exchange(connection, pool, head, body, deadline)
            except Broken as broken:
                repeatable = request.repeatable or request.method == "GET"
                if not (broken.reused and repeatable):
                    raise OutcomeUnknown("the connection ended before the answer") from None
            return await self._again(origin, pool, head, body, deadline)
        finally:
            pool.slots.release()

    def check(self, request: OutboundRequest) -> None:
        """Raise NotSent when the request could never be sent."""
        origin, target = self._origins.find(request.url)
        _head(request, origin, target)

    async def close(self) -> None:
        """Close idle connections; those at work end with their requests."""
        self._closed = True
        for pool in self._pools.values():
            while pool.idle:
                pool.idle.pop().close()
        await asyncio.sleep(0)

    async def _again(
        self, origin: Origin, pool: _Pool, head: bytes, body: bytes, deadline: float
    ) -> Answer:
        """Send a repeatable request once more; the first sending may have reached the gateway."""
        try:
            fresh = await self._connect(origin, deadline)
            return await self._exchange(fresh, pool, head, body, deadline)
        except (NotSent, Broken):
            raise OutcomeUnknown("the connection ended before the answer, twice") from None

    async def _exchange(
        self,
        connection: Connection,
        pool: _Pool,
        head: bytes,
        body: bytes,
        deadline: float,
    ) -> Answer:
        loop = asyncio.get_running_loop()
        timer = loop.call_at(deadline, connection.expire)
        try:
            answer = await connection.exchange(_message(head, body))
        finally:
            timer.cancel()
            if connection.reusable and not self._closed:
                connection.idle_until = self._monotonic() + EGRESS_IDLE_S
                pool.idle.append(connection)
            else:
                connection.abort()
        _shorten_idle(connection, answer)
        return answer

    async def _slot(self, pool: _Pool, deadline: float) -> None:
        if not pool.slots.locked():
            await pool.slots.acquire()
            return
        limit = asyncio.get_running_loop().time() + GATEWAY_CONNECT_TIMEOUT_MS / 1000
        try:
            async with asyncio.timeout_at(min(deadline, limit)):
                await pool.slots.acquire()
        except TimeoutError:
            raise NotSent("all connections to the gateway are busy") from None

    def _idle(self, pool: _Pool) -> Connection | None:
        """Return the connection used last; close the ones that waited too long."""
        now = self._monotonic()
        while pool.idle and (pool.idle[0].idle_until <= now or not pool.idle[0].usable):
            pool.idle.popleft().close()
        while pool.idle:
            connection = pool.idle.pop()
            if connection.usable and connection.idle_until > now:
                return connection
            connection.close()
        return None

    async def _connect(self, origin: Origin, deadline: float) -> Connection:
        limit = asyncio.get_running_loop().time() + GATEWAY_CONNECT_TIMEOUT_MS / 1000
        try:
            async with asyncio.timeout_at(min(deadline, limit)):
                return await self._connect_any(origin)
        except TimeoutError:
            self._origins.forget(origin)
            raise NotSent(f"no connection to {origin.host} in time") from None

    async def _connect_any(self, origin: Origin) -> Connection:
        loop = asyncio.get_running_loop()
        secure = origin.scheme == "https"
        problem = "no address"
        for address in await self._origins.addresses(origin):
            try:
                _, connection = await loop.create_connection(
                    Connection,
                    address,
                    origin.port,
                    ssl=self._tls if secure else None,
                    server_hostname=origin.host.strip("[]") if secure else None,
                )
            except ssl.SSLError as error:
                problem = f"TLS: {error.reason or type(error).__name__}"
            except OSError as error:
                problem = f"{type(error).__name__} {error.errno}"
            else:
                return connection
        self._origins.forget(origin)
        raise NotSent(f"no connection to {origin.host}: {problem}")


def _head(request: OutboundRequest, origin: Origin, target: str) -> bytes:
    """Return the request's head without Content-Length; refuses what could split a message."""
    if request.method not in _METHODS:
        raise NotSent("egress_not_allowed: method")
    lines = [
        f"{request.method} {target} HTTP/1.1",
        f"Host: {origin.authority}",
        "User-Agent: strongroom",
        "Accept-Encoding: identity",
    ]
    for name, value in request.headers:
        text = value.reveal() if isinstance(value, Secret) else value
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS or not _VALUE.fullmatch(text):
            raise NotSent(f"egress_not_allowed: header {name[:40]!r}")
        lines.append(f"{name}: {text}")
    return "\r\n".join(lines).encode("latin-1")


def _message(head: bytes, body: bytes) -> bytes:
    if not body and head.startswith(b"GET "):
        return head + b"\r\n\r\n"
    return head + f"\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def _shorten_idle(connection: Connection, answer: Answer) -> None:
    """Keep a connection less long than the server says it will (Keep-Alive: timeout=5)."""
    told = _KEEP_ALIVE.search(answer.headers.get("keep-alive", ""))
    if told is not None:
        least = connection.idle_until - EGRESS_IDLE_S + max(0, int(told[1]) - 1)
        connection.idle_until = min(connection.idle_until, least)

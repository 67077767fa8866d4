"""Sends filled requests to allowed origins over kept-alive connections and bounds everything.

Nothing is retried, with one exception: a *repeatable* request (idempotency key, or a read) whose
kept-alive connection turns out to be dead before the first byte of an answer goes out once more, on
a fresh connection. Whatever fails before bytes are written is NotSent; after that, OutcomeUnknown.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from strongroom.kernel.clock import Clock
from strongroom.kernel.limits import (
    EGRESS_CONNECTIONS_MAX,
    EGRESS_IDLE_S,
    GATEWAY_CONNECT_TIMEOUT_MS,
)
from strongroom.outbound import EgressFailed, EgressRefused, Origin, Origins, Policy
from strongroom.outbound.message import head, message
from strongroom.outbound.wire import Answer, Broken, Connection, Unusable
from strongroom.vault.egress import (
    EgressPolicy,
    NotSent,
    OutboundRequest,
    OutcomeUnknown,
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
        self._origins = Origins(
            Policy(
                origins=policy.origins,
                private_origins=policy.private_origins,
                ca_file=policy.ca_file,
                plain_loopback=mode == "test",
            ),
            clock=clock,
        )
        self._monotonic = clock.monotonic
        self._pools: dict[Origin, _Pool] = {}
        self._closed = False

    async def send(self, request: OutboundRequest, body: bytes) -> Answer:
        """Send a request and return its answer.

        Raises:
            NotSent: the gateway certainly got nothing.
            OutcomeUnknown: it may have.
        """
        origin, target = self._find(request.url)
        start = _head(request, origin, target)
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = _Pool()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + request.timeout_ms / 1000
        await self._slot(pool, deadline)
        try:
            connection = self._idle(pool) or await self._connect(origin, deadline)
            try:
                return await self._exchange(connection, pool, start, body, deadline)
            except Broken as broken:
                repeatable = request.repeatable or request.method == "GET"
                if not (broken.reused and repeatable):
                    raise OutcomeUnknown("the connection ended before the answer") from None
            return await self._again(origin, pool, start, body, deadline)
        finally:
            pool.slots.release()

    def check(self, request: OutboundRequest) -> None:
        """Raise NotSent when the request could never be sent."""
        origin, target = self._find(request.url)
        _head(request, origin, target)

    async def close(self) -> None:
        """Close idle connections; those at work end with their requests."""
        self._closed = True
        for pool in self._pools.values():
            while pool.idle:
                pool.idle.pop().close()
        await asyncio.sleep(0)

    async def _again(
        self, origin: Origin, pool: _Pool, start: bytes, body: bytes, deadline: float
    ) -> Answer:
        """Send a repeatable request once more; the first sending may have reached the gateway."""
        try:
            fresh = await self._connect(origin, deadline)
            return await self._exchange(fresh, pool, start, body, deadline)
        except (NotSent, Broken):
            raise OutcomeUnknown("the connection ended before the answer, twice") from None

    async def _exchange(
        self,
        connection: Connection,
        pool: _Pool,
        start: bytes,
        body: bytes,
        deadline: float,
    ) -> Answer:
        loop = asyncio.get_running_loop()
        timer = loop.call_at(deadline, connection.expire)
        try:
            answer = await connection.exchange(message(start, body))
        except Unusable as error:
            raise OutcomeUnknown(str(error)) from None
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

    def _find(self, url: str) -> tuple[Origin, str]:
        with _refusals():
            return self._origins.find(url)

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
                with _refusals():
                    return await self._origins.connect(origin, Connection)
        except TimeoutError:
            self._origins.forget(origin)
            raise NotSent(f"no connection to {origin.host} in time") from None


def _head(request: OutboundRequest, origin: Origin, target: str) -> bytes:
    with _refusals():
        return head(request.method, target, origin.authority, request.headers)


@contextmanager
def _refusals() -> Iterator[None]:
    """Tell what the rules of egress refuse as what certainly was not sent."""
    try:
        yield
    except EgressRefused as error:
        raise NotSent(f"egress_not_allowed: {error.detail}") from None
    except EgressFailed as error:
        raise NotSent(error.detail) from None


def _shorten_idle(connection: Connection, answer: Answer) -> None:
    """Keep a connection less long than the server says it will (Keep-Alive: timeout=5)."""
    told = _KEEP_ALIVE.search(answer.headers.get("keep-alive", ""))
    if told is not None:
        least = connection.idle_until - EGRESS_IDLE_S + max(0, int(told[1]) - 1)
        connection.idle_until = min(connection.idle_until, least)

"""An HTTP client for everything but card data: one request, one answer, one connection, bounds.

No redirects, cookies, proxies of the environment, compression, retries or kept connections.
"""

from __future__ import annotations

import asyncio
from functools import partial

from strongroom.kernel.clock import Clock
from strongroom.kernel.edge_limits import (
    OUTBOUND_ANSWER_MAX_BYTES,
    OUTBOUND_BODY_MAX_BYTES,
    OUTBOUND_CONNECTIONS_MAX,
    OUTBOUND_TIMEOUT_S,
)
from strongroom.kernel.limits import GATEWAY_CONNECT_TIMEOUT_MS
from strongroom.outbound.errors import EgressFailed, EgressRefused
from strongroom.outbound.message import Headers, head, message
from strongroom.outbound.model import Origin, Policy, Response
from strongroom.outbound.origins import Origins
from strongroom.outbound.wire import Answer, Broken, Connection, Unusable


class Client:
    """Makes requests that a policy allows.

    Raises:
        StrongroomError: `egress_misconfigured`, naming the origin.
    """

    def __init__(self, policy: Policy, *, clock: Clock | None = None) -> None:
        self._origins = Origins(policy, clock=clock)
        self._slots = asyncio.Semaphore(OUTBOUND_CONNECTIONS_MAX)

    def check(self, url: str) -> None:
        """Refuse a URL that could never be called, without resolving its name.

        Raises:
            EgressRefused: it is malformed or its origin is not allowed.
        """
        self._origins.find(url)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float = OUTBOUND_TIMEOUT_S,
        max_bytes: int = OUTBOUND_ANSWER_MAX_BYTES,
    ) -> Response:
        """Send a request and return its answer, whatever its status.

        Raises:
            EgressRefused: our rules do not allow it; nothing was sent.
            EgressFailed: there was no usable answer; unless the connection failed it may have
                arrived.
        """
        origin, target = self._origins.find(url)
        if len(body) > OUTBOUND_BODY_MAX_BYTES:
            raise EgressRefused("the body is too large")
        data = message(head(method, target, origin.authority, headers), body)
        try:
            async with asyncio.timeout(timeout_s), self._slots:
                answer = await self._exchange(origin, data, max_bytes)
        except TimeoutError:
            self._origins.forget(origin)
            raise EgressFailed(f"no answer of {origin.host} in time") from None
        except (Broken, Unusable) as error:
            raise EgressFailed(f"{origin.host}: {error}") from None
        return Response(answer.status, answer.headers, b"".join(answer.body))

    async def _exchange(self, origin: Origin, data: bytes, max_bytes: int) -> Answer:
        async with asyncio.timeout(GATEWAY_CONNECT_TIMEOUT_MS / 1000):
            connection = await self._origins.connect(origin, partial(Connection, max_bytes))
        try:
            return await connection.exchange(data)
        finally:
            connection.abort()

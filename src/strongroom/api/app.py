"""The ASGI application: finds the route, admits the call, runs its handler, sends the answer.

No middleware, no thread, one task per request (uvicorn's). A request that takes too long is
answered 504 by a timer while its work goes on: a payment under way is never canceled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from time import perf_counter
from typing import Any, NoReturn

from msgspec.structs import replace

from strongroom.api import errors, forms, headers, intake, limiting, log, problems
from strongroom.api.arrival import arrival_of
from strongroom.api.challenges import challenge
from strongroom.api.endpoint import Call, Endpoint, Reply, Services, Shared
from strongroom.api.headers import RequestHeaders
from strongroom.api.intake import ClientGone, Receive, Scope
from strongroom.api.proxies import Proxies
from strongroom.api.router import Methods, Router
from strongroom.api.settings import ApiSettings
from strongroom.identity.oauth import NonceNeeded
from strongroom.kernel.decided import run_under
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from strongroom.kernel.limits import DRAIN_TIMEOUT_S

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Pair = tuple[bytes, bytes]

_CLOSE = (b"connection", b"close")
_PREFLIGHT = (
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"authorization, content-type, strongroom-version"),
    (b"access-control-max-age", b"600"),
)
_EXPOSED = b"request-id, retry-after, ratelimit, ratelimit-policy"
_UNREAD = frozenset({"body_too_large", "shutting_down", "overloaded", "request_timeout"})
"""Answers after which the rest of the request is not worth reading: the connection is closed."""

_PUBLISHABLE = "merchant-publishable"


class _Exchange:
    """One request and its answer, which is sent once: by the handler's task or by the timer."""

    __slots__ = (
        "answered", "cors", "endpoint", "limit", "method", "path", "request", "send", "started",
    )  # fmt: skip

    def __init__(self, scope: Scope, send: Send, path: str) -> None:
        self.send = send
        self.path = path
        self.method: str = scope["method"]
        self.request = new_id("req")
        self.started = perf_counter()
        self.endpoint: Endpoint | None = None
        self.answered = False
        self.cors: tuple[Pair, ...] = ()
        self.limit: tuple[Pair, ...] = ()


class Api:
    """Strongroom over HTTP (ASGI 3)."""

    def __init__(
        self,
        services: Services,
        settings: ApiSettings,
        endpoints: Sequence[Endpoint],
        shared: Shared,
    ) -> None:
        self._services = services
        self._shared = shared
        self._settings = settings
        self._router = Router(endpoints)
        self._proxies = Proxies(settings)
        self._origins = frozenset(origin.encode() for origin in settings.cors_origins)
        self._idle = asyncio.Event()
        self._late: set[asyncio.Task[None]] = set()
        self.in_flight = 0

    @property
    def draining(self) -> bool:
        """Whether new requests are refused."""
        return self._shared.draining

    def trusts(self, address: str) -> bool:
        """Whether connections from this address are a proxy's that the settings trust."""
        return self._proxies.trusts(address)

    def source_of(self, scope: Scope) -> str:
        """Return the address that a request comes from, for another face of this process."""
        client = scope.get("client")
        return self._proxies.source(client[0] if client else "", scope["headers"])

    def told(self, error: Exception, *, request: str, route: str) -> tuple[int, StrongroomError]:
        """Return an error as callers may see it, with its status; log what is our side's fault."""
        shown = problems.shown(error) if isinstance(error, StrongroomError) else errors.internal()
        status = problems.status_of(shown.code)
        if status >= 500:
            log.failure(error, request=request, route=route, status=status)
        return status, shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        exchange = _Exchange(scope, send, scope["raw_path"].decode("latin-1"))
        run_under(None)  # a pipelined request must not inherit what its forerunner was let do
        timer = asyncio.get_running_loop().call_later(
            self._settings.request_timeout_s, self._expire, exchange
        )
        self.in_flight += 1
        try:
            reply = await self._reply(exchange, scope, receive)
            await self._send(exchange, reply)
        except ClientGone:
            exchange.answered = True
        finally:
            timer.cancel()
            self.in_flight -= 1
            if self.in_flight == 0:
                self._idle.set()

    async def drain(self, timeout_s: float = DRAIN_TIMEOUT_S) -> bool:
        """Refuse new requests and wait for those under way; True when all of them ended."""
        self._shared.draining = True
        self._idle.clear()
        if self.in_flight == 0:
            return True
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def _reply(self, exchange: _Exchange, scope: Scope, receive: Receive) -> Reply:
        try:
            return await self._handle(exchange, scope, receive)
        except StrongroomError as error:
            return self._refusal(exchange, error)
        except ClientGone:
            raise
        except Exception as error:  # noqa: BLE001 - a bug of ours must still be answered
            return self._refusal(exchange, error)

    async def _handle(self, exchange: _Exchange, scope: Scope, receive: Receive) -> Reply:
        found = headers.read(scope["headers"])
        methods, values = self._router.find(exchange.path) or _nowhere()
        method = "GET" if exchange.method == "HEAD" else exchange.method
        if method not in methods:
            return self._other_method(exchange, methods, found)
        endpoint, names = methods[method]
        exchange.endpoint = endpoint
        if not endpoint.always:
            self._check_room()
        params = dict(zip(names, values, strict=True))
        call = Call(self._services, self._shared, exchange.request, params)
        exchange.cors = self._cors(endpoint, found, call)
        try:
            return await self._admitted(exchange, call, endpoint, found, scope, receive)
        finally:
            self._services.limiter.leave(call.inside)

    async def _admitted(
        self,
        exchange: _Exchange,
        call: Call,
        endpoint: Endpoint,
        found: RequestHeaders,
        scope: Scope,
        receive: Receive,
    ) -> Reply:
        await intake.admit(call, endpoint, arrival_of(scope, found, self._settings, self._proxies))
        if call.limit is not None:
            exchange.limit = limiting.fields(call.limit)
        exchange.cors = self._cors(endpoint, found, call)
        await intake.take(call, endpoint, found, scope, receive)
        return await endpoint.handler(call)

    def _other_method(self, exchange: _Exchange, methods: Methods, found: RequestHeaders) -> Reply:
        """Answer a browser's preflight, or say which methods there are."""
        if exchange.method == "OPTIONS" and found.preflight in methods:
            allowed = self._allowed_origin(methods[found.preflight][0], found)
            if allowed:
                return Reply(204, b"", b"", (*allowed, *_PREFLIGHT))
        reply = self._refusal(exchange, errors.method_not_allowed())
        allow = ", ".join(sorted(methods)).encode()
        return replace(reply, headers=((b"allow", allow),))

    def _check_room(self) -> None:
        if self._shared.draining:
            raise errors.shutting_down()
        if self.in_flight > self._settings.concurrency_max:
            raise errors.overloaded()

    def _cors(self, endpoint: Endpoint, found: RequestHeaders, call: Call) -> tuple[Pair, ...]:
        """Let a browser read the answer unless the key is one that no browser should hold."""
        if found.origin is None or not endpoint.browser:
            return ()
        if call.principal is not None and _PUBLISHABLE not in call.principal.roles:
            return ()
        return self._allowed_origin(endpoint, found)

    def _allowed_origin(self, endpoint: Endpoint, found: RequestHeaders) -> tuple[Pair, ...]:
        origin = (found.origin or "").encode("latin-1")
        if not endpoint.browser or origin not in self._origins:
            return ()
        return (
            (b"access-control-allow-origin", origin),
            (
                b"access-control-expose-headers",
                b"request-id, retry-after, ratelimit, ratelimit-policy",
            ),
            (b"vary", b"origin"),
        )

    def _refusal(self, exchange: _Exchange, error: Exception) -> Reply:
        """Return the problem document of an error, and log what is our side's fault."""
        route = exchange.endpoint.path if exchange.endpoint else "other"
        status, told = self.told(error, request=exchange.request, route=route)
        if exchange.endpoint is not None and exchange.endpoint.form is not None:
            status, body = forms.refusal(told, status)
            return Reply(status, body, headers.JSON, _extra(told, status))
        body = problems.body(
            told,
            request=exchange.request,
            instance=f"urn:strongroom:request:{exchange.request}",
            doc_base=self._settings.public_url,
        )
        return Reply(status, body, headers.PROBLEM, _extra(told, status))

    def _expire(self, exchange: _Exchange) -> None:
        """Answer in the place of a handler that takes too long; its work goes on."""
        if exchange.answered:
            return
        reply = self._refusal(exchange, errors.timed_out())
        task = asyncio.get_running_loop().create_task(self._send(exchange, reply))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _send(self, exchange: _Exchange, reply: Reply) -> None:
        if exchange.answered:
            return
        exchange.answered = True
        endpoint = exchange.endpoint
        self._services.metrics.request(
            exchange.method if endpoint else "other",
            endpoint.path if endpoint else "other",
            reply.status,
            perf_counter() - exchange.started,
        )
        page = reply.media.startswith((b"text/html", b"text/css"))
        fields: list[Pair] = [
            (b"request-id", exchange.request.encode()),
            *(headers.PAGE_SECURITY if page else headers.kept(reply.keep_s)),
            *reply.headers,
            *exchange.cors,
            *exchange.limit,
        ]
        if reply.media:
            fields.append((b"content-type", reply.media))
        if reply.status != 204:  # RFC 9110 section 8.6
            fields.append((b"content-length", str(len(reply.body)).encode()))
        if self._settings.behind_tls:
            fields.append(headers.HSTS)
        send = exchange.send
        await send({"type": "http.response.start", "status": reply.status, "headers": fields})
        await send({"type": "http.response.body", "body": reply.body})

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer ASGI's lifespan; refuse everything else, web sockets for one."""
        if scope["type"] != "lifespan":
            await send({"type": "websocket.close", "code": 1003})
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.drain()
        await send({"type": "lifespan.shutdown.complete"})


def _nowhere() -> NoReturn:
    raise errors.not_found()


def _extra(error: StrongroomError, status: int) -> tuple[Pair, ...]:
    fields: list[Pair] = []
    if error.retry_after_s is not None:
        fields.append((b"retry-after", str(error.retry_after_s).encode()))
    if status == 401:
        fields.append((b"www-authenticate", challenge(error)))
    if isinstance(error, NonceNeeded):
        fields.append((b"dpop-nonce", error.nonce.encode()))
    if error.code in _UNREAD:
        fields.append(_CLOSE)
    return tuple(fields)

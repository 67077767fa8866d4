"""The edge over no rooms at all: an application with the test's own public routes, and a client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from strongroom.access import PUBLIC
from strongroom.api import Api, ApiSettings, Limiter, Limits, Metrics, Services
from strongroom.api.endpoint import Call, Endpoint, Reply, Shared
from strongroom.identity import Principal
from strongroom.storage.counters import Leases, LocalCounters, Rule


def route(handler: Any, path: str = "/x", **more: Any) -> Endpoint:
    more = {"method": "GET", "path": path, "action": PUBLIC, "summary": "x", **more}
    return Endpoint(handler=handler, **more)


def limiter_of(**changes: Rule) -> Limiter:
    """A limiter of one process that refuses nobody, but for the rules that are given."""
    wide = {
        name: Rule(name=name, units=1_000_000, per_s=1, burst=1_000_000)
        for name in ("key", "merchant", "address", "events", "refused")
    }
    return Limiter(Leases(LocalCounters()), Limits(**{**wide, **changes}), metrics=Metrics())


class NoEmergency:
    """Nobody has emergency access."""

    async def marked(self, principal: Principal) -> Principal:
        return principal


def house(
    endpoints: Sequence[Endpoint],
    *,
    callers: Any = None,
    authorizer: Any = None,
    limiter: Limiter | None = None,
    **settings: Any,
) -> Api:
    """An application over no rooms: its routes are public and need none."""
    none: dict[str, Any] = dict.fromkeys(Services.__struct_fields__)
    given = {
        "callers": callers,
        "authorizer": authorizer,
        "break_glass": NoEmergency(),
        "limiter": limiter or limiter_of(),
        "metrics": Metrics(),
    }
    services = Services(**{**none, **given})
    return Api(services, ApiSettings(mode="test", **settings), endpoints, Shared({}))


class Client:
    """Speaks ASGI to an application and keeps what it sent."""

    def __init__(self, api: Api, *, body: bytes = b"", chunks: Sequence[bytes] = ()) -> None:
        self.api = api
        self.parts = list(chunks) or [body]
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.starts = 0

    async def call(
        self, method: str, path: str, headers: Sequence[tuple[str, str]] = (), query: bytes = b""
    ) -> Client:
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": query, "client": ("127.0.0.1", 1), "scheme": "http",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        }  # fmt: skip
        await self.api(scope, self._receive, self._send)
        return self

    async def _receive(self) -> dict[str, Any]:
        if not self.parts:
            return {"type": "http.disconnect"}
        part = self.parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self.parts)}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.starts += 1
            self.status = message["status"]
            self.headers = {n.decode(): v.decode() for n, v in message["headers"]}
        else:
            self.body += message["body"]

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["code"])


async def hello(_: Call) -> Reply:
    return Reply(200, b"{}")

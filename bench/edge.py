"""`make bench ARGS=edge`: what a request costs before its handler, and how soon a revocation shows.

Cost: whole requests through the ASGI application of this installation with a handler that does
nothing, one after the other, in CPU time of this process: routing, credential, limits, policies,
body, answer. The policy set is the shipped one grown to sixty policies. Beside it the naive form of
the same checks: a look-up in the database, policies read anew, nothing remembered.

Revocation: two server processes under load, a key revoked by a third; what counts is the time from
the commit to the last request that either server began to answer with anything but 401.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cedarpy
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import client
from strongroom.access import Authorizer
from strongroom.access.decide import entities_of, question_of, request_of
from strongroom.access.engine import Engine
from strongroom.api import Api, Services
from strongroom.api.endpoint import Call, Endpoint, Reply, Shared
from strongroom.api.routes import ENDPOINTS
from strongroom.app import House, Supervisor, load
from strongroom.identity import KeyKind, KeySpec, Principal, PrincipalKind
from strongroom.identity.signatures.model import SigningKeySpec
from strongroom.kernel.clock import SystemClock

POLICIES = 60
REQUESTS = 3_000
WARM = 300
KEYS = 20
REVOCATIONS = 60
READERS = 8
_ACTOR = "system:bench"
_PAYMENT = {
    "amount": 1999,
    "currency": "EUR",
    "payment_method": {"token": "tok_01jd8m4tq6f5n9a7y2x3c4v5b6"},
    "capture_method": "automatic",
    "reference": "order-10001",
    "metadata": {"cart": "c-77", "channel": "web"},
}


async def _nothing(_: Call) -> Reply:
    return Reply(200, b"{}")


def grown(count: int = POLICIES) -> tuple[str, str]:
    """Return the shipped policies grown to `count` by ones that never decide, and the schema."""
    from importlib import resources

    folder = resources.files("strongroom.access")
    files = sorted((folder / "policies").iterdir(), key=lambda item: item.name)
    text = "\n".join(f.read_text("utf-8") for f in files if f.name.endswith(".cedar"))
    more = [
        f'@id("never-{n}") @doc("Decides nothing.") forbid (principal, action, resource) '
        f'when {{ principal.kind == "nobody-{n}" && context.action == "x{n}" }};'
        for n in range(count - text.count("@id("))
    ]
    return "\n".join([text, *more]), (folder / "schema.cedarschema").read_text("utf-8")


Form = tuple[
    Callable[[dict[str, Any], bytes], Awaitable[int]],
    Iterable[tuple[dict[str, Any], bytes]],
    int,
]
"""How a request is made and measured, and how many of them."""


class Door:
    """The edge over a house, with handlers that do nothing; counts CPU of each request."""

    def __init__(self, house: House, authorizer: Authorizer) -> None:
        services = msgspec.structs.replace(house.services(), authorizer=authorizer)
        endpoints = [msgspec.structs.replace(one, handler=_nothing) for one in ENDPOINTS]
        self._api = _api(services, house, endpoints)
        self.status = 0

    async def call(self, scope: dict[str, Any], body: bytes) -> int:
        """Send one request; return its CPU time in ns."""
        parts = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            return parts.pop() if parts else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]

        began = time.process_time_ns()
        await self._api(scope, receive, send)
        spent = time.process_time_ns() - began
        if self.status != 200:
            raise SystemExit(f"unexpected answer: {self.status}")
        return spent


def _api(services: Services, house: House, endpoints: list[Endpoint]) -> Api:
    return Api(services, house.api_settings(), endpoints, Shared({}))


def scope_of(method: str, path: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Return the ASGI scope of a request from this machine."""
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "client": ("127.0.0.1", 1), "scheme": "http",
        "headers": [(b"host", b"localhost"), *headers],
    }  # fmt: skip


class Requests:
    """Payments of several keys, each with its own idempotency key."""

    def __init__(self, keys: list[str]) -> None:
        self._keys = keys
        self._body = json.dumps(_PAYMENT).encode()

    def __iter__(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        number = 0
        while True:
            number += 1
            key = self._keys[number % len(self._keys)]
            fields = [
                (b"authorization", f"Bearer {key}".encode()),
                (b"content-type", b"application/json"),
                (b"content-length", str(len(self._body)).encode()),
                (b"idempotency-key", f'"bench-{number}"'.encode()),
            ]
            yield scope_of("POST", "/v1/payments", fields), self._body


class SignedRequests:
    """The same payments, each signed with Ed25519 (RFC 9421) and good once."""

    def __init__(self, key: Ed25519PrivateKey, key_id: str, target: str) -> None:
        self._key, self._key_id, self._target = key, key_id, target
        self._body = json.dumps(_PAYMENT).encode()
        digest = base64.b64encode(hashlib.sha256(self._body).digest()).decode()
        self._digest = f"sha-256=:{digest}:"

    def __iter__(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        parts = '("@method" "@target-uri" "content-digest" "idempotency-key")'
        while True:
            now, once = int(time.time()), secrets.token_hex(16)
            signed = (
                f'{parts};created={now};expires={now + 60};nonce="{once}";keyid="{self._key_id}"'
            )
            base = (
                f'"@method": POST\n"@target-uri": {self._target}\n"content-digest": {self._digest}'
                f'\n"idempotency-key": {once}\n"@signature-params": {signed}'
            )
            signature = base64.b64encode(self._key.sign(base.encode())).decode()
            fields = {
                "content-type": "application/json",
                "content-length": str(len(self._body)),
                "idempotency-key": once,
                "content-digest": self._digest,
                "signature-input": f"sig1={signed}",
                "signature": f"sig1=:{signature}:",
            }
            headers = [(name.encode(), value.encode()) for name, value in fields.items()]
            yield scope_of("POST", "/v1/payments", headers), self._body


async def _signed(house: House) -> SignedRequests:
    """Register a signing key for a new merchant; return its requests."""
    key = Ed25519PrivateKey.generate()
    merchant = (await house.identity.create_merchant("Bench signed", actor=_ACTOR)).id
    spec = SigningKeySpec(
        merchant=merchant, public_key=key.public_key().public_bytes_raw(), owner="bench"
    )
    view = await house.signed.keys.add(spec, actor=_ACTOR)
    return SignedRequests(key, view.id, f"{house.settings.public_url}/v1/payments")


async def _measured(
    call: Callable[[dict[str, Any], bytes], Awaitable[int]],
    requests: Iterable[tuple[dict[str, Any], bytes]],
    tick: Callable[[int], None],
    *,
    count: int = REQUESTS,
) -> list[float]:
    """Return the CPU time of each request in µs, in order of size."""
    found = []
    for number, (scope, body) in enumerate(requests):
        if number >= WARM + count:
            break
        spent = await call(scope, body)
        if number >= WARM:
            found.append(spent / 1000)
            tick(1)
    return sorted(found)


class Naive:
    """The same checks without anything remembered: what one would write first."""

    def __init__(self, house: House, policies: str, schema: str) -> None:
        self._house = house
        self._policies, self._schema = policies, schema
        self._hasher = house.keyring.api_key_hasher()
        self._clock = SystemClock()
        [self._endpoint] = [e for e in ENDPOINTS if (e.method, e.path) == ("POST", "/v1/payments")]

    async def call(self, scope: dict[str, Any], body: bytes) -> int:
        """Check one request; return its CPU time in ns."""
        began = time.process_time_ns()
        headers = {name: value.decode() for name, value in scope["headers"]}
        text = headers[b"authorization"].removeprefix("Bearer ").encode()
        row = await self._house.database.fetchrow(
            "SELECT k.id, k.merchant_id, k.role, k.revoked_at, m.status FROM iam.api_key k "
            "JOIN iam.merchant m USING (merchant_id) WHERE k.hash = $1",
            self._hasher(text),
        )
        principal = Principal(
            id=str(row["id"]),
            kind=PrincipalKind.MERCHANT,
            merchant=str(row["merchant_id"]),
            mode="test",
            roles=(row["role"],),
        )
        question = question_of(
            principal, action="payment:create", merchant=principal.merchant, context=None,
            now=self._clock.now(),
        )  # fmt: skip
        answer = cedarpy.is_authorized(
            request_of(question, four_eyes=False),
            self._policies,
            entities_of(question, mode="test"),
            self._schema,
        )
        msgspec.convert(json.loads(body), self._endpoint.request)
        spent = time.process_time_ns() - began
        if answer.decision is not cedarpy.Decision.Allow:
            raise SystemExit("the naive form denied a payment")
        return spent


async def _keys(house: House, count: int) -> list[tuple[str, str, str]]:
    """Make a merchant for each key; return merchant, key id and key."""
    found = []
    for number in range(count):
        merchant = (await house.identity.create_merchant(f"Bench {number}", actor=_ACTOR)).id
        spec = KeySpec(
            merchant=merchant, kind=KeyKind.SECRET, role="merchant-backend", owner="bench"
        )
        view, secret = await house.identity.create_key(spec, actor=_ACTOR)
        found.append((merchant, view.id, secret.reveal()))
    return found


async def costs(house: House, progress: Progress) -> dict[str, Any]:
    """Measure what requests cost, in µs of CPU."""
    policies, schema = grown()
    by_key = Requests([key for _, _, key in await _keys(house, KEYS)])
    doors = {}
    for name, size in (("as_shipped", 4_096), ("no_decision_cache", 0)):
        authorizer = Authorizer(
            mode="test", engine=Engine(policies, schema, mode="test"), cache_size=size
        )
        doors[name] = Door(house, authorizer).call
    forms: dict[str, Form] = {name: (call, by_key, REQUESTS) for name, call in doors.items()}
    forms["signed_request"] = (doors["as_shipped"], await _signed(house), REQUESTS // 3)
    forms["naive"] = (Naive(house, policies, schema).call, by_key, REQUESTS // 10)
    report: dict[str, Any] = {"policies": policies.count("@id(")}
    for name, (call, requests, count) in forms.items():
        task = progress.add_task(name, total=count)
        found = await _measured(
            call, requests, lambda n, t=task: progress.advance(t, n), count=count
        )
        report[name] = {
            "p50": round(statistics.median(found), 1),
            "p99": round(found[int(len(found) * 0.99)], 1),
        }
    return report


async def revocations(house: House, host: str, port: int, progress: Progress) -> list[float]:
    """Revoke keys under load; return for each how long it still worked, in ms."""
    task = progress.add_task("revocations", total=REVOCATIONS)
    load_keys = [key for _, _, key in await _keys(house, 2)]
    stop = asyncio.Event()
    noise = [asyncio.create_task(_noise(host, port, key, stop)) for key in load_keys * 4]
    found = []
    for _ in range(REVOCATIONS):
        [(merchant, key_id, key)] = await _keys(house, 1)
        connections = await client.connect(host, port, READERS)
        revoked: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        readers = [asyncio.create_task(_last_success(c, host, key, revoked)) for c in connections]
        await asyncio.sleep(0.3)
        await house.identity.revoke_key(merchant, key_id, actor=_ACTOR, reason="bench")
        revoked.set_result(time.perf_counter())
        lasts = await asyncio.gather(*readers)
        found.append(max(0.0, max(lasts) - revoked.result()) * 1000)
        for connection in connections:
            connection.close()
        progress.advance(task)
    stop.set()
    await asyncio.gather(*noise)
    return sorted(found)


def _get(host: str, key: str) -> bytes:
    return (
        f"GET /v1/payments?limit=1 HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"
    ).encode()


async def _last_success(
    connection: client.Connection, host: str, key: str, revoked: asyncio.Future[float]
) -> float:
    """Call until the key has been refused for a second; return when it was last let in."""
    request, last = _get(host, key), 0.0
    while not revoked.done() or time.perf_counter() - max(last, revoked.result()) < 1.0:
        began = time.perf_counter()
        status, _ = await connection.call(request)
        if status == 200:
            last = began
        await asyncio.sleep(0.002)
    return last


async def _noise(host: str, port: int, key: str, stop: asyncio.Event) -> None:
    [connection] = await client.connect(host, port, 1)
    while not stop.is_set():
        await connection.call(_get(host, key))
    connection.close()


def run(console: Console, root: Path) -> dict[str, Any]:
    """Run everything against a fresh installation with two server processes."""
    supervisor = Supervisor(root / "data", workers=2)
    try:
        with console.status("starting"):
            ready = supervisor.start()
        parts = urlsplit(ready.url)
        assert parts.hostname is not None
        assert parts.port is not None
        report = asyncio.run(_run(console, root / "data", parts.hostname, parts.port))
    finally:
        supervisor.stop()
    _show(console, report)
    return report


async def _run(console: Console, data_dir: Path, host: str, port: int) -> dict[str, Any]:
    async with House(load(data_dir, {})) as house:
        with Progress(console=console) as progress:
            report = await costs(house, progress)
            visible = await revocations(house, host, port, progress)
    report["edge_cpu_us_p50"] = report["as_shipped"]["p50"]
    report["revoke_visible_ms_p50"] = round(statistics.median(visible), 1)
    report["revoke_visible_ms_p99"] = round(visible[int(len(visible) * 0.99)], 1)
    return report


def _show(console: Console, report: dict[str, Any]) -> None:
    table = Table("form", "p50 µs", "p99 µs", "times the shipped form", title="CPU of a request")
    usual = report["as_shipped"]["p50"]
    for name in ("as_shipped", "no_decision_cache", "signed_request", "naive"):
        row = report[name]
        table.add_row(name, str(row["p50"]), str(row["p99"]), f"{row['p50'] / usual:.1f}")
    console.print(table)
    console.print(
        f"{report['policies']} policies; a revoked key works on for at most "
        f"{report['revoke_visible_ms_p99']} ms (p99 of {REVOCATIONS}, two processes under load)"
    )

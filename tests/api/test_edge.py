"""The edge by itself: time-outs, draining, crowds, bugs of ours, browsers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from strongroom.api.endpoint import Call, Reply
from strongroom.api.routes import ENDPOINTS
from strongroom.kernel.errors import StrongroomError
from tests.api.edge import Client, hello, house, route

SECRET_WORD = "4242424242424242"


async def test_every_answer_carries_the_security_headers() -> None:
    api = house([route(hello)], behind_tls=True)
    for path, status in (("/x", 200), ("/y", 404)):
        answer = await Client(api).call("GET", path)
        assert answer.status == status
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert answer.headers["strongroom-version"] == "2026-11-23"
        assert answer.headers["request-id"].startswith("req_")
        assert "server" not in answer.headers
    plain = await Client(house([route(hello)])).call("GET", "/x")
    assert "strict-transport-security" not in plain.headers


async def test_a_bug_of_ours_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(_: Call) -> Reply:
        raise ValueError(f"cannot handle {SECRET_WORD}")

    answer = await Client(house([route(broken)])).call("GET", "/x")
    assert (answer.status, answer.code) == (500, "internal_error")
    assert SECRET_WORD.encode() not in answer.body
    line = json.loads(caplog.records[0].message)
    assert line["error"] == "ValueError" and line["request"] == answer.headers["request-id"]
    assert SECRET_WORD not in caplog.text
    assert "Traceback" not in caplog.text


async def test_inner_codes_stay_inside(caplog: pytest.LogCaptureFixture) -> None:
    async def damaged(_: Call) -> Reply:
        raise StrongroomError("journal_damaged", "tile 7 is wrong", detail="tile 7")

    answer = await Client(house([route(damaged)])).call("GET", "/x")
    assert (answer.status, answer.code) == (500, "internal_error")
    assert b"tile" not in answer.body
    assert json.loads(caplog.records[0].message)["code"] == "journal_damaged"


async def test_a_slow_answer_is_given_up_and_its_work_goes_on() -> None:
    finished = asyncio.Event()

    async def slow(_: Call) -> Reply:
        await asyncio.sleep(0.15)
        finished.set()
        return Reply(200, b"{}")

    client = Client(house([route(slow)], request_timeout_s=0.03))
    calling = asyncio.create_task(client.call("GET", "/x"))
    await asyncio.sleep(0.08)
    assert (client.status, client.code) == (504, "request_timeout")
    assert client.headers["retry-after"] and client.headers["connection"] == "close"
    assert client.api.in_flight == 1, "late work still counts"
    await calling
    assert finished.is_set() and client.starts == 1 and client.api.in_flight == 0


async def test_draining_refuses_the_new_and_waits_for_the_old() -> None:
    release = asyncio.Event()

    async def wait(_: Call) -> Reply:
        await release.wait()
        return Reply(200, b"{}")

    api = house([route(wait), *[e for e in ENDPOINTS if e.path.startswith("/health/live")]])
    old = Client(api)
    calling = asyncio.create_task(old.call("GET", "/x"))
    await asyncio.sleep(0.01)
    assert await api.drain(0.02) is False, "one is still under way"
    new = await Client(api).call("GET", "/x")
    assert (new.status, new.code) == (503, "shutting_down")
    assert new.headers["connection"] == "close"
    assert (await Client(api).call("GET", "/health/live")).status == 200
    draining = asyncio.create_task(api.drain(1))
    release.set()
    assert await draining is True
    await calling
    assert old.status == 200


async def test_a_crowd_is_told_to_come_back() -> None:
    release = asyncio.Event()

    async def wait(_: Call) -> Reply:
        await release.wait()
        return Reply(200, b"{}")

    api = house([route(wait)], concurrency_max=2)
    first = [asyncio.create_task(Client(api).call("GET", "/x")) for _ in range(2)]
    await asyncio.sleep(0.01)
    third = await Client(api).call("GET", "/x")
    assert (third.status, third.code, third.headers["retry-after"]) == (503, "overloaded", "1")
    release.set()
    assert [client.status for client in await asyncio.gather(*first)] == [200, 200]


async def test_methods_and_paths() -> None:
    async def echo(call: Call) -> Reply:
        return Reply(200, json.dumps(call.params).encode())

    api = house([
        route(echo, "/v1/gateways/{gateway}/events", method="POST", raw=True),
        route(hello, "/v1/gateways/list"),
    ])  # fmt: skip
    wrong = await Client(api).call("DELETE", "/v1/gateways/list")
    assert (wrong.status, wrong.code, wrong.headers["allow"]) == (405, "method_not_allowed", "GET")
    assert (await Client(api).call("HEAD", "/v1/gateways/list")).status == 200
    found = await Client(api).call("POST", "/v1/gateways/stripe/events")
    assert json.loads(found.body) == {"gateway": "stripe"}
    for path in (
        "/",
        "",
        "/v1",
        "/v1/gateways/",
        "/v1/gateways/list/",
        "//v1/gateways/list",
        "/v1/gateways/*/events/",
        "/v1/gateways/a%2fb/events",
        "/" + "a/" * 400,
    ):
        assert (await Client(api).call("POST", path)).status == 404, path
    star = await Client(api).call("POST", "/v1/gateways/*/events")
    assert (star.status, star.code) == (404, "gateway_not_found")


async def test_bodies_are_counted_while_they_arrive() -> None:
    seen: list[bytes] = []

    async def keep(call: Call) -> Reply:
        seen.append(call.raw)
        return Reply(200, b"{}")

    api = house([route(keep, method="POST", raw=True, body_bytes_max=10)])
    whole = Client(api, chunks=[b"12345", b"67890"])
    assert (await whole.call("POST", "/x", [("transfer-encoding", "chunked")])).status == 200
    assert seen == [b"1234567890"]
    over = Client(api, chunks=[b"12345", b"678901", b"never read"])
    answer = await over.call("POST", "/x", [("transfer-encoding", "chunked")])
    assert (answer.status, answer.code, answer.headers["connection"]) == (
        413, "body_too_large", "close",
    )  # fmt: skip
    assert over.parts == [b"never read"]
    for length in ("11", "1e1", "9" * 5000, "-1"):
        told = Client(api, body=b"x")
        assert (await told.call("POST", "/x", [("content-length", length)])).status == 413
        assert told.parts == [b"x"], "nothing is read"


async def test_a_caller_that_hangs_up_is_not_answered() -> None:
    api = house([route(hello, method="POST", raw=True)])
    client = Client(api, chunks=[b"a", b"b"])
    client.parts = []
    await client.call("POST", "/x", [("content-length", "5")])
    assert client.starts == 0 and api.in_flight == 0


async def test_no_body_where_none_belongs() -> None:
    api = house([route(hello)])
    answer = await Client(api, body=b"{}").call("GET", "/x", [("content-length", "2")])
    assert (answer.status, answer.code) == (400, "body_not_allowed")


async def test_browsers_of_configured_origins_may_make_tokens_and_nothing_else() -> None:
    api = house(ENDPOINTS, cors_origins=("https://shop.example",))
    asks = [("origin", "https://shop.example"), ("access-control-request-method", "POST")]
    allowed = await Client(api).call("OPTIONS", "/v1/tokens", asks)
    assert allowed.status == 204 and allowed.body == b""
    assert allowed.headers["access-control-allow-origin"] == "https://shop.example"
    assert allowed.headers["access-control-allow-methods"] == "POST"
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    assert allowed.headers["vary"] == "origin"
    for origin, path in (
        ("https://evil.example", "/v1/tokens"),
        ("https://shop.example.evil.example", "/v1/tokens"),
        ("null", "/v1/tokens"),
        ("https://shop.example", "/v1/payments"),
        ("https://shop.example", "/v1/tokens/batch"),
    ):
        asks = [("origin", origin), ("access-control-request-method", "POST")]
        refused = await Client(api).call("OPTIONS", path, asks)
        assert refused.status == 405
        assert "access-control-allow-origin" not in refused.headers


async def test_a_web_socket_is_refused() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await house([])({"type": "websocket"}, None, send)  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close", "code": 1003}]


def test_a_route_without_a_known_action_does_not_start() -> None:
    with pytest.raises(StrongroomError) as caught:
        route(hello, action="payment:steal")
    assert caught.value.code == "unknown_action"
    for broken in ({"errors": ("no_such_code",)}, {"path": "/{what}"}, {"keyed": True}):
        with pytest.raises(StrongroomError):
            route(hello, **broken)


def test_two_routes_cannot_share_a_place() -> None:
    with pytest.raises(ValueError, match="two routes"):
        house([route(hello), route(hello)])


async def test_metrics_count_by_route_and_survive_a_broken_gauge() -> None:
    def broken() -> float:
        raise OSError("gone")

    async def hanging() -> float:
        await asyncio.sleep(60)
        return 1.0

    api = house([route(hello, "/v1/gateways/{gateway}/events")])
    metrics = api._services.metrics
    metrics.watch("broken", "x", broken)
    metrics.watch("fine", "x", lambda: 7)
    for path in ("/v1/gateways/a/events", "/v1/gateways/b/events", "/zzz", "/zzz2"):
        await Client(api).call("GET", path)
    text = (await metrics.text()).decode()
    wanted = 'method="GET",route="/v1/gateways/{gateway}/events",status="200"} 2.0'
    assert wanted in text
    assert 'route="other",status="404"} 2.0' in text and "zzz" not in text
    assert "strongroom_fine 7.0" in text and "strongroom_broken NaN" in text


def test_a_call_shows_nothing() -> None:
    none: Any = None
    call = Call(none, none, "req_1", {"token_id": SECRET_WORD})
    call.raw = SECRET_WORD.encode()
    assert SECRET_WORD not in repr(call)
    assert not isinstance(call, msgspec.Struct)

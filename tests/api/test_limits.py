"""Limits at the edge: who is counted, what a refused caller is told, nobody pays for another."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from strongroom.api import ENDPOINTS, Limiter, Metrics
from strongroom.api.endpoint import Call, Endpoint, Limited, Reply
from strongroom.api.limiting import fields
from strongroom.app.limit_settings import LimitSettings, quota, routes, rule
from strongroom.app.limiting import limits
from strongroom.identity import Authenticated, Principal, PrincipalKind
from strongroom.kernel.errors import StrongroomError
from strongroom.storage.counters import Leases, LocalCounters, Rule, Spent
from tests.api.edge import Client, house, limiter_of, route

FEW = Rule(name="few", units=1, per_s=1_000, burst=3)


async def answer(call: Call) -> Reply:
    return Reply(200, b"{}")


ROUTE = route(answer)


class Dripping(Client):
    """Sends a body that never ends."""

    async def _receive(self) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}


def merchant(number: int = 1, *, role: str = "merchant-backend", key: int = 1) -> Principal:
    return Principal(
        id=f"key_{number}_{key}",
        kind=PrincipalKind.MERCHANT,
        merchant=f"mer_{number}",
        mode="test",
        roles=(role,),
    )


async def allowed(
    limiter: Limiter,
    principal: Principal | None,
    *,
    times: int,
    source: str = "192.0.2.1",
    endpoint: Endpoint = ROUTE,
) -> int:
    count = 0
    for _ in range(times):
        with suppress(StrongroomError):
            await limiter.admit(principal, endpoint, source)
            count += 1
    return count


async def test_a_refused_caller_is_told_when_to_come_back() -> None:
    api = house([ROUTE], limiter=limiter_of(address=FEW))
    answers = [await Client(api).call("GET", "/x") for _ in range(5)]
    assert [a.status for a in answers] == [200, 200, 200, 429, 429]
    assert answers[0].headers["ratelimit-policy"] == '"few";q=1;w=1000'
    assert answers[0].headers["ratelimit"] == '"few";r=2;t=1000'
    assert answers[2].headers["ratelimit"] == '"few";r=0;t=3000'
    assert b'"code":"rate_limited"' in answers[3].body
    assert 990 <= int(answers[3].headers["retry-after"]) <= 1000


async def test_health_is_always_answered() -> None:
    """Else who floods an address takes the whole process out of its load balancer."""
    counted = limiter_of(address=FEW)
    for _ in range(5):
        with suppress(StrongroomError):
            await counted.admit(None, ROUTE, "127.0.0.1")
    api = house([e for e in ENDPOINTS if e.path.startswith("/health")], limiter=counted)
    statuses = {(await Client(api).call("GET", "/health/live")).status for _ in range(10)}
    assert statuses == {200}


async def test_each_key_and_each_merchant_has_its_own() -> None:
    by_key = limiter_of(key=FEW)
    assert await allowed(by_key, merchant(1), times=5) == 3
    assert await allowed(by_key, merchant(1, key=2), times=5) == 3
    assert await allowed(by_key, merchant(2), times=5) == 3
    by_merchant = limiter_of(merchant=FEW)
    assert await allowed(by_merchant, merchant(1), times=2) == 2
    assert await allowed(by_merchant, merchant(1, key=2), times=5) == 1
    assert await allowed(by_merchant, merchant(2), times=5) == 3


async def test_an_operator_does_not_use_up_what_is_the_merchants() -> None:
    counted = limiter_of(merchant=FEW)
    operator = Principal(
        id="opr_1", kind=PrincipalKind.OPERATOR, merchant="mer_1", mode="test", roles=()
    )
    assert await allowed(counted, operator, times=9) == 9
    assert await allowed(counted, merchant(1), times=5) == 3


async def test_publishable_keys_are_counted_by_address() -> None:
    counted = limiter_of(address=FEW)
    browser = merchant(1, role="merchant-publishable")
    assert await allowed(counted, browser, times=5) == 3
    assert await allowed(counted, browser, times=5, source="192.0.2.2") == 3
    assert await allowed(counted, merchant(1), times=9) == 9


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
async def test_whom_an_address_stands_for(first: str, second: str, same: bool) -> None:
    counted = limiter_of(address=FEW)
    assert await allowed(counted, None, times=4, source=first) == 3
    assert await allowed(counted, None, times=4, source=second) == (0 if same else 3)


async def test_a_route_may_have_a_limit_of_its_own() -> None:
    rules = replace(WIDE, routes={"GET /x": FEW})
    counted = Limiter(Leases(LocalCounters()), rules, metrics=Metrics())
    assert await allowed(counted, merchant(1), times=5) == 3
    assert await allowed(counted, merchant(1), times=5, endpoint=route(answer, "/y")) == 5
    assert await allowed(counted, merchant(2), times=5) == 3


WIDE = limits(LimitSettings())


async def test_quotas_count_a_day_and_say_so() -> None:
    rules = limits(LimitSettings(merchant_per_day=2))
    counted = Limiter(Leases(LocalCounters()), rules, metrics=Metrics())
    spent = await counted.admit(merchant(1), ROUTE, "")
    assert fields(spent)[0][1] == b'"merchant_per_day";q=2;w=86400'
    await counted.admit(merchant(1), ROUTE, "")
    with pytest.raises(StrongroomError, match="quota_exhausted") as refused:
        await counted.admit(merchant(1), ROUTE, "")
    assert 0 < (refused.value.retry_after_s or 0) <= 86_400


async def test_an_address_with_refused_credentials_is_shut_out_before_any_look_up() -> None:
    counted = limiter_of(refused=FEW)
    for _ in range(3):
        counted.check_address("192.0.2.9")
        await counted.refused("192.0.2.9")
    await counted.refused("192.0.2.9")
    with pytest.raises(StrongroomError, match="rate_limited"):
        counted.check_address("192.0.2.9")
    counted.check_address("192.0.2.10")


@pytest.mark.parametrize(
    ("code", "counted"),
    [("unauthenticated", True), ("merchant_not_found", True), ("use_dpop_nonce", True),
     ("storage_unavailable", False), ("sealed", False)],
)  # fmt: skip
async def test_whatever_a_credential_is_refused_for_is_counted(code: str, counted: bool) -> None:
    """A good key that names another's merchant would else ask without any limit."""

    class Refusing:
        async def authenticate(self, _: object) -> None:
            raise StrongroomError(code, "No.")

    private = route(answer, action="payment:read")
    api = house([private], callers=Refusing(), limiter=limiter_of(refused=FEW))
    statuses = [(await Client(api).call("GET", "/x")).status for _ in range(6)]
    assert (statuses[5] == 429) is counted


def test_one_merchant_cannot_take_every_place() -> None:
    rules = limits(LimitSettings(merchant_at_once=2))
    counted = Limiter(Leases(LocalCounters()), rules, metrics=Metrics())
    places = counted.enter(merchant(1), "192.0.2.1")
    counted.enter(merchant(1, key=2), "192.0.2.2")
    with pytest.raises(StrongroomError, match="too_many_at_once"):
        counted.enter(merchant(1), "192.0.2.3")
    counted.enter(merchant(2), "192.0.2.1")
    counted.leave(places)
    counted.enter(merchant(1), "192.0.2.1")


async def test_bodies_that_drip_in_from_strangers_leave_room_for_keys() -> None:
    """Anybody may send an event, or holds a publishable key: neither takes every place."""

    class Known:
        async def authenticate(self, _: object) -> Authenticated:
            return Authenticated(principal=merchant())

    class Allowing:
        def check_any(self, *_: object, **__: object) -> None:
            return None

    event = route(answer, "/event", method="POST", raw=True, limited=Limited.EVENTS)
    private = route(answer, action="payment:read")
    counted = limiter_of()
    api = house([event, private], callers=Known(), authorizer=Allowing(), limiter=counted)
    dripping = [asyncio.create_task(Dripping(api).call("POST", "/event")) for _ in range(64)]
    await asyncio.sleep(0)
    assert (await Client(api).call("POST", "/event")).code == "too_many_at_once"
    assert (await Client(api).call("GET", "/x")).status == 200
    for number in range(1, 600):
        with suppress(StrongroomError):
            counted.enter(None, f"2001:db8:0:{number:x}::1")
    with pytest.raises(StrongroomError, match="too_many_at_once"):
        counted.enter(merchant(role="merchant-publishable"), "192.0.2.1")
    counted.enter(merchant(), "192.0.2.1")
    for task in dripping:
        task.cancel()
    await asyncio.gather(*dripping, return_exceptions=True)
    assert (await Client(api).call("GET", "/x")).status == 200


async def test_a_publishable_key_leaves_half_of_its_merchants_places() -> None:
    counted = Limiter(
        Leases(LocalCounters()), limits(LimitSettings(merchant_at_once=4)), metrics=Metrics()
    )
    open_key = merchant(role="merchant-publishable")
    for number in range(2):
        counted.enter(open_key, f"192.0.2.{number}")
    with pytest.raises(StrongroomError, match="too_many_at_once"):
        counted.enter(open_key, "192.0.2.9")
    for _ in range(4):
        counted.enter(merchant(), "192.0.2.9")


async def test_a_crowd_at_the_door_passes_exactly_as_many_as_may() -> None:
    counted = limiter_of(key=Rule(name="key", units=1, per_s=10_000, burst=50))

    async def one() -> bool:
        try:
            await counted.admit(merchant(1), ROUTE, "")
        except StrongroomError:
            return False
        return True

    assert sum(await asyncio.gather(*(one() for _ in range(200)))) == 50


@pytest.mark.parametrize(
    ("text", "units", "per_s", "burst"),
    [("100/s", 100, 1, 100), ("600/min burst 50", 600, 60, 50), ("5/h", 5, 3600, 5)],
)
def test_rates_as_they_are_written(text: str, units: int, per_s: int, burst: int) -> None:
    assert rule("x", text) == Rule(name="x", units=units, per_s=per_s, burst=burst)


@pytest.mark.parametrize("text", ["", "100", "0/s", "-1/s", "1/s burst 0", "1 / s", "1/s\n", "١/s"])
def test_other_writings_stop_the_start(text: str) -> None:
    with pytest.raises(StrongroomError, match="settings_invalid"):
        rule("x", text)


def test_routes_and_quotas_are_checked_too() -> None:
    for wrong in ({"/v1/payments": "1/s"}, {"POST v1": "1/s"}, {"POST /v1/x y": "1/s"}):
        with pytest.raises(StrongroomError, match="settings_invalid"):
            routes(wrong)
    with pytest.raises(StrongroomError, match="settings_invalid"):
        quota("x", -1)
    assert quota("x", 0) is None


def test_the_fields_of_a_rate() -> None:
    tight = Rule(name="key", units=100, per_s=1, burst=200)
    assert fields(Spent(True, tight, 150))[1] == (b"ratelimit", b'"key";r=150;t=1')


def test_a_limit_of_a_route_that_is_none_stops_the_start() -> None:
    rules = limits(LimitSettings(routes={"POST /x": "1/s"}))
    counted = Limiter(Leases(LocalCounters()), rules, metrics=Metrics())
    with pytest.raises(StrongroomError, match="settings_invalid"):
        counted.check_routes([ROUTE])
    counted.check_routes([route(answer, method="POST", request=dict, action="payment:create")])

"""Rates and quotas: every store does the same arithmetic and is exact among all who ask it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.storage.counters import (
    Ask,
    Counters,
    Grant,
    Leases,
    LocalCounters,
    PostgresCounters,
    Rule,
)
from strongroom.storage.counters.model import TICKS_PER_S, decide
from strongroom.storage.counters.valkey import ValkeyCounters
from tests.support.database import TestDatabase
from tests.support.valkey import valkey_server

SLOW = Rule(name="slow", units=1, per_s=1_000, burst=100)
QUOTA = Rule(name="quota", units=100, per_s=86_400)


@pytest.fixture(scope="module")
def valkey_url() -> Iterator[Secret[str]]:
    with valkey_server() as (_, url):
        yield url


@pytest.fixture(params=["postgres", "valkey", "local"])
async def store(
    request: pytest.FixtureRequest, pg: TestDatabase, valkey_url: Secret[str]
) -> AsyncIterator[Counters]:
    if request.param == "local":
        yield LocalCounters()
    elif request.param == "postgres":
        yield PostgresCounters(await pg.database("strongroom_pay", size=4))
    else:
        counters = ValkeyCounters(valkey_url, prefix="test:")
        yield counters
        await counters.close()


def fresh() -> bytes:
    return os.urandom(16)


@pytest.mark.parametrize("rule", [SLOW, QUOTA], ids=["rate", "quota"])
async def test_a_crowd_gets_exactly_what_there_is(store: Counters, rule: Rule) -> None:
    key = fresh()
    grants = await asyncio.gather(
        *(store.take([Ask(key=key, rule=rule, least=1)]) for _ in range(150))
    )
    units = [grant[0].units for grant in grants]
    assert sum(units) == 100
    assert grants[-1][0].remaining == 0
    assert grants[-1][0].wait > 0


@pytest.mark.parametrize("rule", [SLOW, QUOTA], ids=["rate", "quota"])
async def test_what_is_given_back_can_be_taken_again(store: Counters, rule: Rule) -> None:
    key = fresh()
    [first] = await store.take([Ask(key=key, rule=rule, least=100)])
    assert (first.units, first.remaining) == (100, 0)
    [back] = await store.take([Ask(key=key, rule=rule, least=0, returned=30, window=first.window)])
    assert (back.units, back.remaining) == (0, 30)
    [again] = await store.take([Ask(key=key, rule=rule, least=50)])
    assert again.units == 30


async def test_more_than_there_ever_was_cannot_be_given_back(store: Counters) -> None:
    for rule in (SLOW, QUOTA):
        key = fresh()
        [first] = await store.take([Ask(key=key, rule=rule)])
        ask = Ask(key=key, rule=rule, least=0, returned=10_000, window=first.window)
        [back] = await store.take([ask])
        assert back.remaining == 100


async def test_a_quota_of_a_past_window_is_not_given_back_into_this_one(store: Counters) -> None:
    key = fresh()
    [first] = await store.take([Ask(key=key, rule=QUOTA, least=10)])
    ask = Ask(key=key, rule=QUOTA, least=0, returned=5, window=first.window - 1)
    assert (await store.take([ask]))[0].remaining == 90


async def test_counters_of_one_call_are_answered_in_its_order(store: Counters) -> None:
    keys = [fresh() for _ in range(20)]
    grants = await store.take(
        [Ask(key=key, rule=SLOW, least=number) for number, key in enumerate(keys, 1)]
    )
    assert [grant.remaining for grant in grants] == [
        100 - max(number, 6) for number in range(1, 21)
    ]


async def test_every_store_does_the_same_arithmetic(
    pg: TestDatabase, valkey_url: Secret[str]
) -> None:
    """Rules so slow that the clock makes no difference: the numbers must be equal."""
    postgres = PostgresCounters(await pg.database("strongroom_pay"))
    valkey = ValkeyCounters(valkey_url, prefix="same:")
    local = LocalCounters()
    chance = random.Random(7)  # noqa: S311 (no secret)
    rules = [Rule(name="r", units=1, per_s=100_000, burst=b) for b in (1, 7, 64, 1_000)]
    rules += [Rule(name="q", units=u, per_s=86_400) for u in (1, 9, 500)]
    keys = {rule: fresh() for rule in rules}
    windows = dict.fromkeys(rules, 0)
    for _ in range(60):
        rule = chance.choice(rules)
        ask = Ask(
            key=keys[rule],
            rule=rule,
            least=chance.randrange(4),
            returned=chance.randrange(3),
            window=windows[rule],
        )
        answers = [(await s.take([ask]))[0] for s in (postgres, valkey, local)]
        windows[rule] = answers[0].window
        assert len({(a.units, a.remaining, a.window) for a in answers}) == 1, (ask, answers)
    await valkey.close()


def test_a_rate_fills_by_time_and_never_beyond_its_burst() -> None:
    rule = Rule(name="r", units=10, per_s=1, burst=20)
    level, now, granted = 0, 10**15, 0
    chance = random.Random(3)  # noqa: S311 (no secret)
    for _ in range(2_000):
        now += chance.randrange(TICKS_PER_S // 5)
        ask = Ask(key=b"k" * 16, rule=rule, least=chance.randrange(1, 5))
        level, _, grant = decide(level, 0, ask, now)
        granted += grant.units
        assert 0 <= grant.remaining <= 20
    elapsed_s = (now - 10**15) / TICKS_PER_S
    assert granted <= 20 + elapsed_s * 10
    assert granted >= elapsed_s * 9


def test_the_wait_that_is_told_is_enough_and_not_too_long() -> None:
    rule = Rule(name="r", units=3, per_s=1, burst=4)
    now = 10**15
    level, _, grant = decide(0, 0, Ask(key=b"", rule=rule, least=4), now)
    assert decide(level, 0, Ask(key=b"", rule=rule), now + grant.wait - 1)[2].units == 0
    assert decide(level, 0, Ask(key=b"", rule=rule), now + grant.wait)[2].units == 1


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now(self) -> datetime:
        return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


@pytest.mark.parametrize("rule", [SLOW, QUOTA], ids=["rate", "quota"])
async def test_processes_together_let_through_exactly_the_limit(
    pg: TestDatabase, rule: Rule
) -> None:
    processes = [Leases(PostgresCounters(await pg.database("strongroom_pay"))) for _ in range(3)]
    key = fresh()
    answers = await asyncio.gather(*(processes[n % 3].spend([(key, rule)]) for n in range(400)))
    assert sum(answer.allowed for answer in answers) == 100
    refused = next(answer for answer in answers if not answer.allowed)
    assert refused.wait_s > 0
    assert sum(process.calls for process in processes) < 100


async def test_unused_units_go_back_and_another_process_has_them() -> None:
    shared, clock = LocalCounters(), Clock()
    one, other = (Leases(shared, clock=clock) for _ in range(2))
    rule = Rule(name="q", units=32, per_s=86_400)
    assert (await one.spend([(b"k" * 16, rule)])).allowed
    assert one.calls == 1
    spent = [await other.spend([(b"k" * 16, rule)]) for _ in range(32)]
    assert sum(answer.allowed for answer in spent) == 30
    clock.seconds += 1.1
    await one.give_back()
    assert (await other.spend([(b"k" * 16, rule)])).allowed
    assert not (await other.spend([(b"k" * 16, rule)])).allowed


async def test_of_two_limits_the_refused_one_costs_nothing_of_the_other() -> None:
    leases = Leases(LocalCounters(clock=Clock()), clock=Clock())
    wide = Rule(name="wide", units=1, per_s=1_000, burst=50)
    narrow = Rule(name="narrow", units=1, per_s=1_000, burst=3)
    wants = [(b"w" * 16, wide), (b"n" * 16, narrow)]
    answers = [await leases.spend(wants) for _ in range(10)]
    assert [answer.allowed for answer in answers] == [True] * 3 + [False] * 7
    assert answers[0].rule is narrow
    assert answers[-1].rule is narrow
    left = await leases.spend([(b"w" * 16, wide)])
    assert left.remaining == 46


class Away:
    """A store that cannot be reached until it can."""

    def __init__(self) -> None:
        self.there, self.inner = False, LocalCounters()

    async def take(self, asks: list[Ask]) -> list[Grant]:
        if not self.there:
            raise StrongroomError("storage_unavailable", "gone")
        return await self.inner.take(asks)

    async def purge(self) -> int:
        return 0


async def test_without_the_store_a_process_holds_to_the_limits_by_itself() -> None:
    away, clock = Away(), Clock()
    leases = Leases(away, clock=clock)
    answers = [await leases.spend([(b"k" * 16, SLOW)]) for _ in range(150)]
    assert sum(answer.allowed for answer in answers) == 100
    assert leases.alone
    assert leases.calls == 1
    away.there = True
    clock.seconds += 2.1
    assert not leases.alone
    assert (await leases.spend([(b"k" * 16, SLOW)])).allowed


async def test_full_counters_are_forgotten(pg: TestDatabase) -> None:
    database = await pg.database("strongroom_pay")
    counters = PostgresCounters(database)
    quick = Rule(name="q", units=1_000_000, per_s=1, burst=1)
    await counters.take([Ask(key=fresh(), rule=quick), Ask(key=fresh(), rule=SLOW)])
    await asyncio.sleep(0.01)
    assert await counters.purge() == 1
    assert await database.fetchval("SELECT count(*) FROM meta.counter") == 1


async def test_a_valkey_that_is_gone_is_said_so() -> None:
    counters = ValkeyCounters(Secret("valkey://127.0.0.1:1/0"), prefix="x:")
    with pytest.raises(StrongroomError, match="storage_unavailable"):
        await counters.take([Ask(key=fresh(), rule=SLOW)])
    await counters.close()

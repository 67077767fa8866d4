"""Connections of the pool: bounded, handed on in turn, reset or dropped, never given out broken."""

from __future__ import annotations

import asyncio

import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.storage import ConstraintViolated, Database
from strongroom.storage import database as engine
from strongroom.storage.change import StorageUnavailable
from tests.support.database import TestDatabase

_BACKEND = "SELECT pg_backend_pid()"


@pytest.fixture
async def one(pg: TestDatabase) -> Database:
    """A database with a single connection."""
    return await pg.database("strongroom_pay", size=1)


async def test_statements_share_what_there_is_and_wait_in_turn(pg: TestDatabase) -> None:
    database = await pg.database("strongroom_pay", size=2)
    backends = await asyncio.gather(*(database.fetchval(_BACKEND) for _ in range(40)))
    assert len(set(backends)) <= 2


async def test_a_session_leaves_nothing_behind(one: Database) -> None:
    async with one.session() as session:
        first = await session.fetchval(_BACKEND)
        await session.execute("SET work_mem = '123kB'")
        await session.execute("SELECT pg_advisory_lock(4711)")
    assert await one.fetchval(_BACKEND) == first
    assert await one.fetchval("SHOW work_mem") != "123kB"
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711"
    assert await one.fetchval(held) == 0


async def test_a_refusal_keeps_the_connection(one: Database) -> None:
    first = await one.fetchval(_BACKEND)
    with pytest.raises(StrongroomError, match="not_there"):
        async with one.session():
            raise StrongroomError("not_there", "There is no such thing.")
    with pytest.raises(ConstraintViolated):
        await one.execute("INSERT INTO pay.payment DEFAULT VALUES")
    assert await one.fetchval(_BACKEND) == first


async def test_an_interrupted_connection_is_never_given_out_again(one: Database) -> None:
    first = await one.fetchval(_BACKEND)
    slow = asyncio.create_task(one.fetchval("SELECT pg_sleep(30)"))
    waiting = asyncio.create_task(one.fetchval(_BACKEND))
    await asyncio.sleep(0.1)
    slow.cancel()
    second = await asyncio.wait_for(waiting, 5)
    assert second != first
    assert await one.fetchval("SELECT 1") == 1


async def test_an_abandoned_transaction_is_rolled_back(one: Database) -> None:
    async def abandon() -> None:
        async with one.transaction() as session:
            await session.execute("SELECT set_config('strongroom.probe', 'left', false)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await abandon()
    assert not await one.fetchval("SELECT current_setting('strongroom.probe', true)")


async def test_who_gives_up_waiting_takes_no_connection_along(
    one: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "ACQUIRE_TIMEOUT_S", 0.2)
    async with one.session():
        with pytest.raises(StorageUnavailable):
            await one.fetchval("SELECT 1")
        canceled = asyncio.create_task(one.fetchval("SELECT 1"))
        await asyncio.sleep(0.01)
        canceled.cancel()
    assert await one.fetchval("SELECT 1") == 1


async def test_room_that_was_promised_is_not_taken_by_another(one: Database) -> None:
    slow = "SELECT pg_backend_pid() FROM pg_sleep(0.2)"

    async def fail_with_one_waiting() -> asyncio.Task[int]:
        async with one.session():
            waiting = asyncio.create_task(one.fetchval(slow))
            waits.append(waiting)
            await asyncio.sleep(0.05)
            raise RuntimeError

    waits: list[asyncio.Task[int]] = []
    with pytest.raises(RuntimeError):
        await fail_with_one_waiting()
    late = await one.fetchval(slow)
    assert await waits[0] == late, "two connections at once in a pool of one"


async def test_a_killed_backend_is_replaced(pg: TestDatabase, one: Database) -> None:
    owner = await pg.database("postgres")
    first = await one.fetchval(_BACKEND)
    await owner.execute("SELECT pg_terminate_backend($1)", first)
    for _ in range(20):
        try:
            assert await one.fetchval(_BACKEND) != first
        except StorageUnavailable:
            await asyncio.sleep(0.05)
        else:
            break
    else:
        pytest.fail("no new connection")


async def test_a_closed_database_refuses(pg: TestDatabase) -> None:
    database = await pg.database("strongroom_pay", size=1)
    async with database.session():
        waiting = asyncio.create_task(database.fetchval("SELECT 1"))
        await asyncio.sleep(0.01)
        await database.close()
        with pytest.raises(StorageUnavailable):
            await waiting
    with pytest.raises(StorageUnavailable):
        await database.fetchval("SELECT 1")

"""The committer: Changes share a transaction, and each is accepted or rejected by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from strongroom.kernel.ids import new_uuid7
from strongroom.kernel.limits import COMMIT_QUEUE_MAX
from strongroom.storage import (
    Add,
    Bulk,
    Change,
    Claim,
    Committer,
    ConstraintViolated,
    Database,
    Guard,
    Insert,
    Target,
    Verdict,
)
from strongroom.storage.change import Overloaded, StorageUnavailable
from tests.support.database import TestDatabase

ROOT = Insert("t.root", {"merchant_id": "uuid", "id": "uuid", "state": "text"})
MOVE = Guard("t.root", keys={"merchant_id": "uuid", "id": "uuid"}, sets={"state": "text"})
KEY = Claim(
    "t.claim",
    {"merchant_id": "uuid", "key": "text", "id": "uuid"},
    key=("merchant_id", "key"),
    id_column="id",
)
LINE = Insert("t.line", {"merchant_id": "uuid", "id": "uuid", "amount": "int8"})
SUM = Add("t.total", keys={"merchant_id": "uuid"}, sums={"amount": "int8"})

LINES = Bulk("t.line", shared={"merchant_id": "uuid"}, each={"id": "uuid", "amount": "int8"})

MERCHANT = new_uuid7()


@pytest.fixture
async def db(pg: TestDatabase) -> Database:
    owner = await pg.database("strongroom_owner")
    await owner.execute(
        """
        CREATE SCHEMA t;
        CREATE TABLE t.root (merchant_id uuid, id uuid, state text, version int DEFAULT 1,
            PRIMARY KEY (merchant_id, id));
        CREATE TABLE t.claim (merchant_id uuid, key text, id uuid, PRIMARY KEY (merchant_id, key));
        CREATE TABLE t.line (merchant_id uuid, id uuid, amount bigint
            CONSTRAINT line_positive CHECK (amount > 0), PRIMARY KEY (merchant_id, id));
        CREATE TABLE t.total (merchant_id uuid PRIMARY KEY, amount bigint);
        GRANT USAGE ON SCHEMA t TO strongroom_pay;
        GRANT ALL ON ALL TABLES IN SCHEMA t TO strongroom_pay;
        """
    )
    return owner


@pytest.fixture
async def committer(pg: TestDatabase, db: Database) -> Committer:
    return await pg.committer("strongroom_pay")


def line(amount: int) -> Change:
    return Change().add(LINE, (MERCHANT, new_uuid7(), amount)).add(SUM, (MERCHANT, amount))


async def outcome(committer: Committer, change: Change) -> Any:
    try:
        return await committer.submit(change)
    except (ConstraintViolated, Overloaded, StorageUnavailable) as error:
        return error


async def test_changes_share_transactions(committer: Committer, db: Database) -> None:
    verdicts = await asyncio.gather(*(committer.submit(line(1)) for _ in range(500)))
    assert set(verdicts) == {Verdict.COMMITTED}
    assert await db.fetchval("SELECT amount FROM t.total") == 500
    assert await db.fetchval("SELECT count(*) FROM t.line") == 500
    assert committer.batches < 60


async def test_a_violated_constraint_rejects_only_its_own_change(
    committer: Committer, db: Database
) -> None:
    results = await asyncio.gather(
        *(outcome(committer, line(-1 if n % 10 == 0 else 2)) for n in range(100))
    )
    refused = [r for r in results if isinstance(r, ConstraintViolated)]
    assert len(refused) == 10
    assert {r.constraint for r in refused} == {"line_positive"}
    assert results.count(Verdict.COMMITTED) == 90
    assert await db.fetchval("SELECT amount FROM t.total") == 180


async def test_one_of_many_claims_wins(committer: Committer, db: Database) -> None:
    def claim() -> Change:
        return line(5).add(KEY, (MERCHANT, "k", new_uuid7()))

    verdicts = await asyncio.gather(*(committer.submit(claim()) for _ in range(64)))
    assert verdicts.count(Verdict.COMMITTED) == 1
    assert verdicts.count(Verdict.CLAIM_LOST) == 63
    assert await db.fetchval("SELECT amount FROM t.total") == 5


async def test_a_stale_guard_writes_nothing_of_its_change(
    committer: Committer, db: Database
) -> None:
    root = new_uuid7()
    await committer.submit(Change().add(ROOT, (MERCHANT, root, "new")))

    def move(number: int) -> Change:
        moved = line(7).add(MOVE, (MERCHANT, root, 1, f"moved by {number}"))
        return moved.add(KEY, (MERCHANT, f"key {number}", new_uuid7()))

    verdicts = await asyncio.gather(*(committer.submit(move(n)) for n in range(40)))
    assert verdicts.count(Verdict.COMMITTED) == 1
    assert verdicts.count(Verdict.STALE) == 39
    row = await db.fetchrow("SELECT state, version FROM t.root")
    assert row is not None
    assert row["version"] == 2
    assert await db.fetchval("SELECT amount FROM t.total") == 7
    assert await db.fetchval("SELECT count(*) FROM t.claim") == 1


async def test_a_lost_claim_leaves_the_guarded_row(committer: Committer, db: Database) -> None:
    root = new_uuid7()
    await committer.submit(
        Change().add(ROOT, (MERCHANT, root, "new")).add(KEY, (MERCHANT, "k", new_uuid7()))
    )
    late = Change().add(MOVE, (MERCHANT, root, 1, "moved")).add(KEY, (MERCHANT, "k", new_uuid7()))
    assert await committer.submit(late) is Verdict.CLAIM_LOST
    row = await db.fetchrow("SELECT state, version FROM t.root")
    assert row is not None
    assert (row["state"], row["version"]) == ("new", 1)


async def test_guards_hold_across_processes(pg: TestDatabase, db: Database) -> None:
    committers = [await pg.committer("strongroom_pay") for _ in range(3)]
    root = new_uuid7()
    await committers[0].submit(Change().add(ROOT, (MERCHANT, root, "0")))

    async def bump(committer: Committer, times: int) -> None:
        for _ in range(times):
            while True:
                version = await db.fetchval("SELECT version FROM t.root")
                change = line(1).add(MOVE, (MERCHANT, root, version, "x"))
                if await committer.submit(change) is Verdict.COMMITTED:
                    break

    await asyncio.gather(*(bump(c, 20) for c in committers))
    assert await db.fetchval("SELECT version FROM t.root") == 61
    assert await db.fetchval("SELECT amount FROM t.total") == 60


async def test_the_queue_is_bounded(committer: Committer, db: Database) -> None:
    locker, hang_up = await db.dedicated()
    try:
        async with locker.transaction():
            await locker.execute("LOCK TABLE t.line IN ACCESS EXCLUSIVE MODE")
            waiting = [
                asyncio.create_task(outcome(committer, line(1)))
                for _ in range(COMMIT_QUEUE_MAX + 1_000)
            ]
            await asyncio.sleep(0.2)
            refused = [t for t in waiting if t.done()]
            assert committer.depth <= COMMIT_QUEUE_MAX
        results = await asyncio.gather(*waiting)
    finally:
        await hang_up()
    overloaded = [r for r in results if isinstance(r, Overloaded)]
    assert len(refused) >= 400
    assert all(r.retry_after_s for r in overloaded)
    assert results.count(Verdict.COMMITTED) + len(overloaded) == len(results)
    assert await db.fetchval("SELECT amount FROM t.total") == results.count(Verdict.COMMITTED)


async def test_lost_connections_are_replaced(
    pg: TestDatabase, committer: Committer, db: Database
) -> None:
    await committer.submit(line(1))
    root = await pg.database("postgres", size=1)
    await root.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE usename = 'strongroom_pay' AND datname = current_database()"
    )
    deadline = asyncio.get_running_loop().time() + 5
    while await outcome(committer, line(1)) is not Verdict.COMMITTED:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)
    assert not committer.failing


async def test_an_unreachable_database_is_said_at_once(tmp_path: object) -> None:
    nowhere = Target(host="/nonexistent", user="strongroom_pay")
    with pytest.raises(StorageUnavailable):
        await Committer(nowhere).open()


async def test_a_bulk_is_written_whole_or_not_at_all(db: Database, committer: Committer) -> None:
    ids = [new_uuid7() for _ in range(6)]
    good = Change().add(LINES, (MERCHANT, ids[:3], [1, 2, 3]))
    again = Change().add(LINES, (MERCHANT, ids[3:], [4, 5, 6])).add(SUM, (MERCHANT, 15))
    bad = (
        Change().add(LINES, (MERCHANT, [new_uuid7(), new_uuid7()], [7, 0])).add(SUM, (MERCHANT, 7))
    )
    results = await asyncio.gather(
        *map(committer.submit, (good, bad, again)), return_exceptions=True
    )
    assert results[0] is results[2] is Verdict.COMMITTED
    assert isinstance(results[1], ConstraintViolated)
    rows = await db.fetch("SELECT id, amount FROM t.line ORDER BY amount")
    assert [(row["id"], row["amount"]) for row in rows] == list(zip(ids, range(1, 7), strict=True))
    assert await db.fetchval("SELECT amount FROM t.total") == 15


async def test_a_bulk_whose_guard_is_stale_is_not_written(
    db: Database, committer: Committer
) -> None:
    root = new_uuid7()
    await committer.submit(Change().add(ROOT, (MERCHANT, root, "new")))
    change = Change().add(MOVE, (MERCHANT, root, 7, "moved"))
    change.add(LINES, (MERCHANT, [new_uuid7()], [1]))
    assert await committer.submit(change) is Verdict.STALE
    assert await db.fetchval("SELECT count(*) FROM t.line") == 0

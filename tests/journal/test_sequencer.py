"""The sequencer on a real PostgreSQL: order, leaders, crashes, and every state it must refuse."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from strongroom.journal import Witness, record, records, verify_store
from strongroom.journal.note import open_checkpoint, parse_key, sign_checkpoint
from strongroom.journal.tree import EMPTY_ROOT, leaf_hash
from strongroom.kernel.errors import StrongroomError
from strongroom.storage import Change, ConstraintViolated, Session
from tests.journal.support import House, TestSigner, entry, naive_root

SEEN = "SELECT size, root, note FROM journal.checkpoint ORDER BY size"


async def bodies(house: House) -> list[bytes]:
    rows = await house.owner.fetch(
        "SELECT e.body FROM journal.entry e JOIN journal.batch b ON b.id = e.batch_id "
        "ORDER BY b.first_index, e.n"
    )
    return [row["body"] for row in rows]


async def assert_sound(house: House, entries: int) -> None:
    report = await verify_store(house.reader, public_keys=[house.key])
    assert report.ok, report.problems
    assert (report.size, report.entries, report.unsequenced) == (entries, entries, 0)
    assert report.root == naive_root([leaf_hash(body) for body in await bodies(house)])


async def test_first_step_signs_the_empty_journal(house: House) -> None:
    sequencer = house.sequencer()
    assert await sequencer.step() == 0
    assert sequencer.leading
    checkpoint = await house.journal.checkpoint()
    assert (checkpoint.size, checkpoint.root) == (0, EMPTY_ROOT)
    assert open_checkpoint(checkpoint.note, [parse_key(house.key)]).size == 0
    await assert_sound(house, 0)


async def test_step_sequences_what_was_committed(house: House) -> None:
    await house.write(5)
    sequencer = house.sequencer()
    assert await sequencer.step() == 5
    assert await sequencer.step() == 0
    await house.write(3)
    assert await sequencer.step() == 3
    assert [row["size"] for row in await house.owner.fetch(SEEN)] == [0, 5, 8]
    await assert_sound(house, 8)


async def test_long_backlog_is_taken_in_bounded_chunks(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.journal.sequencer.MAX_ENTRIES_PER_STEP", 10)
    for _ in range(4):
        change = Change()
        for _ in range(6):
            record(change, entry(), at=datetime.now(UTC))
        await house.committer.submit(change)
    sequencer = house.sequencer()
    assert [await sequencer.step() for _ in range(5)] == [6, 6, 6, 6, 0]
    await assert_sound(house, 24)


async def test_batch_larger_than_a_step_is_taken_whole(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.journal.sequencer.MAX_ENTRIES_PER_STEP", 10)
    change = Change()
    for _ in range(600):
        record(change, entry(), at=datetime.now(UTC))
    await house.committer.submit(change)
    assert await house.sequencer().step() == 600
    await assert_sound(house, 600)


async def test_entries_get_their_checkpoint_within_a_second_under_load(house: House) -> None:
    """Concurrent writers through the real committer while the sequencer runs."""
    sequencer = house.sequencer()
    running = asyncio.create_task(sequencer.run())
    worst = 0.0

    async def writer() -> None:
        for _ in range(40):
            await house.write(1)
            await asyncio.sleep(0)

    async def watcher() -> None:
        nonlocal worst
        while True:
            worst = max(worst, await house.journal.lag())
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watcher())
    await asyncio.gather(*(writer() for _ in range(20)))
    while await house.journal.lag():
        await asyncio.sleep(0.02)
    watching.cancel()
    sequencer.stop()
    await running
    assert worst < 1.0, f"an entry waited {worst:.2f} s"
    await assert_sound(house, 800)


async def test_order_of_index_is_kept_when_a_commit_shows_late(house: House) -> None:
    """A batch with an older id that becomes visible later is sequenced later; nothing moves."""
    await house.write(2)
    sequencer = house.sequencer()
    await sequencer.step()
    before = await bodies(house)
    await house.tamper(
        "INSERT INTO journal.batch (id) VALUES ('00000000-0000-7000-8000-000000000001')",
        "INSERT INTO journal.entry (merchant_id, id, batch_id, n, at, action, subject, body) "
        "SELECT merchant_id, '00000000-0000-7000-8000-000000000002', "
        "'00000000-0000-7000-8000-000000000001', 0, at, action, subject, 'late' "
        "FROM journal.entry LIMIT 1",
    )
    assert await sequencer.step() == 1
    assert await bodies(house) == [*before, b"late"]


async def test_only_one_of_two_sequencers_leads_and_the_other_takes_over(house: House) -> None:
    first, second = house.sequencer(), house.sequencer()
    await house.write(3)
    assert await first.step() == 3
    assert await second.step() == 0
    assert (first.leading, second.leading) == (True, False)
    await house.write(2)
    assert await second.step() == 0
    await first.close()
    assert await second.step() == 2
    assert second.leading
    await assert_sound(house, 5)


async def test_standby_takes_over_when_the_leaders_connection_is_cut(house: House) -> None:
    first, second = house.sequencer(), house.sequencer()
    await first.step()
    await house.write(4)
    await house.tamper(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with pytest.raises(StrongroomError) as failure:
        await first.step()
    assert failure.value.code == "storage_unavailable"
    assert not first.leading
    moved = 0
    for _ in range(50):
        moved += await second.step()
        if moved:
            break
        await asyncio.sleep(0.05)
    assert moved == 4
    assert await first.step() == 0
    await assert_sound(house, 4)


async def test_leader_that_was_overtaken_signs_nothing(house: House) -> None:
    """The lock can be lost unnoticed (a pooler, a failover); the chain still holds."""
    first, second = house.sequencer(), house.sequencer()
    await first.step()
    session = first._session
    assert session is not None
    await session.execute("SELECT pg_advisory_unlock_all()")
    await house.write(3)
    assert await second.step() == 3
    await house.write(2)
    with pytest.raises(StrongroomError) as failure:
        await first.step()
    assert failure.value.code == "journal_overtaken"
    assert await second.step() == 2
    await assert_sound(house, 5)


async def test_leader_whose_checkpoint_was_replaced_signs_nothing(house: House) -> None:
    """Another database under the same name: same size, other root."""
    await house.fill(batches=1, size=5)
    leader = house.sequencer()
    await leader.step()
    await house.tamper(
        "UPDATE journal.checkpoint SET root = decode(repeat('01', 32), 'hex') WHERE size = 5"
    )
    await house.write(1)
    with pytest.raises(StrongroomError, match="journal_overtaken"):
        await leader.step()
    with pytest.raises(StrongroomError, match="row was edited"):
        await leader.step()


async def test_two_unlocked_leaders_at_the_same_moment_cannot_fork(house: House) -> None:
    first, second = house.sequencer(), house.sequencer()
    await first.step()
    assert first._session is not None
    await first._session.execute("SELECT pg_advisory_unlock_all()")
    await second.step()
    await house.write(3)
    results = await asyncio.gather(first.step(), second.step(), return_exceptions=True)
    won = [result for result in results if isinstance(result, int) and result > 0]
    assert won == [3], results
    await assert_sound(house, 3)


async def test_database_itself_refuses_a_second_successor(house: House) -> None:
    await house.fill(batches=1)
    sql = (
        "INSERT INTO journal.checkpoint (size, previous, root, note, at) "
        "VALUES ($1, $2, decode(repeat('00', 32), 'hex'), 'x', now())"
    )
    for size, previous in ((9, 0), (9, None), (9, 3)):
        with pytest.raises(ConstraintViolated):
            await house.database.execute(sql, size, previous)


@pytest.mark.parametrize("table", ["add_checkpoint", "place_batches", "write_tiles", "COMMIT"])
async def test_death_inside_a_step_leaves_the_last_checkpoint(
    house: House, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """The backend is killed right after each write of the step."""
    await house.fill(batches=1, size=3)
    await house.write(4)
    sequencer = house.sequencer()

    async def kill(session: Session) -> None:
        pid = await session.fetchval("SELECT pg_backend_pid()")
        await house.tamper(f"SELECT pg_terminate_backend({pid})")
        await asyncio.sleep(0.05)

    if table == "COMMIT":
        real_state, calls = sequencer._remember, 0

        async def forget(*, force: bool = False) -> None:
            nonlocal calls
            calls += 1
            if calls > 1:
                raise asyncio.CancelledError
            await real_state(force=force)

        monkeypatch.setattr(sequencer, "_remember", forget)
        with pytest.raises(asyncio.CancelledError):
            await sequencer.step()
        expected = 0
    else:
        real = getattr(records, table)

        async def dying(session: Session, *args: object, **options: object) -> object:
            result = await real(session, *args, **options)
            await kill(session)
            return result

        monkeypatch.setattr(f"strongroom.journal.records.{table}", dying)
        with pytest.raises(StrongroomError):
            await sequencer.step()
        assert (await house.journal.checkpoint()).size == 3
        expected = 4
    monkeypatch.undo()
    assert not sequencer.leading
    assert await house.sequencer().step() == expected
    await assert_sound(house, 7)


async def test_run_keeps_its_failure_and_recovers(house: House) -> None:
    await house.fill(batches=1)
    wrong = house.sequencer(signer=TestSigner(seed=b"\x09" * 32), interval_s=0.01)
    running = asyncio.create_task(wrong.run())
    await _until(lambda: wrong.failure is not None)
    assert wrong.failure is not None
    assert wrong.failure.code == "journal_damaged"
    wrong.stop()
    await asyncio.wait_for(running, 5)
    right = house.sequencer(interval_s=0.01)
    running = asyncio.create_task(right.run())
    await _until(lambda: right.leading)
    assert right.failure is None
    right.stop()
    await asyncio.wait_for(running, 5)


async def test_retired_key_is_accepted_for_what_it_signed(house: House) -> None:
    await house.fill(batches=1)
    new = TestSigner(seed=b"\x09" * 32)
    rotated = house.sequencer(signer=new, retired_keys=[house.key])
    await house.write(1)
    assert await rotated.step() == 1
    report = await verify_store(house.reader, public_keys=[new.text, house.key])
    assert report.ok, report.problems
    alone = await verify_store(house.reader, public_keys=[new.text])
    assert {p.code for p in alone.problems} == {"checkpoint_signature"}


DAMAGE = {
    "journal key": ("UPDATE journal.checkpoint SET note = replace(note, 'strongroom', 'x')",),
    "row was edited": (
        "UPDATE journal.checkpoint SET root = decode(repeat('00', 32), 'hex') WHERE size = 12",
    ),
    "tiles are missing": ("DELETE FROM journal.tile",),
    "cut": ("UPDATE journal.tile SET hashes = substring(hashes FROM 1 FOR 64)",),
    "lead to the signed root": ("UPDATE journal.tile SET hashes = set_byte(hashes, 40, 1)",),
    "too many": ("INSERT INTO journal.tile VALUES (0, 1, decode(repeat('00', 32), 'hex'))",),
    "sequenced up to": (
        "UPDATE journal.batch SET first_index = NULL, size = NULL WHERE first_index = 8",
    ),
    "checkpoints were deleted": ("DELETE FROM journal.checkpoint",),
}


@pytest.mark.parametrize("message", DAMAGE)
async def test_damaged_store_is_refused_with_the_reason(house: House, message: str) -> None:
    await house.fill(batches=3, size=4)
    await house.tamper(*DAMAGE[message])
    with pytest.raises(StrongroomError, match=message) as refusal:
        await house.sequencer().step()
    assert refusal.value.code == "journal_damaged"


async def test_older_database_is_refused_until_an_operator_overrides(
    house: House, tmp_path: Path
) -> None:
    """The witness file notices a restored backup: here, the last batch is gone without a trace."""
    witness = Witness(tmp_path / "journal" / "witness")
    await house.write(2)
    leader = house.sequencer(witness=witness)
    assert await leader.step() == 2
    await leader.close()
    await house.write(3)
    await leader.step()
    await leader.close()
    remembered = witness.read()
    assert remembered is not None
    assert remembered.size == 5
    await _restore(house, size=2)
    assert (await verify_store(house.reader, public_keys=[house.key])).ok
    told = await verify_store(house.reader, public_keys=[house.key], witness=witness)
    assert [p.code for p in told.problems] == ["rolled_back"]
    with pytest.raises(StrongroomError, match="ends at 2 entries, but 5") as refusal:
        await house.sequencer(witness=witness).step()
    assert refusal.value.code == "journal_fork"
    kept = witness.override(reason="disk lost, backup of Monday")
    assert kept is not None
    assert "disk lost" in kept.read_text()
    assert await house.sequencer(witness=witness).step() == 0
    remembered = witness.read()
    assert remembered is not None
    assert remembered.size == 2


async def test_other_history_is_refused(house: House, tmp_path: Path) -> None:
    await house.fill(batches=2, size=300)
    witness = Witness(tmp_path / "witness")
    checkpoint = await house.journal.checkpoint()
    note = checkpoint.note
    for size in (600, 257, 1):
        root = TestSigner().sign(b"")[:32]
        witness.write(sign_checkpoint(size, root, house.signer))
        with pytest.raises(StrongroomError, match="another history") as refusal:
            await house.sequencer(witness=witness).step()
        assert refusal.value.code == "journal_fork"
        told = await verify_store(house.reader, public_keys=[house.key], witness=witness)
        assert [p.code for p in told.problems] == ["other_history"]
    witness.path.write_text(note)
    assert await house.sequencer(witness=witness).step() == 0


@pytest.mark.parametrize("text", ["", "garbage", "a\n\n— b\n", "o\n07\nAAAA\n\n— x y\n"])
async def test_unreadable_witness_is_refused(house: House, tmp_path: Path, text: str) -> None:
    witness = Witness(tmp_path / "witness")
    witness.path.write_text(text)
    with pytest.raises(StrongroomError) as refusal:
        await house.sequencer(witness=witness).step()
    assert refusal.value.code == "journal_fork"


async def test_empty_database_beside_a_witness_is_refused(house: House, tmp_path: Path) -> None:
    witness = Witness(tmp_path / "witness")
    witness.write(sign_checkpoint(5, b"\x01" * 32, house.signer))
    with pytest.raises(StrongroomError, match="ends at 0 entries"):
        await house.sequencer(witness=witness).step()


async def _restore(house: House, *, size: int) -> None:
    """Bring the store to what a backup of that moment holds: sound in itself, but older."""
    await house.tamper(
        "DELETE FROM journal.entry USING journal.batch b "
        f"WHERE b.id = batch_id AND b.first_index >= {size}",
        f"DELETE FROM journal.batch WHERE first_index >= {size}",
        f"DELETE FROM journal.checkpoint WHERE size > {size}",
        f"UPDATE journal.tile SET hashes = substring(hashes FROM 1 FOR {size * 32})",
    )


async def _until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)

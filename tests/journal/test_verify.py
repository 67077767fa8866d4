"""Verification of the live store: whatever a superuser changes is found and named."""

from __future__ import annotations

import asyncio

import pytest

from strongroom.journal import MARKER, record, verify_store
from strongroom.journal.model import StoreReport
from strongroom.journal.note import sign_checkpoint
from strongroom.kernel.ids import new_id, uuid_of
from strongroom.storage import Change, Committer, ConstraintViolated, Database
from strongroom.storage.change import StorageUnavailable
from tests.journal.support import CLOCK, House, TestSigner, entry


async def check(house: House, **options: object) -> StoreReport:
    return await verify_store(house.reader, public_keys=[house.key], **options)  # type: ignore[arg-type]


def codes(report: StoreReport) -> set[str]:
    return {problem.code for problem in report.problems}


def ent(entry_id: str) -> str:
    return f"'{uuid_of(entry_id, 'ent')}'"


async def test_sound_store_is_sound_and_counted(house: House) -> None:
    await house.fill(batches=5, size=130)
    await house.write(2)
    told: list[tuple[str, int, int]] = []
    report = await check(house, progress=lambda *args: told.append(args))
    assert report.ok, report.problems
    assert (report.size, report.entries, report.batches) == (650, 650, 5)
    assert (report.tiles, report.unsequenced) == (4, 2)
    assert report.checkpoints == 2
    assert ("entries", 650, 650) in told
    assert report.root == (await house.journal.checkpoint()).root


async def test_pages_do_not_change_the_verdict(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.fill(batches=30, size=11)
    whole = await check(house)
    for name, value in (("PAGE_ENTRIES", 7), ("_PAGE_BATCHES", 4), ("_PAGE_SUMS", 3)):
        monkeypatch.setattr(f"strongroom.journal.verify.{name}", value)
    paged = await check(house)
    assert (paged.ok, paged.entries, paged.root) == (True, 330, whole.root)


async def test_empty_store_is_sound(house: House) -> None:
    assert (await check(house)).ok
    await house.sequencer().step()
    assert (await check(house)).checkpoints == 1


async def test_changed_entry_is_named(house: House) -> None:
    ids = await house.fill(batches=3, size=100)
    await house.tamper(
        "UPDATE journal.entry SET body = convert_to(replace(convert_from(body, 'utf8'), '1099', "
        f"'1'), 'utf8') WHERE id = {ent(ids[150])}"
    )
    report = await check(house)
    assert codes(report) == {"entry_changed"}
    assert report.problems[0].where == f"entry {ids[150]} (index 150)"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("subject", "'pay_2'"),
        ("action", "'payments:payment:void'"),
        ("at", "at + interval '1 s'"),
        ("merchant_id", "'00000000-0000-0000-0000-000000000000'"),
        ("id", "'01980000-0000-7000-8000-000000000000'"),
    ],
)
async def test_changed_column_is_named(house: House, column: str, value: str) -> None:
    ids = await house.fill(batches=1)
    await house.tamper(f"UPDATE journal.entry SET {column} = {value} WHERE id = {ent(ids[2])}")
    report = await check(house)
    assert codes(report) == {"entry_columns"}
    assert column.split("_")[0] in report.problems[0].message


async def test_dropped_entry_is_told_by_its_index(house: House) -> None:
    ids = await house.fill(batches=2, size=5)
    await house.tamper(f"DELETE FROM journal.entry WHERE id = {ent(ids[6])}")
    report = await check(house)
    assert codes(report) == {"entry_missing"}
    assert [problem.where for problem in report.problems] == ["index 6"]


async def test_dropped_batch_is_told_by_its_indexes(house: House) -> None:
    await house.fill(batches=3, size=5)
    await house.tamper(
        "DELETE FROM journal.entry USING journal.batch b WHERE b.id = batch_id "
        "AND b.first_index = 5",
        "DELETE FROM journal.batch WHERE first_index = 5",
    )
    report = await check(house)
    assert [(p.code, p.where) for p in report.problems] == [("entries_missing", "indexes 5 to 9")]


async def test_dropped_last_batch_is_told(house: House) -> None:
    await house.fill(batches=3, size=5)
    await house.tamper("DELETE FROM journal.batch WHERE first_index = 10")
    report = await check(house)
    assert codes(report) == {"entries_missing", "entry_orphan"}


async def test_reordered_entries_are_named(house: House) -> None:
    ids = await house.fill(batches=2, size=5)
    first, second = ent(ids[1]), ent(ids[3])
    await house.tamper(
        f"UPDATE journal.entry SET n = 100 WHERE id = {first}",
        f"UPDATE journal.entry SET n = 1 WHERE id = {second}",
        f"UPDATE journal.entry SET n = 3 WHERE id = {first}",
    )
    report = await check(house)
    assert codes(report) == {"entry_moved"}
    assert {p.where.split()[1] for p in report.problems} == {ids[1], ids[3]}


async def test_reordered_batches_are_found(house: House) -> None:
    await house.fill(batches=2, size=5)
    await house.tamper(
        "UPDATE journal.batch SET first_index = 50 WHERE first_index = 0",
        "UPDATE journal.batch SET first_index = 0 WHERE first_index = 5",
        "UPDATE journal.batch SET first_index = 5 WHERE first_index = 50",
    )
    report = await check(house)
    assert codes(report) == {"entry_changed"}
    assert report.problem_count == 10


async def test_overlapping_batches_are_found(house: House) -> None:
    await house.fill(batches=3, size=5)
    await house.tamper("UPDATE journal.batch SET first_index = 7 WHERE first_index = 10")
    assert {"batch_overlap", "entries_missing"} <= codes(await check(house))


async def test_added_entry_is_named(house: House) -> None:
    await house.fill(batches=2, size=5)
    await house.tamper(
        "INSERT INTO journal.entry (merchant_id, id, batch_id, n, at, action, subject, body) "
        "SELECT merchant_id, '01980000-0000-7000-8000-000000000000', batch_id, 2000, at, action, "
        "subject, 'x' FROM journal.entry LIMIT 1"
    )
    report = await check(house)
    assert "entry_added" in codes(report)
    assert {p.code for p in report.problems} <= {"entry_added", "entry_unreadable"}


async def test_entry_of_no_batch_is_found(house: House) -> None:
    """A writer's role may insert entries; one that no batch accounts for is under no checkpoint."""
    await house.fill(batches=1, size=5)
    await house.reader.execute(
        "INSERT INTO journal.entry (merchant_id, id, batch_id, n, at, action, subject, body) "
        "SELECT merchant_id, '01980000-0000-7000-8000-000000000000', "
        "'01980000-0000-7000-8000-000000000000', 0, at, action, subject, body "
        "FROM journal.entry LIMIT 1"
    )
    assert codes(await check(house)) == {"entry_orphan"}


async def test_batch_marked_but_never_signed_is_found(house: House) -> None:
    await house.fill(batches=1, size=5)
    await house.write(3)
    await house.tamper(
        "UPDATE journal.batch SET first_index = 5, size = 1 WHERE id = "
        "(SELECT id FROM journal.batch WHERE first_index IS NULL LIMIT 1)",
        "UPDATE journal.batch SET first_index = 0, size = 0 WHERE id = "
        "(SELECT id FROM journal.batch WHERE first_index IS NULL LIMIT 1)",
    )
    report = await check(house)
    assert codes(report) == {"batch_unsigned"}
    assert report.problem_count == 2


async def test_changed_leaf_tile_is_blamed_and_not_its_entry(house: House) -> None:
    await house.fill(batches=3, size=300)
    await house.tamper(
        "UPDATE journal.tile SET hashes = set_byte(hashes, 40, get_byte(hashes, 40) # 1) "
        "WHERE level = 0 AND tile_index = 1"
    )
    report = await check(house)
    assert [(p.code, p.where) for p in report.problems] == [("tile_changed", "tile 0/1")]


async def test_changed_upper_tile_is_named(house: House) -> None:
    await house.fill(batches=3, size=300)
    await house.tamper("UPDATE journal.tile SET hashes = set_byte(hashes, 40, 1) WHERE level = 1")
    report = await check(house)
    assert [(p.code, p.where) for p in report.problems] == [("tile_changed", "tile 1/0")]
    assert "tile 0/1" in report.problems[0].message


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("DELETE FROM journal.tile WHERE level = 0 AND tile_index = 1", "tile_missing"),
        ("DELETE FROM journal.tile WHERE level = 0 AND tile_index = 3", "tile_width"),
        ("DELETE FROM journal.tile WHERE level = 1", "tile_width"),
        (
            "UPDATE journal.tile SET hashes = substring(hashes FROM 1 FOR 64) WHERE level = 0 "
            "AND tile_index = 0",
            "tile_missing",
        ),
        (
            "INSERT INTO journal.tile VALUES (2, 0, decode(repeat('00', 32), 'hex'))",
            "tile_width",
        ),
        (
            "UPDATE journal.tile SET hashes = hashes || decode(repeat('00', 32), 'hex') "
            "WHERE level = 1",
            "tile_width",
        ),
    ],
)
async def test_missing_cut_and_extra_tiles_are_found(
    house: House, statement: str, code: str
) -> None:
    await house.fill(batches=3, size=300)
    await house.tamper(statement)
    assert code in codes(await check(house))


async def test_forged_checkpoint_is_found(house: House) -> None:
    """Someone else's key over the true tree, or the true key over another tree."""
    await house.fill(batches=1, size=5)
    true = await house.journal.checkpoint()
    stranger = sign_checkpoint(true.size, true.root, TestSigner(seed=b"\x09" * 32))
    await house.tamper(f"UPDATE journal.checkpoint SET note = '{stranger.note}' WHERE size = 5")
    assert codes(await check(house)) == {"checkpoint_signature"}
    other = sign_checkpoint(5, b"\x01" * 32, house.signer)
    await house.tamper(f"UPDATE journal.checkpoint SET note = '{other.note}' WHERE size = 5")
    assert codes(await check(house)) == {"checkpoint_changed"}
    await house.tamper("UPDATE journal.checkpoint SET root = '\\x" + "01" * 32 + "' WHERE size = 5")
    assert codes(await check(house)) == {"checkpoint_root"}


async def test_removed_checkpoint_is_found(house: House) -> None:
    await house.fill(batches=1, size=5)
    await house.fill(batches=1, size=5)
    assert (await check(house)).checkpoints == 3
    await house.tamper("DELETE FROM journal.checkpoint WHERE size = 5")
    report = await check(house)
    assert [(p.code, p.where) for p in report.problems] == [("checkpoint_missing", "checkpoint 10")]


async def test_problems_are_counted_beyond_what_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.journal.audit.MAX_PROBLEMS", 3)
    await house.fill(batches=1, size=10)
    await house.tamper("UPDATE journal.entry SET body = body || 'x'::bytea")
    report = await check(house)
    assert len(report.problems) == 3
    assert report.problem_count == 20  # each is changed, and each is no longer an entry


async def test_growing_store_is_verified_up_to_its_last_checkpoint(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.journal.verify._PAGE_BATCHES", 1)
    await house.fill(batches=5, size=60)
    first_page = asyncio.Event()
    checking = asyncio.create_task(check(house, progress=lambda *_: first_page.set()))
    await first_page.wait()
    await house.fill(batches=4, size=60)
    report = await checking
    assert (report.ok, report.size) == (True, 300), report.problems
    assert (await check(house)).size == 540


CHANGES = (
    "UPDATE journal.entry SET subject = 'x'",
    "DELETE FROM journal.entry",
    "TRUNCATE journal.entry",
    "UPDATE journal.checkpoint SET note = 'x'",
    "DELETE FROM journal.checkpoint",
    "TRUNCATE journal.checkpoint CASCADE",
    "DELETE FROM journal.batch",
    "UPDATE journal.batch SET first_index = 99",
    "UPDATE journal.batch SET first_index = NULL, size = NULL",
    "DELETE FROM journal.tile",
    "TRUNCATE journal.tile",
    "UPDATE journal.tile SET hashes = substring(hashes FROM 1 FOR 32)",
    "UPDATE journal.tile SET hashes = set_byte(hashes, 3, 1)",
    "UPDATE journal.tile SET tile_index = 9",
)


async def test_even_the_owner_changes_nothing(house: House) -> None:
    await house.fill(batches=1)
    for statement in CHANGES:
        with pytest.raises(ConstraintViolated) as refusal:
            await house.owner.execute(statement)
        assert refusal.value.constraint == "journal_append_only", statement


FORBIDDEN = (
    "UPDATE journal.entry SET subject = 'x'",
    "DELETE FROM journal.entry",
    "UPDATE journal.batch SET first_index = 99",
    "INSERT INTO journal.batch (id, first_index, size) VALUES (gen_random_uuid(), 9, 1)",
    "INSERT INTO journal.tile VALUES (0, 9, decode(repeat('00', 32), 'hex'))",
    "INSERT INTO journal.checkpoint VALUES (99, 0, '', 'x', now())",
    "ALTER TABLE journal.entry DISABLE TRIGGER ALL",
    "SET session_replication_role = replica",
)


@pytest.mark.parametrize("role", ["strongroom_pay", "strongroom_vault"])
async def test_writers_may_only_add(house: House, role: str) -> None:
    await house.fill(batches=1)
    writer = await Database(house.target(role)).open()
    for statement in FORBIDDEN:
        with pytest.raises(StorageUnavailable) as refusal:
            await writer.execute(statement)
        assert "42501" in refusal.value.detail, statement
    await writer.close()


async def test_sequencer_role_writes_no_entries(house: House) -> None:
    await house.fill(batches=1)
    for statement in (
        "INSERT INTO journal.entry SELECT * FROM journal.entry",
        "INSERT INTO journal.batch (id) VALUES (gen_random_uuid())",
        "UPDATE journal.batch SET id = gen_random_uuid()",
        "DELETE FROM journal.entry",
    ):
        with pytest.raises(StorageUnavailable) as refusal:
            await house.database.execute(statement)
        assert "42501" in refusal.value.detail


async def test_vault_writes_its_own_entries(house: House) -> None:
    committer = await Committer(house.target("strongroom_vault"), marker=MARKER).open()
    change = Change()
    entry_id = record(change, entry(subject=new_id("tok")), at=CLOCK.now())
    await committer.submit(change)
    await committer.close()
    assert await house.sequencer().step() == 1
    assert (await check(house)).ok
    assert entry_id

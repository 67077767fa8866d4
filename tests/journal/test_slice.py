"""Exported slices: they verify without the store, and every way to change one is told apart."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from strongroom.journal import export_slice, verify_slice
from strongroom.journal.note import sign_checkpoint
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id
from tests.journal.support import MERCHANT, House, TestSigner

OTHER = new_id("mer")
Lines = list[dict[str, Any]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slice.jsonl"


async def exported(house: House, path: Path, **options: Any) -> Path:
    await export_slice(house.reader, path, public_keys=[house.key], **options)
    return path


def lines_of(path: Path) -> Lines:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rewrite(path: Path, change: Callable[[Lines], None], *, redigest: bool) -> Path:
    """Change a slice as a clever forger would: with the digest and the count made to fit."""
    lines = lines_of(path)
    change(lines)
    data = b"".join(
        json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        for line in lines[:-1]
    )
    if redigest:
        lines[-1].update(count=len(lines) - 2, sha256=hashlib.sha256(data).hexdigest())
    path.write_bytes(data + json.dumps(lines[-1], separators=(",", ":")).encode() + b"\n")
    return path


def codes(path: Path, key: str | None) -> set[str]:
    report = verify_slice(path, public_key=key)
    assert report.ok == (not report.problems)
    return {problem.code for problem in report.problems}


async def test_whole_journal_round_trip(house: House, path: Path) -> None:
    ids = await house.fill(batches=6, size=120)
    await house.write(1)  # not sequenced yet: not in the slice
    await exported(house, path)
    told: list[int] = []
    report = verify_slice(path, public_key=house.key, progress=told.append)
    assert report.ok, report.problems
    assert (report.entries, report.first, report.last, report.size) == (720, 0, 719, 720)
    assert report.complete
    assert report.statements == [
        "These are all 720 entries of the journal, unchanged and in order."
    ]
    bodies = [json.loads(line["body"])["id"] for line in lines_of(path)[1:-1]]
    assert bodies == ids
    assert not list(path.parent.glob("*.part"))


async def test_file_without_a_given_key_is_only_self_consistent(house: House, path: Path) -> None:
    await house.fill()
    report = verify_slice(await exported(house, path))
    assert report.ok
    assert not report.key_given
    assert any("key was taken from the file itself" in text for text in report.statements)
    assert report.key == house.key


async def test_empty_journal_and_empty_selection(house: House, path: Path) -> None:
    await house.sequencer().step()
    assert verify_slice(await exported(house, path), public_key=house.key).ok
    await house.fill()
    await exported(house, path, merchant=OTHER)
    report = verify_slice(path, public_key=house.key)
    assert (report.ok, report.entries, report.complete) == (True, 0, False)


async def test_time_range_is_contiguous_and_complete(house: House, path: Path) -> None:
    await house.fill(batches=2, size=50)
    await house.tamper(  # as if these had been committed two hours earlier
        "UPDATE journal.entry SET batch_id = ('01900000' || substr(batch_id::text, 9))::uuid",
        "UPDATE journal.batch SET id = ('01900000' || substr(id::text, 9))::uuid",
    )
    since = datetime.now(UTC) - timedelta(minutes=1)
    await house.fill(batches=2, size=50)
    await exported(house, path, since=since)
    report = verify_slice(path, public_key=house.key)
    assert report.ok, report.problems
    assert (report.first, report.last, report.complete) == (100, 199, True)
    assert "indexes 100 to 199 of 200" in report.statements[0]
    await exported(house, path, until=since - timedelta(minutes=5))
    report = verify_slice(path, public_key=house.key)
    assert (report.ok, report.first, report.last) == (True, 0, 99)
    await exported(house, path, since=since + timedelta(days=1))
    assert verify_slice(path, public_key=house.key).entries == 0


async def test_selection_holds_one_merchants_entries(house: House, path: Path) -> None:
    mine = await house.fill(batches=2, size=300)
    theirs = await house.fill(batches=2, size=10, merchant=OTHER)
    await exported(house, path, merchant=OTHER)
    report = verify_slice(path, public_key=house.key)
    assert report.ok, report.problems
    assert (report.entries, report.complete) == (20, False)
    assert "a selection cannot prove" in report.statements[0]
    held = [json.loads(line["body"])["id"] for line in lines_of(path)[1:-1]]
    assert held == sorted(theirs)
    await exported(house, path, merchant=MERCHANT, until=datetime.now(UTC))
    assert verify_slice(path, public_key=house.key).entries == len(mine)
    await exported(house, path, merchant=MERCHANT, since=datetime.now(UTC))
    assert verify_slice(path, public_key=house.key).entries == 0


def _edit_entry(lines: Lines) -> None:
    lines[5]["body"] = lines[5]["body"].replace("1099", "1")


def _edit_proof(lines: Lines) -> None:
    lines[5]["proof"][0] = lines[6]["proof"][1]


def _cut_proof(lines: Lines) -> None:
    lines[5]["proof"].pop()


def _edit_checkpoint(lines: Lines) -> None:
    lines[0]["checkpoint"] = lines[0]["checkpoint"].replace("\n30\n", "\n31\n")


def _other_origin(lines: Lines) -> None:
    lines[0]["checkpoint"] = lines[0]["checkpoint"].replace("strongroom", "elsewhere")


def _unreadable_checkpoint(lines: Lines) -> None:
    lines[0]["checkpoint"] = "nothing"


def _foreign_checkpoint(lines: Lines) -> None:
    lines[0]["checkpoint"] = sign_checkpoint(30, b"\x01" * 32, TestSigner(seed=b"\x09" * 32)).note


def _true_key_other_root(lines: Lines) -> None:
    lines[0]["checkpoint"] = sign_checkpoint(30, b"\x01" * 32, TestSigner()).note


def _drop(lines: Lines) -> None:
    del lines[7]


def _drop_last(lines: Lines) -> None:
    del lines[-2]


def _swap(lines: Lines) -> None:
    lines[7], lines[8] = lines[8], lines[7]


def _repeat(lines: Lines) -> None:
    lines.insert(7, lines[7])


def _shift_index(lines: Lines) -> None:
    lines[7]["index"] = 400


def _garbage(lines: Lines) -> None:
    lines[7] = {"hello": 1}


def _not_json_body(lines: Lines) -> None:
    lines[7]["body"] = "hello"


def _other_format(lines: Lines) -> None:
    lines[0]["format"] = "strongroom.journal.slice.v2"


def _other_key(lines: Lines) -> None:
    lines[0]["key"] = TestSigner(seed=b"\x09" * 32).text


FORGERIES: list[tuple[Callable[[Lines], None], set[str]]] = [
    (_edit_entry, {"entry_changed"}),
    (_edit_proof, {"entry_changed"}),
    (_cut_proof, {"entry_changed"}),
    (_edit_checkpoint, {"checkpoint_invalid", "entry_changed"}),
    (_other_origin, {"checkpoint_invalid"}),
    (_unreadable_checkpoint, {"checkpoint_invalid"}),
    (_foreign_checkpoint, {"checkpoint_invalid", "entry_changed"}),
    (_true_key_other_root, {"entry_changed"}),
    (_drop, {"entry_missing"}),
    (_drop_last, {"entry_missing"}),
    (_swap, {"entry_missing", "out_of_order"}),
    (_repeat, {"out_of_order"}),
    (_shift_index, {"entry_changed", "entry_missing", "out_of_order"}),
    (_garbage, {"line_malformed", "entry_missing", "count_wrong"}),
    (_not_json_body, {"line_malformed", "entry_missing"}),
    (_other_format, {"not_a_slice"}),
    (_other_key, {"other_key"}),
]


@pytest.mark.parametrize(("forge", "expected"), FORGERIES, ids=lambda f: getattr(f, "__name__", ""))
async def test_forgery_is_told_even_when_the_digest_is_made_to_fit(
    house: House, path: Path, forge: Callable[[Lines], None], expected: set[str]
) -> None:
    await house.fill(batches=3, size=10)
    await exported(house, path)
    assert codes(path, house.key) == set()
    assert codes(rewrite(path, forge, redigest=True), house.key) == expected


async def test_careless_change_also_breaks_the_digest(house: House, path: Path) -> None:
    await house.fill(batches=3, size=10)
    await exported(house, path)
    assert codes(rewrite(path, _drop, redigest=False), house.key) == {
        "entry_missing",
        "count_wrong",
        "file_changed",
    }


async def test_seal_tells_what_was_taken_from_a_selection(house: House, path: Path) -> None:
    await house.fill(batches=3, size=10)
    await exported(house, path, merchant=MERCHANT)
    rewrite(path, _drop, redigest=True)
    assert codes(path, house.key) == set(), "without a seal a selection cannot tell: say so"
    await exported(house, path, merchant=MERCHANT, signer=house.signer)
    report = verify_slice(path, public_key=house.key)
    assert any("seal fits" in text for text in report.statements)
    rewrite(path, _drop, redigest=True)
    assert codes(path, house.key) == {"seal_broken"}
    await exported(house, path, merchant=MERCHANT, signer=TestSigner(seed=b"\x09" * 32))
    assert codes(path, house.key) == {"seal_broken"}


async def test_selection_of_another_merchant_or_order_is_told(house: House, path: Path) -> None:
    await house.fill(batches=3, size=10)
    await exported(house, path, merchant=MERCHANT)
    rewrite(path, lambda lines: lines[0].update(merchant=OTHER), redigest=True)
    assert codes(path, house.key) == {"entry_foreign"}
    await exported(house, path, merchant=MERCHANT)
    assert codes(rewrite(path, _swap, redigest=True), house.key) == {"out_of_order"}
    await exported(house, path, merchant=MERCHANT)
    assert codes(rewrite(path, _repeat, redigest=True), house.key) == {"out_of_order"}


async def test_cut_and_lengthened_files_are_told(house: House, path: Path) -> None:
    await house.fill(batches=3, size=10)
    await exported(house, path)
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    assert codes(path, house.key) == {"cut_short"}
    path.write_bytes(whole[: len(whole) // 2])
    assert codes(path, house.key) == {"cut_short", "line_malformed", "entry_missing"}
    path.write_bytes(whole + whole.splitlines(keepends=True)[3])
    assert codes(path, house.key) == {"after_end"}
    for data in (b"", b"\x00\xff", b"{}\n", b"[" * 100_000):
        path.write_bytes(data)
        assert codes(path, house.key) == {"not_a_slice"}


@pytest.mark.parametrize("step", [997])
async def test_no_flipped_byte_goes_unseen(house: House, path: Path, step: int) -> None:
    await house.fill(batches=3, size=10)
    await exported(house, path)
    whole = path.read_bytes()
    for at in range(0, len(whole), step):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert codes(path, house.key), f"byte {at}"


async def test_slice_verifies_without_store_and_driver(house: House, path: Path) -> None:
    await house.fill()
    await exported(house, path)
    program = (
        "import sys, pathlib\n"
        "from strongroom.journal import verify_slice, verify_proof\n"
        "report = verify_slice(pathlib.Path(sys.argv[1]), public_key=sys.argv[2])\n"
        "assert report.ok and report.entries == 12, report\n"
        "loaded = [m for m in sys.modules if m.startswith(('asyncpg', 'strongroom.storage'))]\n"
        "assert not loaded, loaded\n"
    )
    command = [sys.executable, "-c", program, str(path), house.key]
    subprocess.run(command, check=True, timeout=30)


async def test_export_refuses_what_it_cannot_prove(house: House, path: Path) -> None:
    with pytest.raises(StrongroomError, match="no_checkpoint"):
        await exported(house, path)
    await house.fill(batches=3, size=100)
    with pytest.raises(StrongroomError, match="not signed by any"):
        await export_slice(house.reader, path, public_keys=[TestSigner(seed=b"\x09" * 32).text])
    damages = {
        "has 99 entries where 100 were signed": (
            "DELETE FROM journal.entry WHERE n = 3 AND batch_id = "
            "(SELECT id FROM journal.batch WHERE first_index = 200)"
        ),
        "No entry is stored at index 100": "DELETE FROM journal.batch WHERE first_index = 100",
        "A proof cannot be made": "DELETE FROM journal.tile WHERE level = 0 AND tile_index = 0",
    }
    for message, damage in damages.items():
        await house.tamper(damage)
        with pytest.raises(StrongroomError, match=message) as refusal:
            await exported(house, path)
        assert refusal.value.code == "journal_damaged"
    assert list(path.parent.iterdir()) == [], "nothing half-written stays"


async def test_export_by_a_rotated_key_names_the_key_that_signed(house: House, path: Path) -> None:
    await house.fill()
    new = TestSigner(seed=b"\x09" * 32).text
    await export_slice(house.reader, path, public_keys=[new, house.key])
    assert verify_slice(path, public_key=house.key).ok

"""From a number in a log to a finding, to its end, and back when it comes again."""

from __future__ import annotations

import io
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from strongroom.storage.embedded import EmbeddedPostgres
from tests.cli.support import Run, refused, strongroom
from tests.detection.cards import masked, number

PAN = number(("visa", 16), 41)
OTHER = number(("mastercard", 16), 42)
DONE = (
    "--disposition", "deleted", "--reason", "removed from the log", "--source",
    "debug output of the checkout", "--fix", "debug output is off", "--sad-checked",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A test installation with its database up."""
    data_dir = tmp_path_factory.mktemp("findings") / "data"
    run = strongroom("init", "--mode", "test", "--json", data_dir=data_dir)
    assert run.code == 0, run.err
    with EmbeddedPostgres(data_dir):
        yield data_dir


def scan(*targets: object, data_dir: Path, code: int | None = None) -> Any:
    run = strongroom("scan", *targets, "--json", data_dir=data_dir)
    assert code is None or run.code == code, (run.code, run.out, run.err)
    assert PAN not in run.out and OTHER not in run.out
    return run.json


def listed(data_dir: Path, *more: str) -> list[dict[str, Any]]:
    run = strongroom("findings", "list", *more, "--json", data_dir=data_dir)
    assert run.code == 0, run.err
    found: list[dict[str, Any]] = run.json
    return found


def do(*words: str, data_dir: Path) -> Run:
    return strongroom("findings", *words, data_dir=data_dir)


async def statement(data_dir: Path, *statements: str) -> None:
    server = EmbeddedPostgres(data_dir)
    connection = await asyncpg.connect(
        **{**server.connect_kwargs("strongroom_owner"), "database": "strongroom"}
    )
    try:
        for sql in statements:
            await connection.execute(sql)
    finally:
        await connection.close()


async def journaled(data_dir: Path, finding: str) -> list[str]:
    server = EmbeddedPostgres(data_dir)
    connection = await asyncpg.connect(
        **{**server.connect_kwargs("strongroom_owner"), "database": "strongroom"}
    )
    try:
        rows = await connection.fetch(
            "SELECT action FROM journal.entry WHERE subject = $1 ORDER BY id", finding
        )
    finally:
        await connection.close()
    return [row["action"].rpartition(":")[2] for row in rows]


async def test_a_number_in_a_log_opens_a_finding_until_it_is_mended(
    made: Path, tmp_path: Path
) -> None:
    log = tmp_path / "checkout.log"
    log.write_text(f"paid with card {PAN}\nand again {PAN}\n")
    told = scan(log, data_dir=made, code=1)
    assert [hit["mask"] for hit in told["hits"]] == [masked(PAN)] * 2
    assert len(told["opened"]) == 1
    (finding,) = [f for f in listed(made) if f["id"] == told["opened"][0]]
    assert (finding["state"], finding["count"], finding["last4"]) == ("open", 2, PAN[-4:])
    assert finding["place"] == str(log) and finding["severity"] == "high"

    assert scan(log, data_dir=made, code=1)["opened"] == [], "known already"
    assert do("acknowledge", finding["id"], "--reason", "mine", data_dir=made).code == 0
    assert "resolution_incomplete" in refused(
        do("resolve", finding["id"], *DONE[:4], data_dir=made), 1
    )
    assert do("resolve", finding["id"], *DONE, data_dir=made).code == 0
    assert finding["id"] not in {f["id"] for f in listed(made)}
    (closed,) = [f for f in listed(made, "--all") if f["id"] == finding["id"]]
    assert (closed["state"], closed["disposition"], closed["sad_checked"]) == (
        "resolved", "deleted", True,
    )  # fmt: skip
    assert closed["count"] == 4

    log.write_text("mended\n")
    scan(log, data_dir=made, code=0)
    log.write_text(f"paid with card {PAN}\n")
    assert scan(log, data_dir=made, code=1)["opened"] == [finding["id"]]
    (again,) = [f for f in listed(made) if f["id"] == finding["id"]]
    assert again["state"] == "open" and again["disposition"] is None
    assert await journaled(made, finding["id"]) == ["open", "acknowledge", "resolve", "reopen"]


def test_a_false_positive_stays_closed(made: Path, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text(f"order {OTHER}\n")
    (opened,) = scan(tmp_path, data_dir=made)["opened"]
    how = ("--disposition", "false_positive", "--reason", "order numbers of the old shop")
    assert do("resolve", opened, *how, data_dir=made).code == 0
    assert scan(tmp_path, data_dir=made, code=1)["opened"] == []
    assert opened not in {f["id"] for f in listed(made)}
    assert "finding_resolved" in refused(do("resolve", opened, *how, data_dir=made), 1)


def test_a_reason_cannot_be_the_next_leak(made: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"card {number(('visa', 16), 77)}\n")
    (opened,) = scan(tmp_path, data_dir=made)["opened"]
    line = refused(do("acknowledge", opened, "--reason", f"it is {PAN}", data_dir=made), 1)
    assert "card_number_in_text" in line and PAN not in line


def test_an_unknown_finding_is_refused(made: Path) -> None:
    unknown = "fnd_01kb000000000000000000000"
    assert "(invalid_id)" in refused(do("show", unknown, data_dir=made), 1)
    assert "(finding_not_found)" in refused(do("show", unknown + "0", data_dir=made), 1)


def test_nothing_is_kept_with_no_record(made: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"card {number(('visa', 16), 78)}\n")
    assert scan(tmp_path, "--no-record", data_dir=made, code=1)["opened"] == []


def test_without_an_installation_paths_can_be_scanned(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"card {PAN}\n")
    told = scan(tmp_path / "a.log", data_dir=tmp_path / "none", code=1)
    assert told["hits"][0]["keyed_hash"] and told["opened"] == []
    line = refused(strongroom("scan", "database", data_dir=tmp_path / "none"), 1)
    assert "(not_initialized)" in line


def test_exit_codes_tell_what_happened(tmp_path: Path) -> None:
    none = tmp_path / "none"
    (tmp_path / "clean").write_text("nothing here\n")
    scan(tmp_path / "clean", data_dir=none, code=0)
    told = scan(tmp_path / "missing", data_dir=none, code=3)
    assert told["unread"][0]["reason"] == "No such file or directory"


def test_our_own_data_directory_is_clean_and_a_number_in_it_is_found(made: Path) -> None:
    told = scan("logs", data_dir=made)
    assert told["hits"] == [] and told["files"] > 500 and told["bytes"] > 2**24
    (made / "exports").mkdir()
    (made / "exports" / "slice.jsonl").write_text(f'{{"card": "{PAN}"}}\n')
    with sqlite3.connect(made / "exports" / "state.sqlite") as base:
        base.execute("CREATE TABLE t (a TEXT)")
    base.close()
    told = scan("logs", data_dir=made, code=1)
    assert [Path(hit["place"]).name for hit in told["hits"]] == ["slice.jsonl"]
    (made / "exports" / "slice.jsonl").unlink()


def test_text_for_people_names_no_number(made: Path, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(f"card {PAN}\n")
    run = strongroom("scan", tmp_path, data_dir=made)
    assert run.code == 1 and masked(PAN) in run.out and PAN not in run.out
    assert "strongroom findings list" in run.out
    shown = strongroom("findings", "list", data_dir=made)
    assert shown.code == 0 and PAN not in shown.out


async def test_the_database_is_scanned_column_by_column(made: Path) -> None:
    """The last one: what it writes stays in the write-ahead log, where `scan logs` finds it."""
    before = scan("database", data_dir=made, code=0)
    assert before["rows"] > 10 and before["columns"] > 50 and before["unread"] == []
    await statement(
        made,
        "CREATE TABLE public.stray (id int, note text, raw bytea, doc jsonb, n bigint, big text)",
        f"""INSERT INTO public.stray SELECT i, CASE WHEN i = 700 THEN 'card {PAN}' END,
            CASE WHEN i = 3 THEN 'card {OTHER}'::bytea END,
            CASE WHEN i = 4 THEN '{{"card": "{PAN}"}}'::jsonb END,
            CASE WHEN i = 5 THEN {PAN} END,
            CASE WHEN i = 6 THEN repeat('x', 600000) || ' card {PAN}' END
            FROM generate_series(1, 1500) i""",
    )
    try:
        told = scan("database", data_dir=made, code=1)
        places = {hit["place"]: hit for hit in told["hits"] if hit["kind"] == "pan_outside_cde"}
        names = ("note", "raw", "doc", "n", "big")
        assert set(places) == {f"public.stray.{name}" for name in names}
        assert places["public.stray.note"]["row"].startswith("(")
        unmapped = {h["place"] for h in told["hits"] if h["kind"] == "unmapped_column"}
        assert unmapped == {f"public.stray.{name}" for name in ("id", *names)}
        assert len(told["opened"]) == len(places) + len(unmapped)
    finally:
        await statement(made, "DROP TABLE public.stray")
    scan("database", data_dir=made, code=0)
    wal = scan("logs", data_dir=made, code=1)
    assert {Path(hit["place"]).parent.name for hit in wal["hits"]} >= {"pg_wal"}


def test_no_name_in_an_archive_keeps_findings_from_being_opened(made: Path, tmp_path: Path) -> None:
    line, out = f"card {OTHER}\n".encode(), io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("logXname")
        info.size = len(line)
        tar.addfile(info, io.BytesIO(line))
    odd = bytearray(out.getvalue())
    odd[3] = 0
    (tmp_path / "odd.tar").write_bytes(odd)
    found = scan(tmp_path, data_dir=made, code=1)
    (finding,) = found["opened"]
    assert any(one["id"] == finding for one in listed(made))

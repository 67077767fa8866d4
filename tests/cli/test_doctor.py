"""`strongroom doctor` on healthy and on broken installations."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.app import House, load
from strongroom.cli.installation import owner
from strongroom.storage.embedded import EmbeddedPostgres
from tests.cli.support import Run, strongroom
from tests.support.stack import Stack


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("doctor") / "data"
    assert strongroom("init", "--mode", "test", data_dir=data_dir).code == 0
    return data_dir


@pytest.fixture(scope="module")
def made(stopped: Path) -> Iterator[Path]:
    with EmbeddedPostgres(stopped):
        assert strongroom("merchants", "create", "Demo", data_dir=stopped).code == 0
        asyncio.run(sign(stopped))
        yield stopped


async def sign(data_dir: Path) -> None:
    async with House(load(data_dir, {})) as house:
        await house.sequencer.step()
        await house.sequencer.close()


def examine(data_dir: Path) -> tuple[Run, dict[str, dict[str, str]]]:
    run = strongroom("doctor", "--json", data_dir=data_dir)
    return run, {found["check"]: found for found in run.json["checks"]}


def sql(data_dir: Path, statement: str) -> Any:
    async def run() -> Any:
        async with owner(load(data_dir, {})) as database:
            return await database.execute(statement)

    return asyncio.run(run())


def test_a_running_installation_is_well(stack: Stack) -> None:
    run, found = examine(stack.data_dir)
    assert run.code == 0, [f for f in found.values() if f["status"] != "ok"]
    assert {f["status"] for f in found.values()} <= {"ok", "warn"}
    assert found["gateway sandbox"]["status"] == found["service"]["status"] == "ok"
    assert found["roles"]["status"] == found["durability"]["status"] == "ok"
    assert "hold" in found["journal"]["told"]
    for secret in (stack.secret_key, stack.operator_admin_key, stack.sandbox_key):
        assert secret not in run.out


def test_a_stopped_installation_is_well_but_its_sandbox_sleeps(stopped: Path) -> None:
    run, found = examine(stopped)
    assert run.code == 0
    assert found["gateway sandbox"]["status"] == "warn"
    assert "strongroom up" in found["gateway sandbox"]["mend"]


def test_the_table_is_for_people(made: Path) -> None:
    told = strongroom("doctor", data_dir=made).out
    assert "how to mend it" in told and "checks:" in told


def test_no_installation_is_told(tmp_path: Path) -> None:
    run, found = examine(tmp_path)
    assert run.code == 1
    assert "strongroom init" in found["settings"]["told"]


def test_a_key_file_that_others_can_read_fails(made: Path) -> None:
    key = made / "root.key"
    key.chmod(0o644)
    try:
        run, found = examine(made)
    finally:
        key.chmod(0o600)
    assert run.code == 1
    assert f"chmod 600 {key}" in found["permissions"]["mend"]
    assert found["root"]["status"] == "fail"


def test_a_data_directory_that_others_can_enter_fails(made: Path) -> None:
    made.chmod(0o755)
    try:
        run, found = examine(made)
    finally:
        made.chmod(0o700)
    assert run.code == 1
    assert f"chmod 700 {made}" in found["permissions"]["mend"]


@pytest.mark.parametrize("name", ["root.json", "root.key"])
def test_a_missing_root_fails(made: Path, name: str) -> None:
    kept = made / f"{name}.aside"
    (made / name).rename(kept)
    try:
        run, found = examine(made)
    finally:
        kept.rename(made / name)
    assert run.code == 1
    assert found["root"]["status"] == "fail" and "backup" in found["root"]["mend"]
    assert found["engine"]["status"] == "ok"
    assert "Traceback" not in run.err


def test_wrong_settings_fail(made: Path) -> None:
    file = made / "strongroom.toml"
    text = file.read_text()
    file.write_text("nothing_known = 1\n" + text)
    try:
        run, found = examine(made)
    finally:
        file.write_text(text)
    assert run.code == 1
    assert "nothing_known" in found["settings"]["told"]


def test_roles_that_reach_too_far_fail(made: Path) -> None:
    sql(made, "GRANT USAGE ON SCHEMA vault TO strongroom_pay")
    sql(made, "GRANT SELECT ON vault.card TO strongroom_pay")
    try:
        run, found = examine(made)
    finally:
        sql(made, "REVOKE SELECT ON vault.card FROM strongroom_pay")
        sql(made, "REVOKE USAGE ON SCHEMA vault FROM strongroom_pay")
    assert run.code == 1
    assert found["roles"]["told"] == "strongroom_pay may use vault.card"
    assert examine(made)[1]["roles"]["status"] == "ok"


def test_a_schema_behind_fails_and_stops_commands(made: Path) -> None:
    row = "WHERE room = 'payments' AND number = 1"
    sql(made, "CREATE TABLE meta.aside AS SELECT * FROM meta.migration " + row)
    sql(made, "DELETE FROM meta.migration " + row)
    try:
        run, found = examine(made)
        refused = strongroom("keys", "list", data_dir=made)
        checked = strongroom("migrate", "--check", data_dir=made)
    finally:
        sql(made, "INSERT INTO meta.migration SELECT * FROM meta.aside")
        sql(made, "DROP TABLE meta.aside")
    assert run.code == refused.code == checked.code == 1
    assert "strongroom migrate" in found["migrations"]["mend"]
    assert "(schema_behind)" in refused.err
    assert "payments/0001" in checked.out


def test_a_changed_journal_fails(made: Path) -> None:
    sql(made, "CREATE TABLE meta.aside AS SELECT id, body FROM journal.entry")
    sql(made, "ALTER TABLE journal.entry DISABLE TRIGGER USER")
    try:
        sql(made, "UPDATE journal.entry SET body = set_byte(body, 20, 65)")
        run, found = examine(made)
        verified = strongroom("journal", "verify", "--json", data_dir=made)
    finally:
        sql(made, "UPDATE journal.entry e SET body = a.body FROM meta.aside a WHERE a.id = e.id")
        sql(made, "ALTER TABLE journal.entry ENABLE TRIGGER USER")
        sql(made, "DROP TABLE meta.aside")
    assert run.code == verified.code == 1
    assert found["journal"]["status"] == "fail"
    assert "entry_changed" in {p["code"] for p in verified.json["problems"]}
    assert examine(made)[1]["journal"]["status"] == "ok"


def test_a_database_that_lets_nobody_in_fails(made: Path) -> None:
    passwords = made / "pg-secrets"
    kept = passwords.read_text()
    passwords.write_text("{}")
    try:
        run, found = examine(made)
    finally:
        passwords.write_text(kept)
    assert run.code == 1
    assert found["database"]["status"] == "fail"

"""A PostgreSQL that is given by URL: same program, roles taken with SET ROLE, no server of ours."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from strongroom.app.scanning import run_apart
from strongroom.app.settings import load
from strongroom.kernel.secret import Secret
from strongroom.storage import Database, Target
from strongroom.storage.change import StorageUnavailable
from strongroom.storage.embedded import EmbeddedPostgres
from tests.support.pay import operate, pay
from tests.support.postgres import drop_database, fresh_database
from tests.support.stack import Stack

pytestmark = pytest.mark.slow(25)


def test_the_program_runs_on_a_given_database(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    name = asyncio.run(fresh_database(postgres))
    url = postgres.url("postgres", database=name)
    stack = Stack(tmp_path, environ={"STRONGROOM_DATABASE_URL": url.reveal()})
    try:
        for _ in range(2):
            stack.start()
            payment = pay(stack, capture_method="manual").json
            assert payment["status"] == "authorized"
            assert operate(stack, payment["id"], "capture").json["status"] == "captured"
            assert not (stack.data_dir / "postgres").exists()
            asyncio.run(the_serving_role_cannot_read_the_vault(url))
            assert url.reveal() not in " ".join(stack.processes().values())
            asyncio.run(the_daily_scan_runs_here_too(stack.data_dir, url))
            stack.stop()
    finally:
        stack.stop()
        asyncio.run(drop_database(postgres, name))


async def the_daily_scan_runs_here_too(data_dir: Path, url: Secret[str]) -> None:
    await run_apart(load(data_dir, {"STRONGROOM_DATABASE_URL": url.reveal()}))
    database = Database(Target(url=url), size=1)
    await database.open()
    try:
        ended = "SELECT count(*) FROM detection.scan_run WHERE finished_at IS NOT NULL"
        assert await database.fetchval(ended) == 2
    finally:
        await database.close()


def test_apart_on_a_given_database_only_the_vault_has_the_owners_login(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    name = asyncio.run(fresh_database(postgres))
    logins = {
        "STRONGROOM_DATABASE_URL": postgres.url("postgres", database=name).reveal(),
        "STRONGROOM_VAULT_DATABASE_URL": postgres.url("strongroom_vault", database=name).reveal(),
    }
    with pytest.raises(RuntimeError, match="STRONGROOM_PAY_DATABASE_URL"):
        Stack(tmp_path, environ=logins, split=True).start()
    own = postgres.url("strongroom_pay", database=name).reveal()
    environ = {**logins, "STRONGROOM_PAY_DATABASE_URL": own}
    (tmp_path / "apart").mkdir()
    stack = Stack(tmp_path / "apart", environ=environ, split=True)
    try:
        stack.start()
        assert pay(stack).status == 201
        given = {role: environment_of(stack, f"--role={role}") for role in ("api", "worker")}
        given["sandbox"] = environment_of(stack, "strongroom.app.sandboxing")
        for found in given.values():
            assert not any(url.encode() in found for url in logins.values())
        assert own.encode() not in given["sandbox"]
    finally:
        stack.stop()
        asyncio.run(drop_database(postgres, name))


def environment_of(stack: Stack, words: str) -> bytes:
    """Return a process's environment; empty when it is hardened against this user, too."""
    (found,) = stack.processes(words)
    try:
        return Path(f"/proc/{found}/environ").read_bytes()
    except PermissionError:
        return b""


async def the_serving_role_cannot_read_the_vault(url: Secret[str]) -> None:
    database = Database(Target(url=url, role="strongroom_pay"), size=1)
    await database.open()
    try:
        assert await database.fetchval("SELECT count(*) FROM pay.payment") > 0
        with pytest.raises(StorageUnavailable, match="storage_unavailable") as denied:
            await database.fetch("SELECT * FROM vault.card")
        assert "42501" in denied.value.detail
    finally:
        await database.close()

"""A real private PostgreSQL for tests, and sight of its processes.

`tests/conftest.py` re-exports the fixture `postgres`; a test that needs an empty database asks
`fresh_database` for one of its own.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest

from strongroom.storage.embedded import EmbeddedPostgres


@contextmanager
def embedded_postgres(tmp: Path) -> Iterator[EmbeddedPostgres]:
    """Run a private PostgreSQL below `tmp` for the length of the block."""
    with EmbeddedPostgres(tmp / "data") as server:
        yield server


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One server for the whole test run."""
    with embedded_postgres(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="session")
def stopped_cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that was started once: copied, it saves a test the time of initdb."""
    tmp = tmp_path_factory.mktemp("stopped")
    with embedded_postgres(tmp):
        pass
    return tmp / "data"


def copy_cluster(stopped: Path, target: Path) -> Path:
    """Copy a stopped data directory with its owners and modes."""
    subprocess.run(["cp", "-a", str(stopped), str(target)], check=True)
    return target


async def fresh_database(server: EmbeddedPostgres, *, template: str = "template1") -> str:
    """Make a database, a copy of `template`, set up as `strongroom` is; return its name."""
    name = f"test_{secrets.token_hex(6)}"
    roles = "strongroom_owner, strongroom_pay, strongroom_vault, strongroom_journal"
    connection = await asyncpg.connect(**server.connect_kwargs("postgres"))
    try:
        await connection.execute(
            f"CREATE DATABASE {name} TEMPLATE {template} OWNER strongroom_owner"
        )
        await connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        await connection.execute(f"GRANT CONNECT ON DATABASE {name} TO {roles}, strongroom_read")
    finally:
        await connection.close()
    return name


async def drop_database(server: EmbeddedPostgres, name: str) -> None:
    """Remove a database made by `fresh_database`, whoever is still connected."""
    connection = await asyncpg.connect(**server.connect_kwargs("postgres"))
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    finally:
        await connection.close()


def processes_below(data_dir: Path) -> dict[int, str]:
    """Return pid and command line of all processes that work for a data directory (Linux)."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            where = os.readlink(entry / "cwd")
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        watches = "embedded_watchdog" in command and str(data_dir) in command
        if watches or where.startswith(f"{data_dir}/"):
            found[int(entry.name)] = command.strip()
    return found


def await_no_processes(data_dir: Path, *, within_s: float) -> dict[int, str]:
    """Wait until no process works for a data directory; returns those that are left."""
    deadline = time.monotonic() + within_s
    while (left := processes_below(data_dir)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def postmaster_pid(data_dir: Path) -> int:
    """Return the server's process id."""
    text = (data_dir / "postgres" / "cluster" / "postmaster.pid").read_text(encoding="utf-8")
    return int(text.splitlines()[0])

"""The embedded PostgreSQL on bad days: kill -9 of its parent, its watchdog, itself; leftovers.

The rule under test: what was acknowledged is there afterwards, and what was killed leaves no
process behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from strongroom.storage.embedded import EmbeddedPostgres
from tests.support.postgres import (
    await_no_processes,
    copy_cluster,
    postmaster_pid,
    processes_below,
)

# Starts a server, says so, then commits numbered rows and says each one only after its commit.
WRITER = """
import asyncio, os, pathlib, sys
import asyncpg
from strongroom.storage.embedded import EmbeddedPostgres

async def write(server):
    connection = await asyncpg.connect(**server.connect_kwargs("strongroom_owner"))
    await connection.execute("CREATE SCHEMA IF NOT EXISTS t")
    await connection.execute("CREATE TABLE IF NOT EXISTS t.row (n bigint PRIMARY KEY)")
    for number in range(1_000_000):
        await connection.execute("INSERT INTO t.row VALUES ($1)", number)
        print(number, flush=True)

server = EmbeddedPostgres(pathlib.Path(sys.argv[1]))
server.start()
if "fork" in sys.argv and os.fork() == 0:
    import time
    time.sleep(60)
print("ready", flush=True)
if "leave" not in sys.argv:
    asyncio.run(write(server))
"""

BROKEN = (
    OSError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what the driver says when a connection ends under a statement
)


@pytest.fixture
def empty(tmp_path):
    path = tmp_path / "data"
    yield path
    left = processes_below(path)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == {}


@pytest.fixture
def data(empty, stopped_cluster):
    return copy_cluster(stopped_cluster, empty)


def writer(data: Path, *options: str) -> subprocess.Popen:
    command = [sys.executable, "-c", WRITER, str(data), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def read_until(process: subprocess.Popen, line: str) -> None:
    for said in process.stdout:
        if said.strip() == line:
            return
    raise AssertionError(f"the writer ended before it said {line}")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def watchdog_pid(data: Path) -> int:
    return next(pid for pid, said in processes_below(data).items() if "embedded_watchdog" in said)


async def rows(server) -> int:
    connection = await asyncpg.connect(**server.connect_kwargs("strongroom_owner"))
    try:
        count, last = await connection.fetchrow("SELECT count(*), max(n) FROM t.row")
    finally:
        await connection.close()
    assert count == last + 1, "a row in the middle is lost"
    return count


async def answers(server, *, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while True:
        try:
            connection = await asyncpg.connect(**server.connect_kwargs("strongroom_owner"))
        except (OSError, asyncpg.PostgresError):
            assert time.monotonic() < deadline, "the server did not come back"
            await asyncio.sleep(0.05)
            continue
        await connection.close()
        return


def kill_and_read_rest(process: subprocess.Popen) -> int:
    """Kill a writer; returns the number of the last row it had acknowledged."""
    process.kill()
    rest, _ = process.communicate(timeout=10)
    numbers = [int(line) for line in rest.splitlines() if line.strip().isdigit()]
    return max(numbers, default=-1)


async def test_killing_the_parent_stops_everything_and_loses_nothing(data):
    process = writer(data)
    read_until(process, "200")
    acknowledged = max(200, kill_and_read_rest(process))
    assert await_no_processes(data, within_s=5) == {}
    with EmbeddedPostgres(data) as server:
        assert await rows(server) > acknowledged


async def test_killing_parent_and_watchdog_together_stops_everything(data):
    process = writer(data)
    read_until(process, "200")
    kill(watchdog_pid(data))
    acknowledged = max(200, kill_and_read_rest(process))
    assert await_no_processes(data, within_s=10) == {}
    with EmbeddedPostgres(data) as server:
        assert await rows(server) > acknowledged


async def test_a_forked_child_that_outlives_the_parent_does_not_keep_the_server(data):
    process = writer(data, "fork")
    read_until(process, "ready")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    forked = next(pid for pid in map(int, children) if pid != watchdog_pid(data))
    process.kill()
    process.wait()
    try:
        assert await_no_processes(data, within_s=5) == {}
    finally:
        kill(forked)
        process.stdout.close()


async def test_a_parent_that_just_leaves_stops_the_server(data):
    process = writer(data, "leave")
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert await_no_processes(data, within_s=5) == {}


@pytest.mark.parametrize("after_s", [0.15, 0.5, 0.8])
async def test_killing_the_parent_in_its_first_start_leaves_a_directory_that_starts(empty, after_s):
    process = writer(empty)
    time.sleep(after_s)
    process.kill()
    process.communicate()
    with EmbeddedPostgres(empty) as server:
        await answers(server, within_s=0)
    assert await_no_processes(empty, within_s=5) == {}


async def test_killing_the_server_in_the_middle_of_writes_loses_no_acknowledged_row(data):
    with EmbeddedPostgres(data) as server:
        acknowledged = -1

        async def write() -> None:
            nonlocal acknowledged
            connection = await asyncpg.connect(**server.connect_kwargs("strongroom_owner"))
            await connection.execute("CREATE SCHEMA t; CREATE TABLE t.row (n bigint PRIMARY KEY)")
            for number in range(1_000_000):
                await connection.execute("INSERT INTO t.row VALUES ($1)", number)
                acknowledged = number

        writing = asyncio.create_task(write())
        while acknowledged < 200:
            await asyncio.sleep(0.01)
        kill(postmaster_pid(data))
        with pytest.raises(BROKEN):
            await asyncio.wait_for(writing, timeout=10)
        server.ensure()
        assert server.is_alive
        assert await rows(server) > acknowledged


async def test_the_keeper_brings_a_killed_server_back_by_itself(data):
    with EmbeddedPostgres(data) as server:
        for kill_it in (postmaster_pid, watchdog_pid):
            before = postmaster_pid(data)
            kill(kill_it(data))
            deadline = time.monotonic() + 10
            while str(before) in _pid_file(data):
                assert time.monotonic() < deadline, "the server was not replaced"
                time.sleep(0.01)
            await answers(server, within_s=10)


async def test_a_busy_orphan_of_a_killed_server_cannot_write_beside_the_next_one(data):
    with EmbeddedPostgres(data) as server:
        connection = await asyncpg.connect(**server.connect_kwargs("strongroom_owner"))
        orphan = connection.get_server_pid()
        busy = asyncio.create_task(connection.execute("DO $$ BEGIN LOOP END LOOP; END $$"))
        await asyncio.sleep(0.3)
        kill(postmaster_pid(data))
        time.sleep(0.5)
        assert orphan in processes_below(data), "the orphan ended by itself: nothing is tested"
        server.ensure()
        assert orphan not in processes_below(data)
        with pytest.raises(BROKEN):
            await asyncio.wait_for(busy, timeout=10)


def test_a_pid_file_whose_number_belongs_to_a_stranger_does_not_stop_the_start(data):
    cluster = data / "postgres" / "cluster"
    owner = cluster.stat()
    who = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    stranger = subprocess.Popen(["sleep", "60"], cwd="/", **(who if os.geteuid() == 0 else {}))
    try:
        leftover = cluster / "postmaster.pid"
        leftover.write_text(f"{stranger.pid}\n{cluster}\n0\n5432\n\n\n0 0\nready\n")
        with EmbeddedPostgres(data) as server:
            assert server.is_alive
            assert postmaster_pid(data) != stranger.pid
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_stop_is_quick_although_clients_are_in_the_middle_of_things(data):
    server = EmbeddedPostgres(data)
    server.start()
    connection = await asyncpg.connect(**server.connect_kwargs("strongroom_owner"))
    await connection.execute("BEGIN")
    begun = time.monotonic()
    await asyncio.to_thread(server.stop)
    assert time.monotonic() - begun < 5
    assert await_no_processes(data, within_s=1) == {}
    connection.terminate()


async def test_a_full_disk_in_the_log_does_not_stop_the_server(data):
    with EmbeddedPostgres(data) as server:
        # A log that cannot be written any more: the limit of file size, for the watchdog alone.
        import resource

        resource.prlimit(watchdog_pid(data), resource.RLIMIT_FSIZE, (0, 0))
        for _ in range(20):
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(
                    **{**server.connect_kwargs("strongroom_pay"), "password": "wrong"}
                )
        await answers(server, within_s=0)


def _pid_file(data: Path) -> str:
    try:
        return (data / "postgres" / "cluster" / "postmaster.pid").read_text()
    except FileNotFoundError:
        return ""

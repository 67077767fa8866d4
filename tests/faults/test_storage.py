"""Storage on its bad days: refused and not ready while it lasts, whole again after."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.storage import Database
from strongroom.storage.embedded import EmbeddedPostgres
from tests.support import truth
from tests.support.pay import body, new_key, pay
from tests.support.stack import Stack

pytestmark = pytest.mark.slow(25)


def ready(stack: Stack) -> dict[str, Any]:
    """Return the readiness answer with its status."""
    answer = stack.call("GET", "/health/ready", key=None)
    return {**answer.json, "status": answer.status}


def await_ready(stack: Stack, status: int, within_s: float = 30) -> dict[str, Any]:
    """Wait until readiness answers with a status; return the answer."""
    deadline = time.monotonic() + within_s
    while (found := ready(stack))["status"] != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def test_a_blocked_journal_refuses_payments_and_readiness(stack: Stack) -> None:
    await_ready(stack, 200)
    locked, release = threading.Event(), threading.Event()

    async def hold() -> None:
        root = Database(EmbeddedPostgres(stack.data_dir).target("postgres"), size=1)
        await root.open()
        async with root.transaction() as session:
            await session.execute("LOCK TABLE journal.entry IN ACCESS EXCLUSIVE MODE")
            locked.set()
            while not release.is_set():
                await asyncio.sleep(0.05)
        await root.close()

    holder = threading.Thread(target=lambda: asyncio.run(hold()))
    holder.start()
    assert locked.wait(10)
    key, given = new_key(), body(reference=new_key())
    try:
        refused = stack.call("POST", "/v1/payments", given, idempotency_key=key)
        assert refused.status == 503, refused.body
        assert refused.json["code"] in ("storage_unavailable", "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        assert await_ready(stack, 503)["status"] == 503
    finally:
        release.set()
        holder.join(timeout=10)
    await_ready(stack, 200)
    retried = stack.call("POST", "/v1/payments", given, idempotency_key=key)
    assert retried.status == 201, retried.body
    listed = stack.call("GET", f"/v1/payments?reference={given['reference']}").json["data"]
    assert len(listed) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, small enough to fill."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("needs a small file system: run as root, with mount(8)")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400m,mode=0755", "tmpfs", str(tmp_path)],
        capture_output=True,
        check=False,
    )
    if made.returncode != 0:
        pytest.skip("needs a small file system: allow this container to mount a tmpfs")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=False)


def test_a_full_disk_refuses_and_recovers(small_disk: Path) -> None:
    stack = Stack(small_disk, patience_s=1.0).start()
    try:
        assert pay(stack).status == 201
        ballast = small_disk / "ballast"
        fill(ballast)
        await_ready(stack, 503)
        statuses = pay_until_refused(stack)
        assert 503 in statuses
        assert set(statuses) <= {201, 202, 503}
        ballast.unlink()
        await_ready(stack, 200, within_s=60)
        assert pay(stack).status == 201
        truth.check(stack)
    finally:
        stack.stop()


def fill(ballast: Path) -> None:
    """Write until nothing more fits."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65_536)
        except OSError:
            return


def pay_until_refused(stack: Stack) -> list[int]:
    """Take payments until the database has no room left."""
    statuses: list[int] = []
    deadline = time.monotonic() + 60
    while 503 not in statuses[-3:] and time.monotonic() < deadline:
        try:
            statuses.append(pay(stack).status)
        except OSError:
            statuses.append(503)
        fill(stack.data_dir.parent / "ballast-more")
        (stack.data_dir.parent / "ballast-more").unlink(missing_ok=True)
    return statuses

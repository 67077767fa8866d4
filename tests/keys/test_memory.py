"""Keys do not end in core dumps, caches are bounded, and counters survive a kill."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys

import pytest

from strongroom.kernel import limits
from strongroom.keys.cache import KeyCache
from tests.keys.house import House, MovableClock, new_merchant

_HARDENED = """
import ctypes, os, resource
from strongroom.keys import harden_process
assert harden_process()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0, "still dumpable"
print(os.stat("/proc/self/mem").st_uid)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone has the flag")
def test_a_hardened_process_leaves_no_core_and_cannot_be_traced() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HARDENED], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "0", "/proc/self belongs to root now"


_DIES = """
import asyncio, json, os, signal, sys
from pathlib import Path
from uuid import UUID
from strongroom.journal import MARKER
from strongroom.kernel.secret import Secret
from strongroom.keys import Context, Keyring, SealedFileRoot
from strongroom.storage import Committer, Database, Target

async def main(given):
    password = Secret(given["password"])
    target = Target(
        database=given["database"], host=given["host"], port=given["port"],
        user=given["user"], password=password,
    )
    root = SealedFileRoot.open(
        Path(given["root"]), mode="test", installation=UUID(given["installation"]),
        key_file=Path(given["key"]),
    )
    database = await Database(target).open()
    keyring = await Keyring.open(database, await Committer(target, marker=MARKER).open(), root)
    for _ in range(given["seals"]):
        await keyring.seal(Context(given["merchant"], "tok_x", "card"), b"x")
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(json.load(sys.stdin)))
"""


async def test_a_killed_process_has_never_used_more_than_is_counted(installed: House) -> None:
    merchant = new_merchant()
    login = installed.server.connect_kwargs("strongroom_vault", database=installed.name)
    given = {
        **{name: login[name] for name in ("host", "port", "user", "password", "database")},
        "root": str(installed.root_file),
        "key": str(installed.key_file),
        "installation": str(installed.installation),
        "merchant": merchant,
        "seals": 10,
    }
    for killed in (1, 2):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", _DIES],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        (row,) = await installed.sql("SELECT reserved FROM keys.dek")
        assert row["reserved"] == killed * limits.KEY_USES_BLOCK >= killed * given["seals"]


# --- the cache ---


async def test_the_cache_is_bounded_and_drops_the_longest_unused() -> None:
    cache: KeyCache[int, str] = KeyCache(size=3, ttl_s=10, clock=MovableClock())
    for number in range(3):
        cache.put(number, str(number))
    assert cache.find(0) == "0"
    cache.put(3, "3")
    assert [cache.find(number) for number in range(4)] == ["0", None, "2", "3"]
    assert len(cache) == 3


async def test_nothing_in_the_cache_outlives_its_time_even_when_used() -> None:
    clock = MovableClock()
    cache: KeyCache[int, str] = KeyCache(size=3, ttl_s=10, clock=clock)
    cache.put(1, "one")
    for _ in range(9):
        clock.move(1)
        assert cache.find(1) == "one"
    clock.move(1)
    assert cache.find(1) is None
    assert len(cache) == 0


async def test_many_who_wait_for_one_key_load_it_once() -> None:
    cache: KeyCache[int, str] = KeyCache(size=3, ttl_s=10, clock=MovableClock())
    loads = 0

    async def load() -> str:
        nonlocal loads
        loads += 1
        await asyncio.sleep(0.01)
        return "one"

    assert await asyncio.gather(*(cache.get(1, load) for _ in range(50))) == ["one"] * 50
    assert loads == 1


async def test_one_who_gives_up_does_not_spoil_it_for_the_others() -> None:
    cache: KeyCache[int, str] = KeyCache(size=3, ttl_s=10, clock=MovableClock())

    async def load() -> str:
        await asyncio.sleep(0.02)
        return "one"

    first = asyncio.create_task(cache.get(1, load))
    second = asyncio.create_task(cache.get(1, load))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "one"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_failed_load_is_tried_again() -> None:
    cache: KeyCache[int, str] = KeyCache(size=3, ttl_s=10, clock=MovableClock())
    answers: list[str | Exception] = [ValueError("down"), "one"]

    async def load() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(ValueError, match="down"):
        await cache.get(1, load)
    assert await cache.get(1, load) == "one"

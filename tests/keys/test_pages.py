"""Where clear keys lie: protected pages, zeroed places, and what a reader of memory finds."""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.kernel.secret import Secret
from strongroom.keys import Context
from strongroom.keys.envelope import unwrap_key
from strongroom.keys.memory import PAGE_BYTES, SLOT_BYTES, SecretPages
from tests.keys.house import House, new_merchant

_SLOTS = PAGE_BYTES // SLOT_BYTES
_LINUX = sys.platform.startswith("linux")
pytestmark = pytest.mark.skipif(not _LINUX, reason="Linux alone has such pages")


def address_of(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


def kernel_reads(address: int) -> bytes | None:
    """What /proc/self/mem shows: the way of debuggers and of whoever reads another's memory."""
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        try:
            return memory.read(SLOT_BYTES)
        except OSError:
            return None


def flags_at(address: int) -> set[str]:
    """The flags of the mapping around an address, from /proc/self/smaps."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(found[1], 16) <= address < int(found[2], 16)
        elif inside and line.startswith("VmFlags:"):
            return set(line.split()[1:])
    return set()


@pytest.mark.parametrize("kind", ["memfd_secret", "mlock"])
def test_a_place_is_zero_when_its_last_user_lets_go(kind: str) -> None:
    pages = SecretPages(allowed=(kind,))  # type: ignore[arg-type]
    place = pages.take()
    if pages.protection == "none":  # a kernel without it: the next test says what happens then
        assert kind == "memfd_secret"
        return
    place[:] = b"K" * SLOT_BYTES
    address = address_of(place)
    part = place[8:16]
    del place
    gc.collect()
    assert bytes(part) == b"K" * 8, "a part that is held keeps the whole place"
    assert pages.held == 1
    del part
    gc.collect()
    assert pages.held == 0
    assert ctypes.string_at(address, SLOT_BYTES) == bytes(SLOT_BYTES)
    assert address_of(pages.take()) == address, "and may be used again"


def test_a_secret_page_is_read_by_nobody_else() -> None:
    pages = SecretPages()
    place = pages.take()
    place[:] = b"K" * SLOT_BYTES
    if pages.protection == "memfd_secret":
        assert kernel_reads(address_of(place)) is None
        assert "dc" in flags_at(address_of(place)), "no copy in a forked child"
    plain = ctypes.create_string_buffer(b"K" * SLOT_BYTES)
    assert kernel_reads(ctypes.addressof(plain)) == b"K" * SLOT_BYTES, "the test can see"


def test_a_locked_page_is_left_out_of_dumps_and_of_children() -> None:
    pages = SecretPages(allowed=("mlock",))
    place = pages.take()
    assert pages.protection == "mlock"
    assert {"lo", "dd", "wf"} <= flags_at(address_of(place))


def test_places_are_bounded_and_plain_memory_serves_where_nothing_can_be_locked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pages = SecretPages(allowed=("mlock",), pages_max=1)
    held = [pages.take() for _ in range(_SLOTS + 3)]
    assert pages.held == _SLOTS
    assert isinstance(held[-1].obj, bytearray)
    with caplog.at_level(logging.WARNING):
        none = SecretPages(allowed=())
        views = [none.take() for _ in range(3)]
    assert none.protection == "none"
    assert all(bytes(view) == bytes(SLOT_BYTES) for view in views)
    assert len([r for r in caplog.records if "plain memory" in r.message]) == 1


_FORKED = """
import os
from strongroom.keys.memory import PAGES
place = PAGES.take()
place[:] = b"K" * 32
child = os.fork()
if child == 0:
    own = PAGES.take()
    own[:] = b"C" * 32
    del own
    os._exit(0 if bytes(PAGES.take()) == bytes(32) else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert bytes(place) == b"K" * 32
"""


def test_a_forked_child_begins_with_pages_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FORKED], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


_ABORTS = """
import os, resource
from strongroom.keys import harden_process
most = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (most, most))
assert harden_process()
assert int(next(l for l in open("/proc/self/status") if l.startswith("NoNewPrivs")).split()[1])
os.abort()
"""


def test_a_crash_leaves_no_core() -> None:
    child = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", _ABORTS])  # noqa: S606
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), status
    assert not os.WCOREDUMP(status)


_SAME_USER = """
import ctypes, os, sys, time
from strongroom.keys import harden_process
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
ready, tell = os.pipe()
child = os.fork()
if child == 0:
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
    if sys.argv[1] == "hardened":
        assert harden_process()
    os.write(tell, b"x")
    time.sleep(60)
os.read(ready, 1)
try:
    memory = open(f"/proc/{child}/mem", "rb", buffering=0)
    print("read")
except PermissionError:
    print("refused")
os.kill(child, 9)
"""


@pytest.mark.parametrize(("how", "answer"), [("hardened", "refused"), ("open", "read")])
def test_a_process_of_the_same_user_reads_no_memory(how: str, answer: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SAME_USER, how],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == answer, done.stderr


_CLOSED = """
import asyncio, gc, json, sys
from pathlib import Path
from uuid import UUID
from strongroom.journal import MARKER
from strongroom.kernel.secret import Secret
from strongroom.keys import Context, Keyring, SealedFileRoot
from strongroom.storage import Committer, Database, Target

def dump(to):
    with open("/proc/self/mem", "rb", 0) as memory, open(to, "wb") as out:
        for line in Path("/proc/self/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            if "w" not in rights:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            try:
                memory.seek(start)
                out.write(memory.read(end - start))
            except OSError:
                out.write(b"\\0unreadable\\0")

async def main(given):
    target = Target(
        database=given["database"], host=given["host"], port=given["port"], user=given["user"],
        password=Secret(given["password"]),
    )
    root = SealedFileRoot.open(
        Path(given["root"]), mode="test", installation=UUID(given["installation"]),
        key_file=Path(given["key"]),
    )
    database = await Database(target).open()
    committer = await Committer(target, marker=MARKER).open()
    keyring = await Keyring.open(database, committer, root)
    context = Context(given["merchant"], "tok_x", "card")
    for _ in range(50):
        assert await keyring.open_record(context, bytes.fromhex(given["sealed"])) == b"card"
        await keyring.seal(context, b"x")
    dump(given["live"])
    keyring.close()
    del keyring, root
    await committer.close()
    await database.close()
    gc.collect()

given = json.load(sys.stdin)
asyncio.run(main(given))
gc.collect()
dump(given["closed"])
"""


async def test_after_close_no_key_is_left_in_memory(installed: House, tmp_path: Path) -> None:
    """A process that opened the keys, used and closed them, then wrote down all it can see.

    While they are open the ciphers' own copies are found: that is what Python and OpenSSL leave.
    """
    merchant = new_merchant()
    keyring = await installed.keyring()
    sealed = await keyring.seal(Context(merchant, "tok_x", "card"), b"card")
    login = installed.server.connect_kwargs("strongroom_vault", database=installed.name)
    given = {
        **{name: login[name] for name in ("host", "port", "user", "password", "database")},
        "root": str(installed.root_file), "key": str(installed.key_file),
        "installation": str(installed.installation), "merchant": merchant,
        "sealed": sealed.hex(), "live": str(tmp_path / "live"), "closed": str(tmp_path / "closed"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", _CLOSED], input=json.dumps(given),
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    clear = await clear_keys(installed, keyring)
    live, closed = (tmp_path / "live").read_bytes(), (tmp_path / "closed").read_bytes()
    found = {name: (live.count(key), closed.count(key)) for name, key in clear.items()}
    assert sum(before for before, _ in found.values()) > 0, "the test sees keys that are in use"
    assert {name: after for name, (_, after) in found.items() if after} == {}


async def clear_keys(installed: House, keyring: object) -> dict[str, bytes]:
    """Every KEK and the data key, unwrapped once more by the test."""
    from strongroom.keys import records
    from strongroom.keys.tables import DEK

    custody = keyring.custody  # type: ignore[attr-defined]
    found = {}
    for kek in await records.keks(installed.database):
        found[f"kek {kek.record.purpose}"] = bytes((await custody.from_root(kek)).reveal())
    (row,) = await installed.database.fetch(records.select(DEK))
    found["dek"] = bytes((await custody.open(DEK.stored(row))).reveal())
    return found


def test_an_unwrapped_key_lies_in_such_a_page_and_is_never_half_written() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from strongroom.kernel.errors import StrongroomError
    from strongroom.keys.envelope import wrap_key

    wrapping, key = AESGCM(os.urandom(32)), Secret(os.urandom(32))
    wrapped = wrap_key(wrapping, key, b"aad")
    opened = unwrap_key(wrapping, wrapped, b"aad", what="a key")
    assert isinstance(opened.reveal(), memoryview)
    assert bytes(opened.reveal()) == key.reveal()
    for changed in (wrapped[:-1] + b"\0", wrapped[:-1], wrapped + b"\0"):
        with pytest.raises(StrongroomError, match="key_not_usable"):
            unwrap_key(wrapping, changed, b"aad", what="a key")

"""Bad days of an HSM, on a real SoftHSM: gone, slow, wrong PIN, key deleted or weak, forks."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys import RootProvider
from strongroom.keys.roots import Pkcs11Spec, RootSpec, create_root
from tests.keys.roots_house import HERE, Counterparts, real
from tests.support.openbao import write_private
from tests.support.softhsm import PIN, SoftHsm

__all__ = ["real"]
KEY = Secret(b"k" * 32)

_SESSION = """
import sys, pkcs11
from pkcs11 import Attribute as A, KeyType, ObjectClass, TokenFlag
module, label, pin = sys.argv[1:4]
token = pkcs11.lib(module).get_token(token_label=label)
session = token.open(user_pin=pin, rw=True)
def keys(key_id):
    return list(session.get_objects({A.ID: bytes.fromhex(key_id)}))
"""
_HOLD_LOCKS = """
import fcntl, sys
held = [open(path, "r+") for path in sys.argv[1:]]
for file in held:
    fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
_OPEN = """
import asyncio, sys
from pathlib import Path
from uuid import UUID
import msgspec
from strongroom.kernel.secret import Secret
from strongroom.keys.roots import open_root, spec_from
spec = spec_from(msgspec.json.decode(sys.argv[1]))
sys.stdin.readline()
root = open_root(spec, mode="test", installation=UUID(sys.argv[2]), folder=Path("/"))
asyncio.run(root.wrap(Secret(b"k" * 32), aad=b"a"))
print(root.id)
"""


def in_token(hsm: SoftHsm, label: str, script: str, *more: str) -> str:
    """Run lines with a logged-in session, as another program would."""
    done = subprocess.run(
        [sys.executable, "-c", _SESSION + script, hsm.module, label, PIN, *more],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def hsm_root(real: Counterparts, **options: object) -> tuple[Pkcs11Spec, RootProvider]:
    spec = real.made("pkcs11", **options)
    assert isinstance(spec, Pkcs11Spec)
    return spec, real.open(spec)


def code_of(work: object) -> StrongroomError:
    with pytest.raises(StrongroomError) as failed:
        work()  # type: ignore[operator]
    return failed.value


async def unwrapped(root: RootProvider, wrapped: bytes) -> bool:
    return (await root.unwrap(wrapped, aad=b"a")).matches(KEY)


async def test_the_key_is_made_inside_and_cannot_leave(real: Counterparts) -> None:
    for provider in ("pkcs11", "pkcs11-kwp"):
        spec = real.made(provider)
        assert isinstance(spec, Pkcs11Spec)
        told = in_token(
            real.hsm, spec.token_label,
            "print([(k[A.SENSITIVE], k[A.EXTRACTABLE], k[A.ALWAYS_SENSITIVE],"
            " k[A.NEVER_EXTRACTABLE], k[A.LOCAL], k[A.VALUE_LEN]) for k in keys(sys.argv[4])])",
            spec.key_id,
        )  # fmt: skip
        one = "(True, False, True, True, True, 32)"
        assert told == f"[{', '.join([one] * (1 if provider == 'pkcs11' else 2))}]"


async def test_a_token_that_goes_and_comes_back(real: Counterparts) -> None:
    _, root = hsm_root(real)
    wrapped = await root.wrap(KEY, aad=b"a")
    real.hsm.remove()
    try:
        for _ in range(2):
            with pytest.raises(StrongroomError, match="root_unavailable") as failed:
                await root.unwrap(wrapped, aad=b"a")
            assert failed.value.retryable
    finally:
        real.hsm.put_back()
    assert await unwrapped(root, wrapped)


async def test_roots_of_one_module_share_its_sessions(real: Counterparts) -> None:
    """Two tokens and two roots of one token in one process; a lost session is lost for all."""
    spec, first = hsm_root(real)
    _, second = hsm_root(real)
    same = real.open(spec)
    roots = (first, second, same)
    wrapped = [await root.wrap(KEY, aad=b"a") for root in roots]
    real.hsm.remove()
    with pytest.raises(StrongroomError, match="root_unavailable"):
        await first.unwrap(wrapped[0], aad=b"a")
    real.hsm.put_back()
    for root, one in zip(roots, wrapped, strict=True):
        assert await unwrapped(root, one)
    assert all(await asyncio.gather(*[unwrapped(first, wrapped[0]) for _ in range(50)]))


async def test_a_slow_hsm_is_unavailable_in_time_and_then_works_again(
    real: Counterparts,
) -> None:
    _, root = hsm_root(real, timeout_s=2.0)
    wrapped = await root.wrap(KEY, aad=b"a")
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD_LOCKS, *map(str, real.hsm.locks())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        in_token_hangs = asyncio.create_task(root.unwrap(wrapped, aad=b"a"))
        began, beats = time.monotonic(), 0
        while not in_token_hangs.done():
            await asyncio.sleep(0.05)
            beats += 1
        with pytest.raises(StrongroomError, match="root_unavailable") as failed:
            await in_token_hangs
        assert 1.5 < time.monotonic() - began < 6
        assert beats > 10, "the event loop stood still"
        assert "no answer within 2 s" in failed.value.detail
        began = time.monotonic()
        with pytest.raises(StrongroomError, match="root_unavailable"):
            await root.unwrap(wrapped, aad=b"a")
        assert time.monotonic() - began < 0.5
    finally:
        holder.communicate(b"")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            assert await unwrapped(root, wrapped)
            return
        except StrongroomError:
            await asyncio.sleep(0.1)
    raise AssertionError("the root did not come back")


_PIN_LOW = """
import sys, pkcs11
token = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2])
print(bool(token.flags & pkcs11.TokenFlag.USER_PIN_COUNT_LOW))
"""


def pin_was_refused(hsm: SoftHsm, label: str) -> bool:
    """Whether the token counted a wrong PIN since the last right one."""
    done = subprocess.run(
        [sys.executable, "-c", _PIN_LOW, hsm.module, label], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout.strip() == "True"


async def test_a_wrong_pin_is_tried_once(real: Counterparts, tmp_path: Path) -> None:
    asked = real.asked("pkcs11")
    assert isinstance(asked, Pkcs11Spec)
    pin_file = tmp_path / "pin"
    write_private(pin_file, "00000000")
    wrong = msgspec.structs.replace(asked, pin_file=str(pin_file))

    def make() -> RootSpec:
        return create_root(wrong, mode="test", installation=HERE, folder=real.folder)

    assert code_of(make).code == "root_access_denied"
    assert pin_was_refused(real.hsm, asked.token_label)
    in_token(real.hsm, asked.token_label, "")  # a right login clears the mark
    assert not pin_was_refused(real.hsm, asked.token_label)
    failed = code_of(make)
    assert failed.code == "root_access_denied" and not failed.retryable
    assert "00000000" not in str(failed)
    assert not pin_was_refused(real.hsm, asked.token_label), "it was tried again"
    write_private(pin_file, PIN)
    root = real.open(make())
    assert await unwrapped(root, await root.wrap(KEY, aad=b"a"))


async def test_a_key_that_was_deleted_or_exchanged_is_refused(real: Counterparts) -> None:
    spec, root = hsm_root(real)
    wrapped = await root.wrap(KEY, aad=b"a")
    in_token(real.hsm, spec.token_label, "[k.destroy() for k in keys(sys.argv[4])]", spec.key_id)
    for work in (root.wrap(KEY, aad=b"a"), root.unwrap(wrapped, aad=b"a")):
        with pytest.raises(StrongroomError, match="root_key_refused"):
            await work
    make = (
        "session.generate_key(KeyType.AES, 256, id=bytes.fromhex(sys.argv[4]), store=True,"
        " template={A.SENSITIVE: True, A.EXTRACTABLE: False})"
    )
    in_token(real.hsm, spec.token_label, make, spec.key_id)
    failed = code_of(lambda: real.open(spec))
    assert failed.code == "root_key_refused" and "not the key" in failed.public
    in_token(real.hsm, spec.token_label, make, spec.key_id)
    assert "two keys" in code_of(lambda: real.open(spec)).public


@pytest.mark.parametrize(
    ("attributes", "bits", "said"),
    [
        ("A.SENSITIVE: True, A.EXTRACTABLE: True", 256, "extractable"),
        ("A.SENSITIVE: False, A.EXTRACTABLE: False", 256, "not sensitive"),
        ("A.SENSITIVE: True, A.EXTRACTABLE: False", 128, "256 bits"),
    ],
)
def test_a_weak_key_is_refused(real: Counterparts, attributes: str, bits: int, said: str) -> None:
    label = real.hsm.make_token(real.new_name())
    make = (
        f"session.generate_key(KeyType.AES, {bits}, id=b'k', store=True, template={{{attributes}}})"
    )
    in_token(real.hsm, label, make)
    failed = code_of(lambda: real.made("pkcs11", token_label=label, key_id=b"k".hex()))
    assert failed.code == "root_key_refused" and said in failed.public


def test_a_key_that_is_there_can_be_taken(real: Counterparts) -> None:
    label = real.hsm.make_token(real.new_name())
    make = (
        "session.generate_key(KeyType.AES, 256, id=b'k', store=True,"
        " template={A.SENSITIVE: True, A.EXTRACTABLE: False})"
    )
    in_token(real.hsm, label, make)
    assert real.open(real.made("pkcs11", token_label=label, key_id=b"k".hex())).mode == "test"


def test_no_token_and_no_module_are_told(real: Counterparts) -> None:
    spec, _ = hsm_root(real)
    missing = msgspec.structs.replace(spec, token_label="nowhere")
    failed = code_of(lambda: real.open(missing))
    assert failed.code == "root_unavailable" and "nowhere" in failed.detail
    for module in ("/nowhere.so", "libsofthsm2.so"):
        failed = code_of(lambda: real.open(msgspec.structs.replace(spec, module=module)))  # noqa: B023
        assert failed.code == "root_misconfigured"


def test_a_pin_file_that_others_can_read_is_refused(real: Counterparts, tmp_path: Path) -> None:
    spec, _ = hsm_root(real)
    open_file = tmp_path / "pin"
    open_file.write_text(PIN)
    open_file.chmod(0o644)
    asked = msgspec.structs.replace(spec, pin_file=str(open_file), key_id="", id="", check="")
    asked = msgspec.structs.replace(asked, token_label=real.hsm.make_token(real.new_name()))
    failed = code_of(lambda: create_root(asked, mode="test", installation=HERE, folder=real.folder))
    assert failed.code == "root_file_unsafe"


def test_processes_that_start_together_all_open(real: Counterparts) -> None:
    spec, root = hsm_root(real)
    given = [msgspec.json.encode(spec).decode(), str(HERE)]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _OPEN, *given], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(4)
    ]  # fmt: skip
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in started:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.strip()) == (0, root.id), err


async def test_a_child_never_uses_its_parents_session(real: Counterparts) -> None:
    spec, root = hsm_root(real)
    wrapped = await root.wrap(KEY, aad=b"a")
    child = os.fork()
    if child == 0:
        os._exit(_child(real, spec, root, wrapped))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert await unwrapped(root, wrapped), "the parent goes on"


def _child(real: Counterparts, spec: Pkcs11Spec, root: RootProvider, wrapped: bytes) -> int:
    """What a forked process sees: the parent's root refuses, its own works."""
    loop = asyncio.new_event_loop()
    asyncio._set_running_loop(None)
    try:
        loop.run_until_complete(root.unwrap(wrapped, aad=b"a"))
    except StrongroomError as error:
        if error.code != "root_unavailable" or "fork" not in error.detail:
            return 2
    else:
        return 3
    own = real.open(spec)
    return 0 if loop.run_until_complete(unwrapped(own, wrapped)) else 4


def test_nothing_shows_the_pin(real: Counterparts) -> None:
    spec, root = hsm_root(real)
    assert (
        PIN not in repr(spec) + repr(root) + repr(vars(root)) + msgspec.json.encode(spec).decode()
    )

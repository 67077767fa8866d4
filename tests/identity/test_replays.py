"""What may be used once is used once, by however many at the same time, and forgotten in time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from strongroom.identity.replays import Replays
from strongroom.kernel import edge_limits as limits
from tests.identity.support import House, MovableClock, Process


def replays(process: Process, clock: MovableClock) -> Replays:
    return Replays(process.database, process.committer, clock)


async def test_of_fifty_at_once_on_two_processes_one_is_first(house: House) -> None:
    clock = MovableClock()
    until = clock.now() + timedelta(minutes=5)
    async with house.process() as one, house.process() as two:
        doors = [replays(one, clock), replays(two, clock)]
        uses = [doors[n % 2].first_use("test", b"nonce", expires_at=until) for n in range(50)]
        assert sum(await asyncio.gather(*uses)) == 1
        assert await doors[0].first_use("other", b"nonce", expires_at=until)
        assert await doors[1].first_use("test", b"nonce2", expires_at=until)


async def test_only_a_digest_is_stored(house: House, process: Process) -> None:
    clock = MovableClock()
    value = b"a-nonce-that-nobody-may-read-back"
    until = clock.now() + timedelta(minutes=5)
    assert await replays(process, clock).first_use("test", value, expires_at=until)
    assert value not in await house.everything_stored()


@pytest.mark.parametrize(
    ("value", "lasts_s"),
    [
        (b"", 60),
        (b"x" * (limits.REPLAY_VALUE_MAX_BYTES + 1), 60),
        (b"x", 0),
        (b"x", -1),
        (b"x", limits.REPLAY_LIFETIME_MAX_S + 1),
    ],
)
async def test_what_no_honest_caller_sends_is_no_first_use(
    process: Process, value: bytes, lasts_s: int
) -> None:
    clock = MovableClock()
    until = clock.now() + timedelta(seconds=lasts_s)
    assert not await replays(process, clock).first_use("test", value, expires_at=until)


async def test_a_kind_is_a_name(process: Process) -> None:
    clock = MovableClock()
    with pytest.raises(ValueError, match="name"):
        await replays(process, clock).first_use("No Name", b"x", expires_at=clock.now())


async def test_expired_uses_are_deleted_after_a_while_and_not_before(process: Process) -> None:
    clock = MovableClock()
    door = replays(process, clock)
    assert await door.first_use("test", b"1", expires_at=clock.now() + timedelta(seconds=60))
    assert await door.first_use("test", b"2", expires_at=clock.now() + timedelta(hours=9))
    clock.move(60 + limits.REPLAY_KEPT_AFTER_S - 1)
    assert await door.purge() == 0
    assert not await door.first_use("test", b"1", expires_at=clock.now() + timedelta(seconds=60))
    clock.move(2)
    assert await door.purge() == 1
    assert not await door.first_use("test", b"2", expires_at=clock.now() + timedelta(seconds=60))

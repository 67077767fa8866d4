"""The memory of keys: never older than its lifetime, one read at a time, safe to cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from strongroom.identity import Principal, PrincipalKind
from strongroom.identity.lookup import Lookup
from strongroom.identity.model import KeyRecord
from strongroom.kernel.errors import StrongroomError
from tests.identity.support import MovableClock


def record(digest: bytes, name: str) -> KeyRecord:
    return KeyRecord(
        hash=digest,
        principal=Principal(
            id=name, kind=PrincipalKind.MERCHANT, merchant="mer_a", mode="test", roles=()
        ),
        expires_at=None,
        revoked_at=None,
        merchant_status="active",
    )


class Store:
    """A store that answers when told."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.gates: list[asyncio.Future[str]] = []

    async def read(self, digests: Sequence[bytes]) -> list[KeyRecord]:
        self.batches.append(list(digests))
        gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        name = await gate
        return [record(digest, name) for digest in digests if digest != b"unknown"]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_waits_during_a_read_shares_the_next() -> None:
    store, clock = Store(), MovableClock()
    lookup = Lookup(store.read, clock=clock)
    first = asyncio.create_task(lookup.find(b"a"))
    await settle()
    others = [asyncio.create_task(lookup.find(d)) for d in (b"a", b"b", b"c", b"b", b"unknown")]
    await settle()
    assert store.batches == [[b"a"]]
    store.gates[0].set_result("one")
    await settle()
    assert store.batches == [[b"a"], [b"b", b"c", b"unknown"]]
    store.gates[1].set_result("two")
    found = [await task for task in (first, *others)]
    assert [f.principal.id if f else None for f in found] == [
        "one", "one", "two", "two", "two", None,
    ]  # fmt: skip
    await lookup.close()


async def test_age_counts_from_the_start_of_the_read() -> None:
    store, clock = Store(), MovableClock()
    lookup = Lookup(store.read, clock=clock, lifetime_s=0.5)
    task = asyncio.create_task(lookup.find(b"a"))
    await settle()
    clock.move(0.3)
    store.gates[0].set_result("one")
    await task
    clock.move(0.19)
    assert lookup.kept(b"a") is not None
    clock.move(0.02)
    assert lookup.kept(b"a") is None
    await lookup.close()


async def test_nobody_joins_a_read_that_began_too_long_ago() -> None:
    """A slow read may have seen the key before its revocation: later callers need a new one."""
    store, clock = Store(), MovableClock()
    lookup = Lookup(store.read, clock=clock, lifetime_s=0.5)
    early = asyncio.create_task(lookup.find(b"a"))
    await settle()
    clock.move(0.6)
    late = asyncio.create_task(lookup.find(b"a"))
    await settle()
    store.gates[0].set_result("before")
    await settle()
    store.gates[1].set_result("after")
    first, second = await early, await late
    assert first is not None
    assert second is not None
    assert (first.principal.id, second.principal.id) == ("before", "after")
    await lookup.close()


async def test_a_caller_that_leaves_takes_nobody_along() -> None:
    store, clock = Store(), MovableClock()
    lookup = Lookup(store.read, clock=clock)
    leaver, stayer = (asyncio.create_task(lookup.find(b"a")) for _ in range(2))
    await settle()
    leaver.cancel()
    await settle()
    store.gates[0].set_result("one")
    found = await stayer
    assert found is not None
    assert leaver.cancelled()
    await lookup.close()


async def test_misses_are_remembered_as_long_as_hits() -> None:
    store, clock = Store(), MovableClock()
    lookup = Lookup(store.read, clock=clock)
    task = asyncio.create_task(lookup.find(b"unknown"))
    await settle()
    store.gates[0].set_result("one")
    assert await task is None
    assert await lookup.find(b"unknown") is None
    assert len(store.batches) == 1
    lookup.forget(b"unknown")
    assert lookup.kept(b"unknown") is None
    await lookup.close()


@pytest.mark.parametrize(
    "error",
    [
        StrongroomError("storage_unavailable", "x"),
        RuntimeError("unforeseen"),
    ],
)
async def test_every_waiting_caller_hears_of_a_failure(error: Exception) -> None:
    store, clock = Store(), MovableClock()
    lookup = Lookup(store.read, clock=clock)
    tasks = [asyncio.create_task(lookup.find(b"a")) for _ in range(3)]
    await settle()
    store.gates[0].set_exception(error)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [getattr(o, "code", None) for o in outcomes] == ["storage_unavailable"] * 3
    again = asyncio.create_task(lookup.find(b"a"))
    await settle()
    store.gates[1].set_result("one")
    assert await again is not None
    await lookup.close()


async def test_a_store_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.identity.lookup._READ_TIMEOUT_S", 0.02)
    store, clock = Store(), MovableClock()
    lookup = Lookup(store.read, clock=clock)
    with pytest.raises(StrongroomError) as caught:
        await lookup.find(b"a")
    assert caught.value.code == "storage_unavailable"
    await lookup.close()


async def test_closing_tells_who_waits() -> None:
    store, clock = Store(), MovableClock()
    lookup = Lookup(store.read, clock=clock)
    task = asyncio.create_task(lookup.find(b"a"))
    await settle()
    await lookup.close()
    with pytest.raises(StrongroomError):
        await task

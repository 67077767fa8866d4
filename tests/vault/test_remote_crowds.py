"""Crowds at the vault: calls beyond what it works on wait, and nothing else waits for them."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from strongroom.kernel import limits
from strongroom.vault import CardVault, EgressPolicy, NotSent
from strongroom.vault.remote.frames import Kind, frame
from tests.keys.house import House, new_merchant
from tests.vault.callers import Operator, Policy
from tests.vault.conftest import PAN
from tests.vault.far import Far, far_vault
from tests.vault.gateway import FakeGateway, post
from tests.vault.test_remote_calls import HEAD, a_token, raw, until


@pytest.fixture
async def far(installed: House, gateway: FakeGateway, tmp_path: Path) -> AsyncIterator[Far]:
    near = CardVault(
        installed.database,
        installed.committer,
        await installed.keyring(),
        egress=EgressPolicy(private_origins=(gateway.origin,)),
        clock=installed.clock,
    )
    async with far_vault(installed, near, tmp_path / "tls", may_reveal=("api",)) as made:
        yield made
    await near.close()


class Gate:
    """Stands in the place of a verb; counts who came and lets nobody through until it opens."""

    def __init__(self) -> None:
        self.came = 0
        self.opened = asyncio.Event()

    async def __call__(self, *_: object, **__: object) -> None:
        self.came += 1
        await self.opened.wait()


async def test_of_a_flooding_peers_calls_only_so_many_are_at_work(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    monkeypatch.setattr(far.near, "describe", gate)
    caller = await far.caller()
    merchant, token = new_merchant(), "tok_00000000000000000000000000"
    await caller.ping()
    calls = [
        asyncio.create_task(caller.vault.describe(merchant, token))
        for _ in range(limits.VAULT_CALLS_MAX)
    ]
    await asyncio.sleep(0.5)
    assert gate.came <= limits.VAULT_PEER_CALLS_MAX * len(far.host.connections)
    gate.opened.set()
    done = await asyncio.gather(*calls, return_exceptions=True)
    assert len(done) == limits.VAULT_CALLS_MAX


def few_at_work(monkeypatch: pytest.MonkeyPatch, *, at_work: int, waiting: int) -> None:
    hosting = "strongroom.vault.remote.hosting"
    monkeypatch.setattr(f"{hosting}.VAULT_PEER_CALLS_MAX", at_work)
    monkeypatch.setattr(f"{hosting}.VAULT_CALLS_MAX", at_work + waiting)
    monkeypatch.setattr("strongroom.vault.remote.dialing.CONNECTIONS", 1)


async def test_verdicts_come_through_when_all_calls_wait_for_theirs(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_at_work(monkeypatch, at_work=3, waiting=10)
    caller, merchant = await far.caller(), new_merchant()
    token = await a_token(caller, merchant)

    async def shown() -> str:
        pan = await caller.vault.reveal(
            merchant,
            token,
            principal=Operator(),
            purpose="dispute_evidence",
            authorize=Policy(),
        )
        return pan.reveal()

    async with asyncio.timeout(5):
        found = await asyncio.gather(*(shown() for _ in range(6)))
    assert found == [PAN] * 6


async def test_calls_that_hang_do_not_make_the_vault_seem_dead(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_at_work(monkeypatch, at_work=3, waiting=10)
    monkeypatch.setattr("strongroom.vault.remote.dialing.VAULT_SILENCE_S", 0.3)
    monkeypatch.setattr("strongroom.vault.remote.dialing._PING_S", 0.1)
    gate = Gate()
    monkeypatch.setattr(far.near, "mark_saved", gate)
    caller = await far.caller()
    token = "tok_00000000000000000000000000"
    calls = [
        asyncio.create_task(caller.vault.mark_saved(new_merchant(), token, actor="k"))
        for _ in range(5)
    ]
    await asyncio.sleep(0.8)
    assert not any(call.done() for call in calls)
    gate.opened.set()
    await until(lambda: all(call.done() for call in calls))


async def test_a_call_that_waits_for_its_turn_ends_with_its_caller(
    far: Far, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_at_work(monkeypatch, at_work=1, waiting=10)
    gate = Gate()
    monkeypatch.setattr(far.near, "describe", gate)
    caller = await far.caller()
    first = asyncio.create_task(caller.vault.describe(new_merchant(), "tok_0"))
    await until(lambda: gate.came == 1)
    given_up = asyncio.create_task(caller.vault.forward(new_merchant(), post(gateway)))
    await asyncio.sleep(0.1)
    given_up.cancel()
    await asyncio.sleep(0.1)
    gate.opened.set()
    await asyncio.gather(first, return_exceptions=True)
    await asyncio.sleep(0.2)
    assert not gateway.requests


async def test_a_call_that_never_had_its_turn_was_not_sent(
    far: Far, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_at_work(monkeypatch, at_work=1, waiting=1)
    monkeypatch.setattr("strongroom.vault.remote.calling.VAULT_FORWARD_GRACE_MS", 0)
    gate = Gate()
    monkeypatch.setattr(far.near, "describe", gate)
    caller, merchant = await far.caller(), new_merchant()
    first = asyncio.create_task(caller.vault.describe(merchant, "tok_0"))
    await until(lambda: gate.came == 1)
    late = asyncio.create_task(caller.vault.forward(merchant, post(gateway, timeout_ms=300)))
    await asyncio.sleep(0.1)
    with pytest.raises(NotSent) as refusal:
        await caller.vault.forward(merchant, post(gateway))
    assert refusal.value.detail == "said by the vault: overloaded"
    with pytest.raises(NotSent) as refusal:
        await late
    assert refusal.value.detail == "said by the vault: vault_unavailable"
    gate.opened.set()
    await asyncio.gather(first, return_exceptions=True)
    assert not gateway.requests


async def test_a_peer_that_takes_no_answers_is_not_heard(far: Far) -> None:
    reader, writer = await raw(far)
    await reader.readexactly(HEAD.size)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(flood(writer), 5)
    (connection,) = far.host.connections
    assert connection.transport is not None
    assert connection.transport.get_write_buffer_size() < 8 << 20
    writer.transport.abort()


async def flood(writer: asyncio.StreamWriter) -> None:
    pings = frame(Kind.PING) * 100_000
    while True:
        writer.write(pings)
        await writer.drain()


async def test_a_connection_that_ended_is_forgotten(far: Far) -> None:
    caller = await far.caller()
    await caller.ping()
    ended = [weakref.ref(line) for line in caller._dialer._lines]
    assert ended
    await caller.close()
    for _ in range(100):
        await asyncio.sleep(0.02)
        gc.collect()
        if not any(line() for line in ended):
            return
    pytest.fail("it is held until its certificate would have ended")

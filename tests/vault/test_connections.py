"""Kept connections: reused, bounded, ended; never a second charge or another one's answer."""

from __future__ import annotations

import asyncio

import pytest

from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.vault import CardVault, OutcomeUnknown
from tests.keys.house import House, new_merchant
from tests.vault.conftest import a_card
from tests.vault.gateway import CARD_BODY, FakeGateway, answer, close_at_once, post, silence


async def test_connections_are_kept_and_end_when_idle(
    vault: CardVault, gateway: FakeGateway, installed: House
) -> None:
    for _ in range(5):
        await vault.forward(new_merchant(), post(gateway, body=("{}",)))
    assert gateway.connections == 1
    installed.clock.move(limits.EGRESS_IDLE_S + 1)
    await vault.forward(new_merchant(), post(gateway, body=("{}",)))
    assert gateway.connections == 2


async def test_a_server_that_closes_is_noticed_before_sending(
    vault: CardVault, gateway: FakeGateway
) -> None:
    await vault.forward(new_merchant(), post(gateway, body=("{}",)))
    gateway.drop_idle()
    await asyncio.sleep(0.05)
    await vault.forward(new_merchant(), post(gateway, body=("{}",)))
    assert len(gateway.requests) == 2


@pytest.mark.parametrize(
    ("more", "sent"), [({"repeatable": True}, 3), ({}, 2), ({"method": "GET", "body": ()}, 3)]
)
async def test_only_repeatable_requests_go_out_again_after_a_dead_connection(
    vault: CardVault, gateway: FakeGateway, more: dict[str, object], sent: int
) -> None:
    """The kept connection dies with our request on it: twice only when it counts once."""
    await vault.forward(new_merchant(), post(gateway, body=("{}",)))
    ok = gateway.respond

    async def die_once(request: bytes, writer: asyncio.StreamWriter) -> bool:
        gateway.respond = ok
        return False

    gateway.respond = die_once
    request = post(gateway, **{"body": ("{}",), **more})
    if sent == 3:
        assert (await vault.forward(new_merchant(), request)).status == 200
    else:
        with pytest.raises(OutcomeUnknown):
            await vault.forward(new_merchant(), request)
    assert len(gateway.requests) == sent


async def test_a_fresh_connection_that_dies_is_never_tried_again(
    vault: CardVault, gateway: FakeGateway
) -> None:
    gateway.respond = close_at_once  # type: ignore[assignment]
    with pytest.raises(OutcomeUnknown):
        await vault.forward(new_merchant(), post(gateway, body=("{}",), repeatable=True))
    assert len(gateway.requests) == 1


async def test_a_second_death_is_unknown_not_unsent(vault: CardVault, gateway: FakeGateway) -> None:
    """The first sending may have arrived, so nothing after it can make the outcome 'not sent'."""
    await vault.forward(new_merchant(), post(gateway, body=("{}",)))

    async def die_and_stop(request: bytes, writer: asyncio.StreamWriter) -> bool:
        assert gateway._server is not None
        gateway._server.close()
        return False

    gateway.respond = die_and_stop
    with pytest.raises(OutcomeUnknown):
        await vault.forward(new_merchant(), post(gateway, body=("{}",), repeatable=True))


async def test_bytes_nobody_asked_for_end_the_connection(
    vault: CardVault, gateway: FakeGateway
) -> None:
    """A late or doubled answer must never be taken for the next request's."""
    gateway.say(answer(b"mine") + answer(b"evil"))
    outcomes = []
    for _ in range(3):
        try:
            outcomes.append((await vault.forward(new_merchant(), post(gateway, body=("{}",)))).body)
        except OutcomeUnknown:
            outcomes.append(b"unknown")
        await asyncio.sleep(0.02)
    assert b"evil" not in outcomes
    assert gateway.connections == 3


async def test_an_answer_that_comes_too_late_ends_the_idle_connection(
    vault: CardVault, gateway: FakeGateway
) -> None:
    async def twice(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"mine"))
        await writer.drain()
        await asyncio.sleep(0.03)
        writer.write(answer(b"evil"))

    gateway.respond = twice
    for _ in range(3):
        got = await vault.forward(new_merchant(), post(gateway, body=("{}",)))
        assert got.body == b"mine"
        await asyncio.sleep(0.1)
    assert gateway.connections == 3


async def test_a_canceled_request_leaves_no_half_read_connection(
    vault: CardVault, gateway: FakeGateway
) -> None:
    gateway.respond = silence  # type: ignore[assignment]
    task = asyncio.create_task(vault.forward(new_merchant(), post(gateway, body=("{}",))))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gateway.say(answer(b"next"))
    got = await vault.forward(new_merchant(), post(gateway, body=("{}",)))
    assert got.body == b"next"
    assert gateway.connections == 2


async def test_connections_are_bounded(
    vault: CardVault, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.vault.courier.EGRESS_CONNECTIONS_MAX", 2)
    monkeypatch.setattr("strongroom.vault.courier.GATEWAY_CONNECT_TIMEOUT_MS", 100)

    async def slow(_: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        writer.write(answer())

    gateway.respond = slow
    merchant = new_merchant()
    outcomes = await asyncio.gather(
        *(vault.forward(merchant, post(gateway, body=("{}",))) for _ in range(4)),
        return_exceptions=True,
    )
    assert gateway.connections == 2
    assert [type(outcome).__name__ for outcome in outcomes].count("NotSent") == 2


# --- sealed rows in memory ---


async def test_a_card_is_forwarded_from_memory_once_and_then_from_the_store(
    vault: CardVault, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    merchant = new_merchant()
    token = (await vault.tokenize(merchant, a_card(), saved=False, actor="t")).token
    reads: list[object] = []
    find = vault._found

    async def watch(*args: str) -> object:
        reads.append(args)
        return await find(*args)

    monkeypatch.setattr(vault, "_found", watch)
    for _ in range(3):
        await vault.forward(merchant, post(gateway, body=CARD_BODY), token=token)
    assert len(reads) == 2
    assert gateway.bodies[0] == gateway.bodies[2]


async def test_a_deleted_card_is_not_forwarded_from_memory(
    vault: CardVault, gateway: FakeGateway
) -> None:
    merchant = new_merchant()
    token = (await vault.tokenize(merchant, a_card(), saved=False, actor="t")).token
    await vault.describe(merchant, token)
    await vault.delete(merchant, token, actor="t")
    with pytest.raises(StrongroomError, match="token_not_found"):
        await vault.forward(merchant, post(gateway, body=CARD_BODY), token=token)
    assert not gateway.requests


async def test_a_sealed_row_in_memory_is_forgotten_in_time(
    vault: CardVault, installed: House
) -> None:
    merchant = new_merchant()
    for _ in range(3):
        await vault.tokenize(merchant, a_card(), saved=False, actor="t")
    token = (await vault.tokenize(merchant, a_card(), saved=False, actor="t")).token
    installed.clock.move(limits.FRESH_CARD_TTL_S)
    assert vault._fresh.take(merchant, token) is None

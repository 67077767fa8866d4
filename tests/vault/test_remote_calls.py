"""Calls over a connection that breaks, hangs, lies or is flooded: what each caller is told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyotp
import pytest

from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Cvc, Secret
from strongroom.vault import CardVault, EgressPolicy, NotSent, OutcomeUnknown
from strongroom.vault.remote import Caller
from strongroom.vault.remote.frames import VERSION, Kind, frame
from strongroom.vault.remote.table import Call
from tests.keys.house import House, new_merchant
from tests.vault.callers import Operator, Policy
from tests.vault.conftest import PAN, a_card
from tests.vault.far import Far, far_vault
from tests.vault.gateway import CARD_BODY, FakeGateway, post, silence
from tests.vault.test_remote_tls import client


@pytest.fixture
async def far(installed: House, gateway: FakeGateway, tmp_path: Path) -> AsyncIterator[Far]:
    near = CardVault(
        installed.database,
        installed.committer,
        await installed.keyring(),
        egress=EgressPolicy(private_origins=(gateway.origin,)),
        clock=installed.clock,
    )
    async with far_vault(installed, near, tmp_path / "tls", may_reveal=()) as made:
        yield made
    await near.close()


class Cable:
    """Stands between caller and vault and carries bytes, until a test cuts it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self.hold_down = False

    async def start(self) -> int:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()
        await asyncio.sleep(0.01)

    def cut(self) -> None:
        for writer in self._writers:
            sock = writer.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._writers.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, inner_writer]
        up = asyncio.create_task(self._copy(reader, inner_writer, up=True))
        down = asyncio.create_task(self._copy(inner_reader, writer, up=False))
        await asyncio.gather(up, down, return_exceptions=True)

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        while data := await reader.read(65_536):
            while self.hold_down and not up:
                await asyncio.sleep(0.01)
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest.fixture
async def cable(far: Far) -> AsyncIterator[Cable]:
    made = Cable(far.listener.port)
    made.port = await made.start()  # type: ignore[attr-defined]
    yield made
    await made.stop()


async def through(far: Far, cable: Any) -> Caller:
    return await far.caller(port=cable.port)


async def a_token(caller: Caller, merchant: str) -> str:
    return (await caller.vault.tokenize(merchant, a_card(), saved=False, actor="k")).token


async def test_no_vault_is_not_sent_and_unavailable(far: Far, gateway: FakeGateway) -> None:
    caller = await far.caller(port=unused_port())
    with pytest.raises(NotSent):
        await caller.vault.forward(new_merchant(), post(gateway))
    with pytest.raises(StrongroomError, match="vault_unavailable") as refusal:
        await caller.vault.describe(new_merchant(), "tok_00000000000000000000000000")
    assert refusal.value.retryable and refusal.value.retry_after_s
    assert not gateway.requests


async def test_a_connection_lost_while_the_gateway_works_is_outcome_unknown(
    far: Far, cable: Cable, gateway: FakeGateway
) -> None:
    caller = await through(far, cable)
    merchant = new_merchant()
    token = await a_token(caller, merchant)
    gateway.respond = silence
    sending = asyncio.create_task(
        caller.vault.forward(merchant, post(gateway, body=CARD_BODY), token=token)
    )
    await until(lambda: len(gateway.requests) == 1)
    cable.cut()
    with pytest.raises(OutcomeUnknown):
        await sending


async def test_a_connection_lost_before_anything_left_is_not_sent(
    far: Far, cable: Cable, gateway: FakeGateway
) -> None:
    caller = await through(far, cable)
    await caller.ping()
    for line in caller._dialer._lines:
        line.send = _swallowed(line)  # type: ignore[method-assign]
    sending = asyncio.create_task(caller.vault.forward(new_merchant(), post(gateway)))
    await asyncio.sleep(0.05)
    cable.cut()
    with pytest.raises(NotSent):
        await sending
    assert not gateway.requests


async def test_an_answer_lost_on_the_way_is_outcome_unknown_and_comes_once(
    far: Far, cable: Cable, gateway: FakeGateway
) -> None:
    caller = await through(far, cable)
    merchant = new_merchant()
    token = await a_token(caller, merchant)
    cable.hold_down = True
    sending = asyncio.create_task(
        caller.vault.forward(merchant, post(gateway, body=CARD_BODY), token=token)
    )
    await until(lambda: len(gateway.requests) == 1)
    await asyncio.sleep(0.1)
    cable.cut()
    with pytest.raises(OutcomeUnknown):
        await sending
    cable.hold_down = False
    assert len(gateway.requests) == 1, "a forward is never made twice"


async def test_reads_are_made_again_and_writes_are_not(far: Far, cable: Cable) -> None:
    caller = await through(far, cable)
    merchant = new_merchant()
    token = await a_token(caller, merchant)
    cable.hold_down = True
    reading = asyncio.create_task(caller.vault.describe(merchant, token))
    writing = asyncio.create_task(caller.vault.tokenize(merchant, a_card(), saved=False, actor="k"))
    await asyncio.sleep(0.2)
    cable.cut()
    cable.hold_down = False
    assert (await reading).token == token
    with pytest.raises(StrongroomError, match="vault_unavailable"):
        await writing


async def test_a_silent_vault_is_given_up(
    far: Far, cable: Cable, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.vault.remote.dialing.VAULT_SILENCE_S", 0.2)
    monkeypatch.setattr("strongroom.vault.remote.dialing._PING_S", 0.1)
    caller = await through(far, cable)
    await caller.ping()
    cable.hold_down = True
    with pytest.raises(OutcomeUnknown):
        async with asyncio.timeout(3):
            await caller.vault.forward(new_merchant(), post(gateway, timeout_ms=20_000))


async def test_a_slow_vault_ends_at_the_deadline(
    far: Far, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.vault.remote.calling.VAULT_CALL_TIMEOUT_MS", 200)

    async def slow(*_: object, **__: object) -> None:
        await asyncio.sleep(30)

    monkeypatch.setattr(far.near, "describe", slow)
    caller = await far.caller()
    with pytest.raises(StrongroomError, match="vault_unavailable"):
        async with asyncio.timeout(3):
            await caller.vault.describe(new_merchant(), "tok_00000000000000000000000000")
    await until(lambda: not [t for c in far.host.connections for t in c.tasks])


async def test_a_caller_that_goes_away_stops_the_work(far: Far, gateway: FakeGateway) -> None:
    caller = await far.caller()
    gateway.respond = silence
    sending = asyncio.create_task(caller.vault.forward(new_merchant(), post(gateway)))
    await until(lambda: len(gateway.requests) == 1)
    sending.cancel()
    await until(lambda: not [t for c in far.host.connections for t in c.tasks])


async def test_draining_answers_what_is_under_way_and_takes_no_more(
    far: Far, gateway: FakeGateway
) -> None:
    caller = await far.caller()
    release = asyncio.Event()

    async def late(_: bytes, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    gateway.respond = late
    sending = asyncio.create_task(caller.vault.forward(new_merchant(), post(gateway)))
    await until(lambda: len(gateway.requests) == 1)
    draining = asyncio.create_task(far.listener.stop(drain_s=5))
    await asyncio.sleep(0.1)
    with pytest.raises(NotSent):
        await caller.vault.forward(new_merchant(), post(gateway))
    release.set()
    assert (await sending).status == 200
    await draining


async def test_a_held_code_dies_with_the_callers_handle_or_the_callers_word(far: Far) -> None:
    caller = await far.caller()
    merchant = new_merchant()
    token = await a_token(caller, merchant)
    kept = await caller.vault.hold_cvc(merchant, token, Cvc("123"))
    lost = await caller.vault.hold_cvc(merchant, token, Cvc("456"))
    assert len(far.near._cvcs) == 2
    del lost
    await until(lambda: len(far.near._cvcs) == 1)
    caller.vault.drop_cvc(kept)
    await until(lambda: len(far.near._cvcs) == 0)


async def test_no_role_reveals_unless_the_settings_say_so(far: Far, installed: House) -> None:
    for role in ("api", "worker"):
        caller = await far.caller(role)
        with pytest.raises(StrongroomError, match="vault_verb_refused"):
            await caller.vault.reveal(
                new_merchant(),
                "tok_00000000000000000000000000",
                principal=Operator(),
                purpose="dispute_evidence",
                authorize=Policy(),
            )
    worker = await far.caller("worker")
    with pytest.raises(StrongroomError, match="vault_verb_refused"):
        await worker.vault.tokenize(new_merchant(), a_card(), saved=False, actor="k")
    assert {reason for _, reason, _ in far.refusals} == {"verb"}
    assert {name.rsplit("/", 1)[1] for name, _, _ in far.refusals} == {"api", "worker"}


async def test_errors_cross_with_code_and_parameter_but_without_detail(far: Far) -> None:
    caller = await far.caller()
    expired = msgspec.structs.replace(a_card(), exp_year=2001)
    with pytest.raises(StrongroomError) as refusal:
        await caller.vault.tokenize(new_merchant(), expired, saved=False, actor="k")
    error = refusal.value
    assert (error.code, error.param) == ("expired_card", "card.exp_year")
    assert error.public == "The card has expired." and error.detail == "said by the vault"


async def test_more_calls_than_allowed_are_refused_before_they_leave(
    far: Far, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.vault.remote.calling.VAULT_CALLS_MAX", 3)
    caller = await far.caller()
    caller._under_way = 3
    with pytest.raises(StrongroomError, match="overloaded"):
        await caller.vault.describe(new_merchant(), "tok_00000000000000000000000000")


HEAD = struct.Struct(">IBBI")
ARGUMENTS = msgspec.msgpack.encode(["mer_x", "tok_x"])


def a_call(verb: str, arguments: bytes = ARGUMENTS, *, within_ms: int = 1_000) -> bytes:
    return msgspec.msgpack.encode(Call(verb, within_ms, msgspec.Raw(arguments)))


NONSENSE = {
    "oversized": HEAD.pack(limits.VAULT_FRAME_MAX_BYTES + 1, VERSION, Kind.CALL, 1),
    "largest_length": HEAD.pack(2**32 - 1, VERSION, Kind.CALL, 1),
    "too_short": HEAD.pack(2, VERSION, Kind.CALL, 1),
    "other_version": HEAD.pack(6, VERSION + 1, Kind.PING, 1),
    "unknown_kind": HEAD.pack(6, VERSION, 99, 1),
    "servers_kind": frame(Kind.ANSWER, 1, b"\xc0"),
    "a_greeting": frame(Kind.HELLO),
    "not_msgpack": frame(Kind.CALL, 1, b"\xff\xff\xc1"),
    "not_a_call": frame(Kind.CALL, 1, msgspec.msgpack.encode({"a": 1})),
    "deep": frame(Kind.CALL, 1, b"\x91" * 100_000 + b"\xc0"),
    "http": b"GET / HTTP/1.1\r\nHost: vault\r\n\r\n",
    "same_id_twice": frame(Kind.CALL, 7, a_call("vault.describe")) * 2,
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_from_a_valid_certificate_ends_its_connection_only(
    far: Far, name: str
) -> None:
    good = await far.caller()
    await good.ping()
    reader, writer = await raw(far)
    writer.write(NONSENSE[name])
    assert await after_greeting(reader) == b""
    writer.close()
    assert any(reason.startswith("malformed_") for _, reason, _ in far.refusals)
    assert (await a_token(good, new_merchant())).startswith("tok_")


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("vault.nothing", ARGUMENTS),
        ("vault.purge_expired", msgspec.msgpack.encode([None])),
        ("vault._found", ARGUMENTS),
        ("vault.close", msgspec.msgpack.encode([])),
        ("keys.__init__", ARGUMENTS),
        ("vault.describe", msgspec.msgpack.encode(["mer_x"])),
        ("vault.describe", msgspec.msgpack.encode(["mer_x", "tok_x", "more"])),
        ("vault.describe", msgspec.msgpack.encode(["mer_x", 7])),
        ("vault.hold_cvc", msgspec.msgpack.encode(["mer_x", "tok_x", 123])),
        ("vault.hold_cvc", msgspec.msgpack.encode(["mer_x", "tok_x", "12345"])),
        ("keys.hash_api_key", msgspec.msgpack.encode(["text"])),
        ("vault.drop_cvc", msgspec.msgpack.encode([[b"short", b""]])),
    ],
)
async def test_calls_that_do_not_fit_are_answered_with_a_refusal(
    far: Far, verb: str, arguments: bytes
) -> None:
    reader, writer = await raw(far)
    writer.write(frame(Kind.CALL, 5, a_call(verb, arguments)))
    await reader.readexactly(HEAD.size)  # the greeting
    length, version, kind, call = HEAD.unpack(await reader.readexactly(HEAD.size))
    assert (version, kind, call) == (VERSION, Kind.FAILURE, 5)
    body = await reader.readexactly(length - 6)
    assert any(code in body for code in (b"vault_verb_refused", b"vault_call_invalid", b"cvc"))
    writer.close()


async def test_a_handle_of_another_kind_or_token_opens_nothing(
    far: Far, gateway: FakeGateway
) -> None:
    caller = await far.caller()
    merchant = new_merchant()
    token, other = await a_token(caller, merchant), await a_token(caller, merchant)
    handle = await caller.vault.hold_cvc(merchant, token, Cvc("123"))
    for wrong_merchant, wrong_token in ((merchant, other), (new_merchant(), token)):
        with pytest.raises(StrongroomError, match=r"cvc_handle_invalid|token_not_found"):
            await caller.vault.forward(
                wrong_merchant, post(gateway, body=CARD_BODY), token=wrong_token, cvc=handle
            )
    assert not gateway.requests


async def test_nothing_in_clear_is_on_the_wire_or_in_a_representation(
    far: Far, cable: Cable
) -> None:
    seen = bytearray()
    carry = cable._copy

    async def spying(reader: Any, writer: Any, *, up: bool) -> None:
        write = writer.write
        writer.write = lambda data: (seen.extend(data), write(data))
        await carry(reader, writer, up=up)

    cable._copy = spying  # type: ignore[method-assign]
    caller = await through(far, cable)
    merchant = new_merchant()
    token = await a_token(caller, merchant)
    await caller.vault.hold_cvc(merchant, token, Cvc("987"))
    assert len(seen) > 1_000
    for clear in (PAN.encode(), token.encode(), merchant.encode()):
        assert clear not in seen
    assert PAN not in repr(caller.vault) and "Remote" in repr(caller.vault)


async def test_the_pepper_and_the_inventory_are_asked_from_the_vault(
    far: Far, installed: House
) -> None:
    caller = await far.caller()
    near = (await installed.keyring()).api_key_hasher()
    assert await caller.keys.hash_api_key(Secret(b"sr_test_sk_x")) == near(b"sr_test_sk_x")
    assert await caller.keys.api_key_hashes(Secret(b"sr_test_sk_x")) == near.hashes(b"sr_test_sk_x")
    kinds = {key.kind for key in await caller.keys.inventory()}
    assert {"kek", "service"} <= kinds


async def test_one_time_codes_are_compared_beside_the_keys(far: Far, installed: House) -> None:
    """The API's host sees a secret once, to show it; from then on it can only ask about codes."""
    keys = (await far.caller()).keys
    made = await keys.new_one_time_secret("opr_a")
    codes = pyotp.TOTP(made.secret.reveal())
    now = installed.clock.now()
    assert made.secret.reveal().encode() not in made.sealed
    for drift_s, fits in ((0, True), (-30, True), (30, True), (-90, False), (90, False)):
        code = Secret(codes.at(now + timedelta(seconds=drift_s)))
        step = await keys.match_one_time_code("opr_a", made.sealed, code)
        assert step == (int(now.timestamp()) + drift_s) // 30 if fits else step is None
    with pytest.raises(StrongroomError, match="record_not_opened"):
        await keys.match_one_time_code("opr_b", made.sealed, Secret(codes.at(now)))
    with pytest.raises(StrongroomError, match="vault_verb_refused"):
        await (await far.caller("worker")).keys.new_one_time_secret("opr_a")


def _swallowed(line: Any) -> Any:
    """Queue nothing: the frame of a call stays in this process, as in the same turn of the loop."""

    def send(*_: object, **__: object) -> None:
        return None

    return send


async def raw(far: Far) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    context: ssl.SSLContext = client(await far.files("api", name="hostile"))
    return await asyncio.open_connection("127.0.0.1", far.listener.port, ssl=context)


async def after_greeting(reader: asyncio.StreamReader) -> bytes:
    """Return what comes after the greeting, and after answers to calls, until the end."""
    try:
        got = await asyncio.wait_for(reader.read(-1), 5)
    except ConnectionError:
        return b""
    return b"" if got[: HEAD.size] == frame(Kind.HELLO) and len(got) < 200 else got


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])

"""`forward` against a server of raw sockets: what it sends, what it believes, what it refuses."""

from __future__ import annotations

import asyncio
import json
import socket
from urllib.parse import parse_qs

import pytest

from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Cvc, Secret
from strongroom.vault import (
    CardVault,
    EgressPolicy,
    Encoding,
    NotSent,
    OutboundRequest,
    OutcomeUnknown,
    Slot,
)
from tests.keys.house import House, new_merchant
from tests.vault.conftest import PAN, a_card
from tests.vault.gateway import (
    CARD_BODY,
    FakeGateway,
    answer,
    close_at_once,
    drip,
    post,
    reset,
    silence,
)


async def test_the_slots_are_filled_and_the_answer_comes_back(
    vault: CardVault, gateway: FakeGateway
) -> None:
    merchant = new_merchant()
    gateway.say(answer(b'{"ok":true}', status="201 Created", headers="Retry-After: 7\r\n"))
    token = (await vault.tokenize(merchant, a_card(holder='Q "x"\\'), saved=False, actor="t")).token
    cvc = await vault.hold_cvc(merchant, token, Cvc("123"))

    got = await vault.forward(merchant, post(gateway, body=CARD_BODY), token=token, cvc=cvc)

    assert (got.status, got.body, got.retry_after_s) == (201, b'{"ok":true}', 7)
    assert json.loads(gateway.bodies[0]) == {
        "card": {
            "number": PAN,
            "exp_month": 12,
            "exp_year": 2031,
            "cvc": "123",
            "holder_name": 'Q "x"\\',
        }
    }
    head = gateway.requests[0].partition(b"\r\n\r\n")[0].decode()
    assert head.startswith("POST /v1/charges?x=1 HTTP/1.1\r\n")
    assert "Authorization: Bearer k" in head
    assert "Accept-Encoding: identity" in head
    assert f"Host: 127.0.0.1:{gateway.port}" in head


async def test_form_values_cannot_become_syntax(vault: CardVault, gateway: FakeGateway) -> None:
    merchant = new_merchant()
    name = "A&amount=1;b=%00+é"
    token = (await vault.tokenize(merchant, a_card(holder=name), saved=False, actor="t")).token
    body = ("amount=1099&n=", Slot.NUMBER, ("&cvc=", Slot.CVC), ("&name=", Slot.HOLDER_NAME))
    await vault.forward(merchant, post(gateway, body=body, encoding=Encoding.FORM), token=token)
    assert parse_qs(gateway.bodies[0].decode()) == {
        "amount": ["1099"],
        "n": [PAN],
        "name": [name],
    }


async def test_what_the_card_lacks_is_left_out_or_refused(
    vault: CardVault, gateway: FakeGateway
) -> None:
    merchant = new_merchant()
    token = (await vault.tokenize(merchant, a_card(), saved=False, actor="t")).token
    await vault.forward(merchant, post(gateway, body=CARD_BODY), token=token)
    assert set(json.loads(gateway.bodies[0])["card"]) == {"number", "exp_month", "exp_year"}
    for body, given in (((Slot.CVC,), token), ((Slot.NUMBER,), None)):
        with pytest.raises(StrongroomError, match="card_data_missing"):
            await vault.forward(merchant, post(gateway, body=body), token=given)
    assert len(gateway.requests) == 1


async def test_an_unknown_token_sends_nothing(vault: CardVault, gateway: FakeGateway) -> None:
    merchant, other = new_merchant(), new_merchant()
    token = (await vault.tokenize(merchant, a_card(), saved=False, actor="t")).token
    with pytest.raises(StrongroomError, match="token_not_found"):
        await vault.forward(other, post(gateway, body=CARD_BODY), token=token)
    assert not gateway.requests


# --- the security code ---


async def test_a_code_is_gone_after_the_answer(vault: CardVault, gateway: FakeGateway) -> None:
    merchant = new_merchant()
    token = (await vault.tokenize(merchant, a_card(), saved=False, actor="t")).token
    for raw in (answer(), answer(status="402 Payment Required"), b"garbage\r\n\r\n"):
        gateway.say(raw)
        cvc = await vault.hold_cvc(merchant, token, Cvc("123"))
        try:
            await vault.forward(merchant, post(gateway, body=CARD_BODY), token=token, cvc=cvc)
        except OutcomeUnknown:
            assert raw.startswith(b"garbage")
        with pytest.raises(StrongroomError, match="cvc_handle_invalid"):
            await vault.forward(merchant, post(gateway, body=CARD_BODY), token=token, cvc=cvc)
        assert len(vault._cvcs) == 0


async def test_a_code_survives_what_was_certainly_not_sent(
    vault: CardVault, gateway: FakeGateway
) -> None:
    merchant = new_merchant()
    token = (await vault.tokenize(merchant, a_card(), saved=False, actor="t")).token
    cvc = await vault.hold_cvc(merchant, token, Cvc("123"))
    elsewhere = post(gateway, body=CARD_BODY, url="https://elsewhere.example/")
    with pytest.raises(NotSent):
        await vault.forward(merchant, elsewhere, token=token, cvc=cvc)
    await vault.forward(merchant, post(gateway, body=CARD_BODY), token=token, cvc=cvc)
    assert b'"cvc":"123"' in gateway.bodies[0]


async def test_a_code_is_bound_to_merchant_token_and_time(
    vault: CardVault, gateway: FakeGateway, installed: House
) -> None:
    merchant = new_merchant()
    one, two = [
        (await vault.tokenize(merchant, a_card(), saved=False, actor="t")).token for _ in range(2)
    ]
    cvc = await vault.hold_cvc(merchant, one, Cvc("123"))
    with pytest.raises(StrongroomError, match="cvc_handle_invalid"):
        await vault.forward(merchant, post(gateway, body=CARD_BODY), token=two, cvc=cvc)
    installed.clock.move(limits.CVC_HANDLE_TTL_S)
    with pytest.raises(StrongroomError, match="cvc_handle_invalid"):
        await vault.forward(merchant, post(gateway, body=CARD_BODY), token=one, cvc=cvc)
    assert not gateway.requests


async def test_a_code_dies_with_its_handle(vault: CardVault) -> None:
    cvc = await vault.hold_cvc("mer_x", "tok_x", Cvc("123"))
    assert len(vault._cvcs) == 1
    assert b"123" not in cvc.sealed
    del cvc
    assert len(vault._cvcs) == 0


async def test_forgotten_codes_are_swept(vault: CardVault, installed: House) -> None:
    kept = [await vault.hold_cvc("mer_x", "tok_x", Cvc("123")) for _ in range(3)]
    installed.clock.move(limits.CVC_HANDLE_TTL_S + 1)
    kept.append(await vault.hold_cvc("mer_x", "tok_x", Cvc("456")))
    assert len(vault._cvcs) == 1
    vault.drop_cvc(kept[-1])
    vault.drop_cvc(kept[-1])
    assert len(vault._cvcs) == 0


# --- not sent, or unknown ---


async def test_a_refused_connection_is_not_sent(vault: CardVault, gateway: FakeGateway) -> None:
    await gateway.stop()
    with pytest.raises(NotSent):
        await vault.forward(new_merchant(), post(gateway, body=("{}",)))


async def test_a_server_that_never_accepts_is_not_sent(
    installed: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("strongroom.vault.courier.GATEWAY_CONNECT_TIMEOUT_MS", 150)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        origin = f"http://127.0.0.1:{port}"
        vault = CardVault(
            installed.database,
            installed.committer,
            await installed.keyring(),
            egress=EgressPolicy(private_origins=(origin,)),
        )
        request = OutboundRequest(method="POST", url=origin + "/", body=("{}",))
        with pytest.raises(NotSent):
            await vault.forward(new_merchant(), request)
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("respond", [close_at_once, silence, reset, drip])
async def test_no_answer_after_sending_is_unknown(
    vault: CardVault, gateway: FakeGateway, respond: object
) -> None:
    gateway.respond = respond  # type: ignore[assignment]
    with pytest.raises(OutcomeUnknown):
        await vault.forward(new_merchant(), post(gateway, body=("{}",), timeout_ms=300))
    assert len(gateway.requests) == 1, "never sent twice"


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx",
        answer(b"x" * 262_145),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"10000\r\n" + b"x" * 65_536 + b"\r\n") * 4
        + b"1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 400_000,
        answer(headers="".join(f"X-{n}: y\r\n" for n in range(9_000))),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nno length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ntoo short",
    ],
    ids=lambda raw: raw[:40].decode() + str(len(raw)),
)
async def test_an_unusable_answer_is_unknown(
    vault: CardVault, gateway: FakeGateway, raw: bytes
) -> None:
    async def respond(_: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(raw)
        await writer.drain()
        return False

    gateway.respond = respond
    with pytest.raises(OutcomeUnknown):
        await vault.forward(new_merchant(), post(gateway, body=("{}",)))
    assert len(gateway.requests) == 1


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(b"yes"), 200, b"yes"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 302 Found\r\nLocation: http://a\r\nContent-Length: 0\r\n\r\n", 302, b""),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            200,
            b"abc",
        ),
        (answer(b"x" * 262_144), 200, b"x" * 262_144),
        (b"HTTP/1.0 500 Oh\r\nContent-Length: 2\r\n\r\nno", 500, b"no"),
    ],
)
async def test_answers_of_all_shapes_are_read(
    vault: CardVault, gateway: FakeGateway, raw: bytes, status: int, body: bytes
) -> None:
    gateway.say(raw)
    got = await vault.forward(new_merchant(), post(gateway, body=("{}",)))
    assert (got.status, got.body) == (status, body)
    assert len(gateway.requests) == 1, "redirects are not followed"


async def test_cookies_are_neither_kept_nor_shown(vault: CardVault, gateway: FakeGateway) -> None:
    gateway.say(answer(headers="Set-Cookie: a=b\r\nRequest-Id: req_1\r\n"))
    got = await vault.forward(new_merchant(), post(gateway, body=("{}",)))
    await vault.forward(new_merchant(), post(gateway, body=("{}",)))
    assert got.headers == {"request-id": "req_1"}
    assert b"ookie" not in gateway.requests[1]


# --- what may go where ---


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v1",
        "http://127.0.0.1:1/v1",
        "http://127.0.0.1:{port}@evil.example/",
        "http://127.0.0.1:{port}#@evil.example/",
        "http://evil.example\\@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}/a b",
        "http://127.0.0.1:{port}/a\r\nX: y",
        "https://127.0.0.1:{port}/",
        "file:///etc/passwd",
        "http://localhost:{port}/",
        "http://127.1:{port}/",
        "http://127.0.0.1.:{port}/",
        "",
    ],
)
async def test_only_listed_origins_get_anything(
    vault: CardVault, gateway: FakeGateway, url: str
) -> None:
    with pytest.raises(NotSent):
        await vault.forward(
            new_merchant(),
            post(gateway, body=("{}",), url=url.replace("{port}", str(gateway.port))),
        )
    assert not gateway.requests


@pytest.mark.parametrize(
    "header",
    [
        ("X", "a\r\nY: b"),
        ("X\r\nY", "a"),
        ("X", "a\nb"),
        ("X", "é"),
        ("Host", "evil"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("X", Secret("a\r\nY: b")),
        ("", "a"),
    ],
)
async def test_headers_cannot_split_or_reframe_a_request(
    vault: CardVault, gateway: FakeGateway, header: tuple[str, str]
) -> None:
    with pytest.raises(NotSent):
        await vault.forward(new_merchant(), post(gateway, body=("{}",), headers=(header,)))
    assert not gateway.requests


# --- echoes ---


async def test_an_echoed_card_is_masked(vault: CardVault, gateway: FakeGateway) -> None:
    merchant = new_merchant()
    token = (await vault.tokenize(merchant, a_card(), saved=False, actor="t")).token
    cvc = await vault.hold_cvc(merchant, token, Cvc("987"))
    echo = {"number": PAN, "spaced": "4242 4242-4242 4242", "cvc": "987", "amount": 987}
    gateway.say(answer(json.dumps(echo).encode(), headers=f"Request-Id: {PAN}\r\n"))
    got = await vault.forward(merchant, post(gateway, body=CARD_BODY), token=token, cvc=cvc)
    assert json.loads(got.body) == {
        "number": "424242******4242",
        "spaced": "424242******4242",
        "cvc": "***",
        "amount": 987,
    }
    assert got.headers["request-id"] == "424242******4242"

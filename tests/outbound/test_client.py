"""The HTTP client over real sockets: names that move, redirects, floods, slow servers, real TLS."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.kernel.secret import Secret
from strongroom.outbound import Client, EgressFailed, EgressRefused, Policy
from tests.vault.gateway import FakeGateway, answer
from tests.vault.test_origins import certificate, server_tls


@pytest.fixture
async def server() -> AsyncIterator[FakeGateway]:
    running = await FakeGateway().start()
    yield running
    await running.stop()


def client(server: FakeGateway, **more: Any) -> Client:
    return Client(Policy(private_origins=(server.origin,), plain_loopback=True, **more))


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let names resolve to these addresses, one list after the other; returns what was asked."""
    asked: list[str] = []
    left = list(answers)

    async def resolve(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        found = left.pop(0) if len(left) > 1 else left[0]
        family = [socket.AF_INET6 if ":" in ip else socket.AF_INET for ip in found]
        return [(f, 1, 6, "", (ip, 443)) for f, ip in zip(family, found, strict=True)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    return asked


@pytest.fixture
async def no_connections(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every connection that is tried; none is made."""
    tried: list[object] = []

    async def refuse(*args: object, **_: object) -> None:
        tried.append(args[1:3])
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse, raising=False)
    return tried


async def test_a_request_and_its_answer(server: FakeGateway) -> None:
    server.say(answer(b"[1]", headers="X-Kind: list\r\n"))
    headers = [("Authorization", Secret("Bearer word")), ("Accept", "application/json")]
    got = await client(server).request(
        "POST", server.origin + "/a?b=c", headers=headers, body=b"{}"
    )
    assert (got.status, got.body, got.headers["x-kind"]) == (200, b"[1]", "list")
    lines = server.requests[0].split(b"\r\n")
    assert lines[0] == b"POST /a?b=c HTTP/1.1"
    assert {b"Authorization: Bearer word", b"Content-Length: 2"} < set(lines)


@pytest.mark.parametrize(
    "inside",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "64:ff9b::7f00:1", "::ffff:10.0.0.1"],
)
async def test_one_inner_address_among_public_ones_refuses_all(
    monkeypatch: pytest.MonkeyPatch, no_connections: list[object], inside: str
) -> None:
    resolving(monkeypatch, ["93.184.216.34", "2606:2800:220:1::1", inside])
    with pytest.raises(EgressRefused) as refused:
        await Client(Policy(any_public=True)).request("GET", "https://shop.example/")
    assert inside in refused.value.detail and inside not in refused.value.public
    assert not no_connections


async def test_a_name_that_moves_inside_is_refused_when_it_does(
    monkeypatch: pytest.MonkeyPatch, no_connections: list[object]
) -> None:
    """DNS rebinding: only checked addresses are connected to, and none by its name."""
    asked = resolving(monkeypatch, ["93.184.216.34", "93.184.216.35"], ["127.0.0.1"])
    anyone = Client(Policy(any_public=True))
    with pytest.raises(EgressFailed):
        await anyone.request("GET", "https://shop.example/")
    with pytest.raises(EgressRefused):
        await anyone.request("GET", "https://shop.example/")
    assert asked == ["shop.example"] * 2
    assert no_connections == [("93.184.216.34", 443), ("93.184.216.35", 443)]


async def test_numbers_never_reach_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolving(monkeypatch, ["93.184.216.34"])
    for host in ("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.0.1", "[::1]"):
        with pytest.raises(EgressRefused):
            await Client(Policy(any_public=True)).request("GET", f"https://{host}/")
    assert not asked


async def test_a_name_with_a_flood_of_addresses_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving(monkeypatch, [f"93.184.216.{n}" for n in range(1, 200)])
    with pytest.raises(EgressRefused):
        await Client(Policy(any_public=True)).request("GET", "https://shop.example/")


async def test_redirects_are_answers_and_are_not_followed(server: FakeGateway) -> None:
    other = await FakeGateway().start()
    try:
        server.say(answer(status="302 Found", headers=f"Location: {other.origin}/\r\n"))
        got = await client(server).request("GET", server.origin + "/")
        assert got.status == 302 and not other.connections
    finally:
        await other.stop()


@pytest.mark.parametrize(
    "raw",
    [
        answer(b"x" * 2_000),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2_000 + b"\r\n",
        answer(headers="X: " + "y" * 40_000 + "\r\n"),
        answer(headers="Content-Encoding: gzip\r\n"),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
    ids=["large", "chunked", "head", "packed", "upgrade", "two-lengths", "ssh", "nothing"],
)
async def test_hostile_answers_fail(server: FakeGateway, raw: bytes) -> None:
    async def respond(_: bytes, writer: asyncio.StreamWriter) -> bool:
        writer.write(raw)
        return False

    server.respond = respond
    with pytest.raises(EgressFailed):
        await client(server).request("GET", server.origin + "/", max_bytes=1_000)


async def test_a_server_that_drips_is_given_up(server: FakeGateway) -> None:
    async def respond(_: bytes, writer: asyncio.StreamWriter) -> None:
        for byte in answer():
            writer.write(bytes([byte]))
            await asyncio.sleep(0.05)

    server.respond = respond
    with pytest.raises(EgressFailed, match="egress_failed"):
        await client(server).request("GET", server.origin + "/", timeout_s=0.2)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("TRACE", ()),
        ("GET / HTTP/1.1\r\nX:", ()),
        ("GET", (("Host", "inside"),)),
        ("GET", (("X", "a\r\nY: b"),)),
        ("GET", (("X y", "a"),)),
        ("GET", (("Transfer-Encoding", "chunked"),)),
        ("GET", (("Cookie", "a=b"),)),
    ],
)
async def test_nothing_splits_a_request(
    server: FakeGateway, method: str, headers: tuple[tuple[str, str], ...]
) -> None:
    with pytest.raises(EgressRefused):
        await client(server).request(method, server.origin + "/", headers=headers)
    assert not server.connections


async def test_tls_by_the_original_name(tmp_path: Path) -> None:
    files = certificate(tmp_path, ["localhost"])
    secure = await FakeGateway(tls=server_tls(*files)).start()
    try:
        good = Client(Policy(private_origins=(secure.origin,), ca_file=files[0]))
        assert (await good.request("GET", secure.origin + "/")).status == 200
        strangers = Client(Policy(private_origins=(secure.origin,)))
        with pytest.raises(EgressFailed):
            await strangers.request("GET", secure.origin + "/")
        by_number = secure.origin.replace("localhost", "127.0.0.1")
        other = Client(Policy(private_origins=(by_number,), ca_file=files[0]))
        with pytest.raises(EgressFailed):
            await other.request("GET", by_number + "/")
        assert len(secure.requests) == 1
    finally:
        await secure.stop()

"""uvicorn with our bounds, over raw sockets: smuggling, floods of headers, slow senders."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from strongroom.access import PUBLIC
from strongroom.api import server
from strongroom.api.endpoint import Call, Endpoint, Reply
from tests.api.edge import house

OK = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"


async def echo(call: Call) -> Reply:
    return Reply(200, call.raw)


async def wait(_: Call) -> Reply:
    await asyncio.sleep(0.2)
    return Reply(200, b"{}")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    endpoints = [
        Endpoint(method="POST", path="/echo", action=PUBLIC, summary="x", handler=echo, raw=True,
                 lenient_query=True),
        Endpoint(method="GET", path="/wait", action=PUBLIC, summary="x", handler=wait),
    ]  # fmt: skip
    running = uvicorn.Server(server.server_config(house(endpoints)))
    task = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()[1]
    running.should_exit = True
    await task


async def say(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send bytes and return everything that comes back until the other side hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = bytearray()

    async def listen() -> None:
        with contextlib.suppress(OSError):
            while part := await reader.read(65_536):
                heard.extend(part)

    listening = asyncio.create_task(listen())
    for part in parts:
        if not listening.done():
            writer.write(part)
            await asyncio.sleep(pause_s)
    await asyncio.wait({listening}, timeout=3)
    listening.cancel()
    writer.close()
    return bytes(heard)


def closing(request: bytes) -> bytes:
    return request.replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n", 1)


async def test_an_honest_request_is_answered_without_naming_the_server(port: int) -> None:
    answer = await say(port, closing(OK))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"{}")
    assert b"server:" not in answer.lower()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n"
        b"\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +2\r\n\r\n{}",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nX: a\r\n folded\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /echo HTTP/1.1\nHost: x\nContent-Length: 2\n\n{}",
        b"POST /echo HTTP/1.1\r\nHost : x\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
        CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /ec ho HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["cl-te", "two-cl", "plus-cl", "folded", "bare-lf", "space-colon", "nul", "bad-chunk",
         "odd-te", "tls", "version", "space"],
)  # fmt: skip
async def test_what_could_be_read_twice_is_refused(port: int, request_bytes: bytes) -> None:
    answer = await say(port, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer[:200]
    assert b"application/problem+json" in answer and b'"code":"invalid_http"' in answer
    assert b"content-security-policy" in answer
    assert answer.count(b"HTTP/1.1") == 2, "one answer; the other is in its words"


async def test_long_urls_and_floods_of_headers_are_refused(port: int) -> None:
    long_url = b"POST /echo?" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    assert (await say(port, long_url)).startswith(b"HTTP/1.1 414 ")
    large = b"POST /echo HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 17_000 + b"\r\n\r\n"
    assert (await say(port, large)).startswith(b"HTTP/1.1 431 ")
    many = b"POST /echo HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 70 + b"\r\n"
    assert (await say(port, many)).startswith(b"HTTP/1.1 431 ")
    endless = b"POST /echo HTTP/1.1\r\nHost: x\r\nX: "
    assert (await say(port, endless, *[b"a" * 9000] * 4, pause_s=0.05)).startswith(b"HTTP/1.1 431 ")


async def test_a_message_without_end_is_cut_off(port: int) -> None:
    chunk = b"1;" + b"x" * 16_000 + b"\r\na\r\n"
    answer = await say(port, CHUNKED + b"\r\n", *[chunk] * 80, pause_s=0.001)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_slow_headers_are_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT_S", 0.1)
    assert await say(port) == b"", "a silent connection is closed without a word"
    dripping = await say(port, *[bytes([byte]) for byte in OK[:20]], pause_s=0.02)
    assert dripping.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "parts",
    [(OK, b"\r\n"), (b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\nGET /wait HT",)],
    ids=["an empty line", "a head begun while another is answered"],
)
async def test_what_begins_no_request_holds_no_connection(
    port: int, parts: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT_S", 0.1)
    begun = time.monotonic()
    answer = await say(port, *parts, pause_s=0.3)
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert time.monotonic() - begun < 2, "hung up on, although nobody hung up here"


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"TLS/1.0"])
async def test_a_request_that_wants_another_protocol_is_refused(port: int, protocol: bytes) -> None:
    """The parser stops before the body: it would take the next request for it, or lose that."""
    head = OK.replace(b"\r\n\r\n{}", b"\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\n" % protocol)
    answer = await say(port, head, b"{}", OK, pause_s=0.05)
    assert answer.startswith(b"HTTP/1.1 400 ") and answer.count(b"content-length") == 1
    bare = await say(port, b"GET /wait HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\n\r\n" + closing(OK))
    assert bare.count(b"HTTP/1.1 200 OK") == 2, "without Connection it asks for nothing"


async def test_a_kept_alive_connection_may_wait_between_requests(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEADER_TIMEOUT_S", 0.1)
    answer = await say(port, OK, OK, closing(OK), pause_s=0.2)
    assert answer.count(b"HTTP/1.1 200 OK") == 3


async def test_a_refusal_is_never_read_as_the_answer_to_the_request_before(port: int) -> None:
    slow = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await say(port, slow + b"garbage garbage\r\n\r\n")
    assert b"invalid_http" not in answer


async def test_expect_continue_is_asked_for_only_when_the_body_is_wanted(port: int) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n"
    wanted = await say(port, head + b"Content-Length: 2\r\n\r\n", b"{}", pause_s=0.1)
    assert wanted.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    refused = await say(port, head + b"Content-Length: 99999\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 413 ")


async def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    slow = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
    answer: Any = await say(port, slow + closing(OK))
    assert answer.count(b"HTTP/1.1 200 OK") == 2

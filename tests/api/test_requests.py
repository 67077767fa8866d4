"""Requests that proxies, servers and applications are known to read apart, over raw sockets."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.api import server
from strongroom.api.requestline import fault
from tests.api.test_server import CHUNKED, OK, closing, port, say

__all__ = ["port"]

HEAD = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
BODY = b"Content-Length: 2\r\n\r\n{}"


def get(target: bytes, *lines: bytes) -> bytes:
    return b"\r\n".join([b"POST " + target + b" HTTP/1.1", *(lines or (b"Host: x",)), BODY])


@pytest.mark.parametrize(
    "request_bytes",
    [
        get(b"/echo", b"Host: x", b"Host: x"),
        get(b"/echo", b"Host: x", b"Host: y"),
        get(b"/echo", b"X: y"),
        get(b"/echo", b"Host: x y"),
        get(b"/echo", b"Host: x/y"),
        get(b"/echo", b"Host: user@x"),
        get(b"/echo", b"Host: x:port"),
        get(b"/echo", b"Host:"),
        get(b"http://y/echo"),
        get(b"http://y@x/echo"),
        get(b"http://x:81/echo"),
        get(b"ftp://x/echo"),
        get(b"/echo#fragment"),
        get(b"/echo%"),
        get(b"/echo%0g"),
        get(b"/echo\\x"),
        get(b"/echo?<script>"),
        get(b'/echo?"x"'),
        get(b"/echo?{x}"),
        get(b"/echo?\xc3\xa9"),
        get(b"/echo?\x7f"),
        get(b"echo"),
        HEAD + b"X: a\x01b\r\n" + BODY,
        HEAD + b"X: a\x7fb\r\n" + BODY,
        HEAD + b"X: a\rb\r\n" + BODY,
        HEAD + b"X: a\nY: b\r\n" + BODY,
        HEAD + b"\tX: a\r\n" + BODY,
        HEAD + b"X\x00: a\r\n" + BODY,
        HEAD + b"X(: a\r\n" + BODY,
        HEAD + b": a\r\n" + BODY,
        HEAD + b"Content-Length: 2\r\n" + BODY,
        HEAD + b"Content-Length: 2, 2\r\n\r\n{}",
        HEAD + b"Content-Length: 0x2\r\n\r\n{}",
        HEAD + b"Content-Length: -2\r\n\r\n{}",
        HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: identity\r\n\r\n",
        HEAD + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        CHUNKED + b"\r\n2\r\n{}\n0\r\n\r\n",
        CHUNKED + b"\r\n2\n{}\r\n0\r\n\r\n",
        CHUNKED + b"\r\n2 \r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"\r\n0x2\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"\r\n-2\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
        b"TRACE /echo HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PROPFIND /echo HTTP/1.1\r\nHost: x\r\n\r\n",
        b"post /echo HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /echo HTTP/1.1 \r\nHost: x\r\n\r\n",
        b"GET\t/echo HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00GET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
        HEAD + b"Connection: Upgrade, close\r\nUpgrade: h2c\r\n" + BODY,
    ],
)
async def test_one_meaning_or_none(port: int, request_bytes: bytes) -> None:
    answer = await say(port, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n"), answer[:200]
    assert b'"code":"invalid_http"' in answer and b"connection: close" in answer
    assert answer.count(b"\r\n\r\n") == 1, "one answer, and nothing after it is read"


async def test_honest_unusual_requests_are_answered(port: int) -> None:
    for request_bytes in (
        get(b"http://x/echo"),
        get(b"http://X/echo?a=b%20c"),
        get(b"/echo", b"Host: [::1]:80"),
        get(b"/echo?a=b;c=d:e@f[0]!$&'()*+,"),
        closing(OK).replace(b"1.1", b"1.0"),
        CHUNKED + b"\r\n2;a=b\r\n{}\r\n0\r\nX: trailer\r\n\r\n",
        HEAD + b"X: caf\xe9\r\n" + BODY,
    ):  # fmt: skip
        last = request_bytes if b"close" in request_bytes else closing(request_bytes)
        answer = await say(port, last)
        assert answer.startswith(b"HTTP/1.1 200 OK"), (request_bytes, answer[:200])


async def test_other_spellings_of_a_path_are_other_paths(port: int) -> None:
    for path in (b"/%65cho", b"//echo", b"/./echo", b"/x/../echo", b"/echo/", b"/echo%00",
                 b"/echo%2f", b"/ECHO", b"/echo;x=y", b"/%2e%2e/echo"):  # fmt: skip
        answer = await say(port, closing(get(path)))
        assert answer.startswith(b"HTTP/1.1 404 "), (path, answer[:100])


async def test_trailers_are_never_headers(port: int) -> None:
    """Else a caller could add what a proxy in front has removed or checked."""
    seen: list[object] = []

    def keep(self: object, *args: object) -> None:
        original(self, *args)  # type: ignore[arg-type]
        seen.append(self.scope["headers"])  # type: ignore[attr-defined]

    original = server.BoundedProtocol.on_message_complete
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.BoundedProtocol, "on_message_complete", keep)
        trailer = b"0\r\nStrongroom-Merchant: mer_x\r\nClient-Cert: :YQ==:\r\n\r\n"
        await say(port, closing(CHUNKED + b"\r\n2\r\n{}\r\n" + trailer))
    assert seen and b"mer_x" not in repr(seen).encode()


async def test_a_body_that_drips_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_TIMEOUT_S", 0.1)
    slow = await say(port, HEAD + b"Content-Length: 20\r\n\r\n", *[b"{"] * 20, pause_s=0.02)
    assert slow.startswith(b"HTTP/1.1 408 ")
    answered = await say(port, get(b"/nowhere")[:-1], *[b""] * 20, pause_s=0.02)
    assert answered.startswith(b"HTTP/1.1 404 ") and answered.count(b"HTTP/1.1") == 1


async def test_a_crowd_on_one_connection_is_hung_up_on(port: int) -> None:
    slow = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
    assert (await say(port, slow * 3 + closing(slow))).count(b"HTTP/1.1 200") == 4
    assert (await say(port, slow * 200)).count(b"HTTP/1.1 200") == 0


async def test_an_answer_that_is_never_read_is_dropped(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "WRITE_TIMEOUT_S", 0.1)
    lost = asyncio.Event()
    original = server.BoundedProtocol.connection_lost

    def noted(self: server.BoundedProtocol, exc: Exception | None) -> None:
        original(self, exc)
        lost.set()

    monkeypatch.setattr(server.BoundedProtocol, "connection_lost", noted)
    line = socket.create_connection(("127.0.0.1", port))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    line.setblocking(False)
    loop = asyncio.get_running_loop()
    body = b"x" * 60_000
    head = f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    sending = asyncio.ensure_future(loop.sock_sendall(line, (head + body) * 200))
    async with asyncio.timeout(5):
        await lost.wait()
    await asyncio.gather(sending, return_exceptions=True)
    line.close()


@given(st.binary(max_size=30), st.sampled_from([b"/", b"http://x/", b"", b"//", b"*"]))
def test_a_target_without_fault_is_plain(rest: bytes, start: bytes) -> None:
    if not fault("1.1", "GET", start + rest, [(b"host", b"x")]):
        text = (start + rest).decode("ascii")
        assert text.isprintable() and not set(text) & set(' "<>\\^`{|}#')

"""Hostile HTTP over raw sockets: refused, never read in two ways, never repeated back."""

from __future__ import annotations

import json
import socket
import time
from urllib.parse import urlsplit

import pytest

from tests.attacks.wire import request, say
from tests.support.pay import body, card, new_key
from tests.support.stack import Stack

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
TOKEN = json.dumps({"card": card()}).encode()
SMUGGLED = b"GET /v1/ledger/balances HTTP/1.1\r\nHost: x\r\n\r\n"


CHUNKED = b"Transfer-Encoding: chunked\r\n"
AMBIGUOUS = {
    "length and chunked": b"Content-Length: 4\r\n" + CHUNKED,
    "chunked and length": CHUNKED + b"Content-Length: 4\r\n",
    "two lengths": b"Content-Length: 4\r\nContent-Length: 40\r\n",
    "two equal lengths": b"Content-Length: 4\r\nContent-Length: 4\r\n",
    "a list of lengths": b"Content-Length: 4, 4\r\n",
    "a negative length": b"Content-Length: -1\r\n",
    "a signed length": b"Content-Length: +4\r\n",
    "a hexadecimal length": b"Content-Length: 0x4\r\n",
    "a spaced length": b"Content-Length: 4 4\r\n",
    "an endless length": b"Content-Length: 99999999999999999999999\r\n",
    "an empty length": b"Content-Length: \r\n",
    "chunked not last": b"Transfer-Encoding: chunked, identity\r\n",
    "chunked twice": b"Transfer-Encoding: chunked, chunked\r\n",
    "an unknown coding": b"Transfer-Encoding: xchunked\r\n",
    "a hidden coding": b"Transfer-Encoding: \x0bchunked\r\n",
    "two codings": CHUNKED + b"Transfer-Encoding: identity\r\nContent-Length: 4\r\n",
    "a space before the colon": b"Content-Length : 4\r\n",
    "a folded header": b"X-A: b\r\n Content-Length: 4\r\n",
    "a folded length": b"Content-Length:\r\n 4\r\n",
    "a bare line feed": b"X-A: b\nContent-Length: 4\r\n",
    "a bare carriage return": b"X-A: b\rContent-Length: 4\r\n",
    "a nul byte": b"X-A: b\0c\r\nContent-Length: 4\r\n",
    "a header without a name": b": x\r\nContent-Length: 4\r\n",
    "a header without a colon": b"nonsense\r\nContent-Length: 4\r\n",
}


@pytest.mark.parametrize("kind", sorted(AMBIGUOUS))
def test_ambiguous_framing_is_refused_and_nothing_is_smuggled(target: Stack, kind: str) -> None:
    """Whichever way two readers may read it: the second request must never be answered."""
    head = (
        b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer " + target.secret_key.encode() + b"\r\n" + AMBIGUOUS[kind] + b"\r\n"
    )
    for rest in (b"0\r\n\r\n" + SMUGGLED, b"{  }" + SMUGGLED, b"5c\r\n" + SMUGGLED):
        heard = say(target, head + rest, wait_s=0.3)
        assert heard.statuses == [] or all(400 <= status < 500 for status in heard.statuses)
        assert len(heard.statuses) <= 1, "one refusal and the connection is over"
        assert heard.closed


@pytest.mark.parametrize(
    "size", [b"-1", b"0x4", b"+4", b"4 4", b"g", b"", b" 4", b"4_0", b"F" * 17, b"4;\0", b"4\n"]
)
def test_bad_chunk_sizes_end_the_connection(target: Stack, size: bytes) -> None:
    head = (
        b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer " + target.secret_key.encode() + b"\r\n" + CHUNKED + b"\r\n"
    )
    heard = say(target, head + size + b"\r\n{  }\r\n0\r\n\r\n" + LIVE, wait_s=0.3)
    assert all(400 <= status < 500 for status in heard.statuses)
    assert len(heard.statuses) <= 1 and heard.closed


def test_a_chunked_body_is_one_body(target: Stack) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, TOKEN[at : at + 1]) for at in range(len(TOKEN)))
    head = request(target, path="/v1/tokens", close=False, headers=[
        ("Transfer-Encoding", "chunked"), ("Content-Type", "application/json")])  # fmt: skip
    heard = say(target, head + chunks + b"0\r\nX-Trailer: a\r\n\r\n" + LIVE, wait_s=0.5)
    assert heard.statuses == [201, 200]


def test_a_chunked_body_has_the_same_bound(target: Stack) -> None:
    head = request(target, path="/v1/tokens", headers=[
        ("Transfer-Encoding", "chunked"), ("Content-Type", "application/json")])  # fmt: skip
    heard = say(target, head, *[b"1000\r\n" + b" " * 4096 + b"\r\n"] * 8, b"0\r\n\r\n" + SMUGGLED)
    assert heard.statuses == [413]
    assert heard.closed


def test_a_body_shorter_than_it_says_is_waited_for_and_dropped(target: Stack) -> None:
    reference = new_key()
    given = json.dumps(body(reference=reference)).encode()
    heard = say(
        target,
        request(
            target,
            given,
            length=str(len(given) + 50),
            headers=[("Idempotency-Key", new_key())],
        ),
        wait_s=0.5,
    )
    assert heard.statuses == []
    assert target.call("GET", f"/v1/payments?reference={reference}").json["data"] == []


def test_a_body_longer_than_it_says_is_no_body(target: Stack) -> None:
    heard = say(target, request(target, TOKEN + b"}}", path="/v1/tokens", length=str(len(TOKEN)),
                                close=False), wait_s=0.5)  # fmt: skip
    assert heard.statuses in ([], [201], [201, 400])
    assert heard.closed, "the rest is no request"


def test_pipelined_requests_are_answered_in_order(target: Stack) -> None:
    refused = b"GET /v1/ledger/balances HTTP/1.1\r\nHost: x\r\n\r\n"
    heard = say(target, (LIVE + refused) * 10, wait_s=0.7)
    assert heard.statuses == [200, 401] * 10


def test_a_key_serves_one_request_only(target: Stack) -> None:
    """The second request of a connection is not admitted by the first one's key."""
    first = request(target, method="GET", path="/v1/ledger/balances", close=False)
    assert say(target, first + SMUGGLED, wait_s=0.5).statuses == [200, 401]


@pytest.mark.parametrize(
    "start",
    [
        b"GET //evil.example/ HTTP/1.1",
        b"GET /v1/../metrics HTTP/1.1", b"GET /v1/%2e%2e/metrics HTTP/1.1", b"GET * HTTP/1.1",
        b"GET /v1/ledger/balances\0 HTTP/1.1", b"GET /v1/ledger\\balances HTTP/1.1",
        b"GET /%76%31/ledger/balances HTTP/1.1",
        b"GET /V1/ledger/balances HTTP/1.1", b"GET /v1//ledger/balances HTTP/1.1",
        b"GET /v1/ledger/balances/ HTTP/1.1", b"GET /v1/ledger/balances;a=b HTTP/1.1",
        b"CONNECT evil.example:443 HTTP/1.1", b"TRACE /v1/ledger/balances HTTP/1.1",
        b"OPTIONS * HTTP/1.1", b"DEBUG / HTTP/1.1", b"get /v1/ledger/balances HTTP/1.1",
        b"GET /v1/ledger/balances HTTP/2.0", b"GET /v1/ledger/balances HTTP/1.9",
        b"GET /v1/ledger/balances", b"\x16\x03\x01\x02\x00",
        b"PRI * HTTP/2.0", b"GET /\xff\xfe HTTP/1.1", b"GET /v1/ledger/balances?\xff HTTP/1.1",
        b"GET /v1/payments?limit=1&limit=2 HTTP/1.1", b"GET /v1/payments?limit=%00 HTTP/1.1",
        b"GET /v1/payments?x[]=1 HTTP/1.1", b"GET /v1/payments?limit=1e1 HTTP/1.1",
        b"GET /v1/payments?reference=%ff HTTP/1.1", b"GET /v1/payments?%0d%0aX: HTTP/1.1",
        b"GET /v1/payments?limit=\xd9\xa1 HTTP/1.1",
        b"GET /v1/payments?" + b"a" * 3000 + b" HTTP/1.1",
    ],
)  # fmt: skip
def test_strange_request_lines_are_refused(target: Stack, start: bytes) -> None:
    heard = say(
        target,
        start + b"\r\nHost: localhost\r\nAuthorization: Bearer "
        + target.secret_key.encode() + b"\r\n\r\n",
        wait_s=0.4,
    )  # fmt: skip
    assert all(400 <= status < 500 for status in heard.statuses), heard.statuses
    assert len(heard.statuses) <= 1
    assert b"evil" not in heard.raw and target.secret_key.encode() not in heard.raw


def test_a_target_with_another_host_than_the_header_is_refused(target: Stack) -> None:
    """RFC 9112 section 3.2.2 wants the host of the target taken: two hosts are two meanings."""
    for host in (
        "http://evil.example",
        "https://evil.example:1",
        "http://user:secret@evil.example",
    ):
        path = f"{host}/v1/ledger/balances"
        heard = say(target, request(target, method="GET", path=path))
        assert heard.statuses == [400]
        assert b"evil" not in heard.raw and b"secret@" not in heard.raw
        assert say(target, request(target, method="GET", path=path, key=None)).statuses == [400]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-HTTP-Method-Override", "DELETE"), ("X-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"), ("X-Original-URL", "/metrics"), ("X-Rewrite-URL", "/metrics"),
        ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "evil.example"),
        ("Forwarded", "host=evil.example"), ("Upgrade", "h2c"), ("Upgrade", "websocket"),
        ("Expect", "100-continue"), ("Expect", "x"), ("Range", "bytes=0-1"),
        ("Accept-Encoding", "gzip, br"), ("Accept", "text/html"), ("TE", "trailers"),
        ("Connection", "content-length"), ("Host", "evil.example"), ("Cookie", "a=b"),
    ],
)  # fmt: skip
def test_headers_that_others_obey_change_nothing(target: Stack, name: str, value: str) -> None:
    made = target.call("POST", "/v1/tokens", {"card": card(), "save": True}).json
    asked = request(target, method="GET", path=f"/v1/tokens/{made['id']}", headers=[(name, value)])
    heard = say(target, asked, wait_s=0.3)
    assert heard.statuses in ([200], [400]), heard.raw
    assert b"evil.example" not in heard.raw and b"strongroom_http" not in heard.raw
    assert target.call("GET", f"/v1/tokens/{made['id']}").status == 200


@pytest.mark.parametrize(
    "name",
    ["Authorization", "Idempotency-Key", "Content-Type", "Strongroom-Merchant",
     "Strongroom-Version"],
)  # fmt: skip
def test_a_header_that_stands_twice_is_refused(target: Stack, name: str) -> None:
    values = {"Authorization": f"Bearer {target.secret_key}", "Content-Type": "application/json",
              "Strongroom-Version": "2026-11-23",
              "Strongroom-Merchant": target.merchant}  # fmt: skip
    value = values.get(name, "abc")
    given = request(
        target, json.dumps(body()).encode(), headers=[(name, value), (name.lower(), value)]
    )
    heard = say(target, given, wait_s=0.4)
    assert heard.statuses in ([400], [401])
    assert value.encode() not in heard.raw or name == "Strongroom-Version"


def test_huge_urls_and_headers_are_refused(target: Stack) -> None:
    long = b"GET /v1/" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    assert say(target, long, wait_s=0.5).statuses == [414]
    wide = b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 20_000 + b"\r\n\r\n"
    assert say(target, wide, wait_s=0.5).statuses == [431]
    many = b"GET /health/live HTTP/1.1\r\n" + b"X-A: b\r\n" * 100 + b"\r\n"
    assert say(target, many, wait_s=0.5).statuses == [431]
    endless = say(target, b"GET /health/live HTTP/1.1\r\nX-A: ", *[b"a" * 65_536] * 20, wait_s=0.5)
    assert endless.statuses in ([431], []) and endless.closed


def test_slow_headers_are_hung_up_on(target: Stack) -> None:
    where = urlsplit(target.url)
    begun = time.monotonic()
    address = (str(where.hostname), int(where.port or 0))
    lines = [socket.create_connection(address, timeout=20) for _ in range(20)]
    try:
        for line in lines:
            line.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n")
        quick = target.call("GET", "/health/live", key=None)
        assert quick.status == 200, "the others are served meanwhile"
        for line in lines:
            said = line.recv(4096)
            assert said.startswith(b"HTTP/1.1 408 ") or said == b""
        assert 5 < time.monotonic() - begun < 15
    finally:
        for line in lines:
            line.close()


def test_no_process_died_of_it(target: Stack) -> None:
    """After all that: alive, and nothing of ours broke."""
    assert target.call("GET", "/health/ready", key=None).status == 200
    assert "Traceback" not in target.log()
    assert '"where"' not in target.log(), "an exception that is none of ours"

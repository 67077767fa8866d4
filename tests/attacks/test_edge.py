"""Hostile HTTP and hostile JSON over raw sockets: refused, never a 5xx, never repeated back."""

from __future__ import annotations

import json
import random
import re
import socket
import time
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.attacks.swarm import Line
from tests.attacks.wire import request, say
from tests.support.pay import body, card, get, new_key, operate, pay
from tests.support.stack import Answer, Stack

LIVE = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
TOKEN = json.dumps({"card": card()}).encode()
SMUGGLED = b"GET /v1/ledger/balances HTTP/1.1\r\nHost: x\r\n\r\n"


def paying(stack: Stack, given: bytes, **more: Any) -> bytes:
    headers = [*more.pop("headers", []), ("Idempotency-Key", new_key())]
    return request(stack, given, headers=headers, **more)


# --- framing --------------------------------------------------------------------------------------

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
    heard = say(target, paying(target, given, length=str(len(given) + 50)), wait_s=0.5)
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
        b"GET /v1/payments?limit=\xd9\xa1 HTTP/1.1", b"GET /v1/payments?" + b"a" * 3000 + b" HTTP/1.1",
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


def test_a_target_with_a_host_is_read_as_its_path(target: Stack) -> None:
    """RFC 9112 section 3.2.2 wants it taken; the host means nothing and is never repeated."""
    for host in (
        "http://evil.example",
        "https://evil.example:1",
        "http://user:secret@evil.example",
    ):
        path = f"{host}/v1/ledger/balances"
        heard = say(target, request(target, method="GET", path=path))
        assert heard.statuses in ([200], [400], [404])
        assert b"evil" not in heard.raw and b"secret@" not in heard.raw
        assert say(target, request(target, method="GET", path=path, key=None)).statuses == [401]


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
              "Strongroom-Version": "2026-11-23", "Strongroom-Merchant": target.merchant}  # fmt: skip
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


# --- bodies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media",
    [
        "text/plain", "text/json", "application/xml", "application/x-www-form-urlencoded", "",
        "multipart/form-data; boundary=x", "application/json; charset=utf-16", "*/*",
        "application/json, text/plain", "application/json\t;x", "application/vnd.api+json",
        "application/json; charset=utf-7",
    ],
)  # fmt: skip
def test_other_media_types_are_refused(target: Stack, media: str) -> None:
    given = request(target, TOKEN, path="/v1/tokens", headers=[("Content-Type", media)])
    assert say(target, given, wait_s=0.3).statuses == [415]


ENCODINGS = {
    "utf-16": TOKEN.decode().encode("utf-16"),
    "utf-32": TOKEN.decode().encode("utf-32"),
    "utf-7": b"+AHsAIgBjAGEAcgBk-",
    "byte order mark": b"\xef\xbb\xbf" + TOKEN,
    "broken utf-8": TOKEN.replace(b"card", b"c\xc3\x28rd"),
    "overlong utf-8": TOKEN.replace(b"card", b"\xc1\xa3ard"),
    "utf-8 surrogate": TOKEN.replace(b"card", b"\xed\xa0\x80"),
    "beyond unicode": TOKEN.replace(b"card", b"\xf5\x80\x80\x80"),
    "cut utf-8": b'{"card":"\xe2\x82',
    "nul": TOKEN + b"\0",
    "nul inside": TOKEN.replace(b'"card"', b'"ca\0rd"'),
    "lone surrogate": b'{"card":{"number":"\\ud83d"}}',
    "swapped surrogates": b'{"card":{"number":"\\udca9\\ud83d"}}',
    "two values": TOKEN + TOKEN,
    "a comment": b"/* */" + TOKEN,
    "a trailing comma": TOKEN[:-1] + b",}",
    "single quotes": TOKEN.replace(b'"', b"'"),
    "an array": b"[" + TOKEN + b"]",
    "a string": json.dumps(TOKEN.decode()).encode(),
    "a number": b"1",
    "true": b"true",
    "null": b"null",
    "nothing": b" ",
    "a name twice": TOKEN[:-1] + b',"card":' + TOKEN[8:],
    "a name twice, escaped": TOKEN[:-1] + b',"c\\u0061rd":{}}',
    "an array bomb": b"[" * 16_000,
    "an object bomb": b'{"a":' * 3_000,
    "a mixed bomb": b'[{"a":' * 2_500,
    "a closed bomb": b'{"card":' + b"[" * 4_000 + b"]" * 4_000 + b"}",
    "a long number": b'{"card":' + b"9" * 16_000 + b"}",
    "a long name": b'{"' + b"a" * 16_000 + b'":1}',
    "many names": b"{" + b",".join(b'"%d":1' % at for at in range(1500)) + b"}",
    "colliding names": b"{" + b",".join(b'"__proto__%d":{}' % at for at in range(700)) + b"}",
    "prototype": TOKEN[:-1] + b',"__proto__":{"admin":true},"constructor":{}}',
}


@pytest.mark.parametrize("kind", sorted(ENCODINGS))
def test_hostile_json_is_refused_quickly(target: Stack, kind: str) -> None:
    begun = time.monotonic()
    heard = say(target, request(target, ENCODINGS[kind], path="/v1/tokens"), wait_s=0.4)
    assert len(heard.statuses) == 1 and heard.statuses[0] in (400, 422), heard.raw[:300]
    assert time.monotonic() - begun < 2
    assert b"admin" not in heard.raw and b"4242" not in heard.raw


AMOUNTS = [
    "-1", "0", "-0", "1.0", "1.5", "1e2", "1E2", "1e-2", "1e400", "NaN", "Infinity", "-Infinity",
    "1000000000000000", "9007199254740993", "9223372036854775808", "-9223372036854775809",
    "18446744073709551616", "9" * 400, "01", "+1", "0x10", "1_000", '"1099"', '"1,000"', "true",
    "false", "null", "[]", "[1]", "{}", '{"$gt":0}', '"\\u0661"', "1099 1099", "",
]  # fmt: skip


@pytest.mark.parametrize("amount", AMOUNTS)
def test_hostile_amounts_are_refused(target: Stack, amount: str) -> None:
    given = json.dumps(body(amount=31337)).replace("31337", amount).encode()
    heard = say(target, paying(target, given), wait_s=0.4)
    assert len(heard.statuses) == 1 and heard.statuses[0] in (400, 422), heard.raw[:300]
    payment = pay(target, capture_method="manual").json["id"]
    for verb in ("capture", "refunds"):
        if amount != "null":  # means: all of it
            asked = paying(
                target, f'{{"amount":{amount}}}'.encode(), path=f"/v1/payments/{payment}/{verb}"
            )
            heard = say(target, asked, wait_s=0.4)
            assert len(heard.statuses) == 1 and heard.statuses[0] in (400, 409, 422)
    assert get(target, payment)["amount_captured"] == 0


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("currency",), "eur"), (("currency",), "EU"), (("currency",), "XXX"), (("currency",), "E\u0421B"),
        (("currency",), ["EUR"]), (("currency",), None), (("capture_method",), "never"),
        (("capture_method",), 1), (("payment_method",), []), (("payment_method",), {}),
        (("payment_method", "card"), None), (("payment_method", "token"), "tok_x"),
        (("payment_method", "card", "number"), "4242 4242 4242 4242"),
        (("payment_method", "card", "number"), "\uff14242424242424242"),
        (("payment_method", "card", "number"), "\u0664" + "242424242424242"),
        (("payment_method", "card", "number"), 4242424242424242),
        (("payment_method", "card", "number"), "0" * 16), (("payment_method", "card", "number"), ""),
        (("payment_method", "card", "number"), "4" * 5000),
        (("payment_method", "card", "exp_month"), 0), (("payment_method", "card", "exp_month"), 13),
        (("payment_method", "card", "exp_month"), "12"), (("payment_method", "card", "exp_month"), -1),
        (("payment_method", "card", "exp_year"), 31), (("payment_method", "card", "exp_year"), 1999),
        (("payment_method", "card", "exp_year"), 2020), (("payment_method", "card", "exp_year"), 9999),
        (("payment_method", "card", "cvc"), "12"), (("payment_method", "card", "cvc"), "12a"),
        (("payment_method", "card", "cvc"), "\u0661\u0662\u0663"), (("payment_method", "card", "cvc"), 123),
        (("payment_method", "card", "admin"), True), (("status",), "captured"), (("id",), "pay_1"),
        (("merchant",), "mer_x"), (("metadata",), []), (("metadata",), {"a": {"b": 1}}),
        (("metadata",), {"a": 1}), (("metadata",), {"": "x"}), (("metadata",), {"a b": "x"}),
        (("metadata",), {f"k{at}": "x" for at in range(21)}), (("metadata",), {"k" * 41: "x"}),
        (("metadata",), {"k": "x" * 201}), (("description",), "x" * 201), (("description",), ""),
        (("reference",), "x" * 65), (("reference",), "a b"), (("reference",), ""),
        (("return_url",), 1), (("return_url",), ""),
    ],
)  # fmt: skip
def test_fields_of_another_form_are_refused(
    target: Stack, path: tuple[str, ...], value: Any
) -> None:
    given: dict[str, Any] = body(amount=17)
    inner = given
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    answer = target.call("POST", "/v1/payments", given, idempotency_key=new_key())
    assert answer.status == 422, answer.body
    assert "4242" not in answer.body.decode()


# --- ten thousand hostile strings -----------------------------------------------------------------

PIECES = (
    "' OR '1'='1", "'; DROP TABLE pay.payment; --", '" OR ""="', "1; SELECT pg_sleep(9)", "$$;x$$",
    "\\'; --", "%' AND 1=1 --", "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{%x%}", "{0.__class__}",
    "%s%n%x%p", "{}{}{}", "%(key)s", "$(id)", "`id`", "| id", "; id", "&& id", "../../etc/passwd",
    "..\\..\\windows", "/etc/passwd\x00.png", "file:///etc/passwd", "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "<!--", "]]>", "<!DOCTYPE x [<!ENTITY y>]>",
    "\r\nSet-Cookie: a=b", "\r\n\r\n<html>", "%0d%0aX: y", "\u2028", "\u202eevil", "\u200bzero",
    "\u2066x\u2069", "\ufeff", "\ufffe", "\U000e0041", "e\u0301", "\u0130\u0131", "\u00df", "\ufb03",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0644\u0627", "\ud83d", "\udca9", "\x00", "\x1b[31m",
    "\x7f", "\x85", "=cmd|' /C calc'!A0", "+1+1", "@SUM(1)", "-2+3", "null", "undefined", "NaN", "true",
    "[object Object]", "__proto__", "constructor", "\\u0000", "\\", '"', "'", "`", "\t", "\n", " ", "\u00a0",
    "\u3000", "A" * 90, "\U0001f4a9" * 20, "(((((", "*" * 50, "()|&!", "*)(uid=*", "ldap://x", "//x", "\\\\x\\y",
)  # fmt: skip
SEED = 20_261_123
PER_CALL = 20
METADATA_MAX, TEXT_MAX = 200, 200


def hostile() -> Iterator[str]:
    """Yield strings without end: pieces, pieces joined, and random characters of every plane."""
    chance = random.Random(SEED)  # noqa: S311 (a corpus, not a secret)
    yield from PIECES
    while True:
        kind = chance.randrange(3)
        if kind == 0:
            yield "".join(chance.choices(PIECES, k=chance.randrange(2, 5)))
        elif kind == 1:
            planes = ((0x20, 0x7F), (0x80, 0x800), (0x800, 0xD800), (0xE000, 0x11_0000))
            size = chance.randrange(1, 40)
            yield "".join(chr(chance.randrange(*chance.choice(planes))) for _ in range(size))
        else:
            yield chance.choice(PIECES).translate({32: chr(chance.randrange(0x2000, 0x2070))})


_NAME = re.compile("[a-z_]{1,40}")


def paired(text: str) -> str:
    """Join surrogates that stand side by side, as every JSON reader does."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def visible(text: str) -> bool:
    """Return whether a string is worth looking for in an answer.

    Short ones are in any answer, and a name of small letters may be told: `param` says which
    field is not known.
    """
    return len(text.strip()) >= 6 and not _NAME.fullmatch(text)


def check_refusal(answer: Answer, texts: list[str]) -> None:
    """A refusal is a problem document in ASCII that repeats nothing of what was sent."""
    assert 400 <= answer.status < 500, answer.body
    assert answer.json["code"] in {
        "text_not_printable", "invalid_parameter", "card_number_in_text", "invalid_json",
        "invalid_encoding", "invalid_holder_name",
    }  # fmt: skip
    told = json.dumps(answer.json, ensure_ascii=False)
    for text in texts:
        assert not visible(text) or text not in told


def plant(line: Line, texts: list[str]) -> int:
    """Send one call's worth of strings; return how many came back as they were."""
    given = body(
        amount=5, metadata={f"k{at}": text[:METADATA_MAX] for at, text in enumerate(texts)}
    )
    given["description"] = texts[0][:TEXT_MAX] or "x"
    answer = line.call("POST", "/v1/payments", given, idempotency_key=new_key())
    if answer.status != 201:
        check_refusal(answer, texts)
        return 0
    read = line.call("GET", f"/v1/payments/{answer.json['id']}")
    assert read.json["metadata"] == given["metadata"]
    assert answer.json["metadata"] == given["metadata"]
    return len(texts)


def storable(text: str) -> bool:
    """What the edge takes: all that can be seen; written here anew, not taken from the edge."""
    if len(text) > METADATA_MAX:
        return False
    invisible = set("\u200b\u2060\ufeff\u061c\u200e\u200f") | {
        chr(c) for c in range(0x2028, 0x202F)
    }
    invisible |= {chr(c) for c in range(0x2060, 0x206A)} | {chr(c) for c in range(0xFFF9, 0x10000)}
    invisible |= {chr(c) for c in range(0xE0000, 0xE0080)}
    return not any(unicodedata.category(c) in ("Cc", "Cs") or c in invisible for c in text)


def test_ten_thousand_hostile_strings_come_back_equal_or_are_refused(target: Stack) -> None:
    """Good ones go together, bad ones alone, so that one bad string hides no other."""
    source = hostile()
    corpus = [paired(next(source)) for _ in range(10_000)]
    good = [text for text in corpus if storable(text)]
    bad = [text[:METADATA_MAX] for text in corpus if not storable(text[:METADATA_MAX])]
    assert len(good) > 3_000 and len(bad) > 500
    batches = [good[at : at + PER_CALL] for at in range(0, len(good), PER_CALL)]
    line = Line(target)
    try:
        returned = sum(plant(line, batch) for batch in batches)
        assert returned > len(good) * 0.9, "what can be seen is taken"
        for at in range(0, len(bad), PER_CALL):
            assert plant(line, bad[at : at + PER_CALL]) == 0
        for text in bad[:150]:
            assert plant(line, [text]) == 0, ascii(text)
    finally:
        line.close()


def places(text: str, payment: str) -> list[tuple[str, str, Any]]:
    """Every field, query and path that takes text."""
    base = body(amount=5)
    with_card = {**base, "payment_method": {"card": card(holder_name=text)}}
    return [
        ("POST", "/v1/payments", {**base, "description": text}),
        ("POST", "/v1/payments", {**base, "reference": text}),
        ("POST", "/v1/payments", {**base, "return_url": f"https://shop.example/{text}"}),
        ("POST", "/v1/payments", {**base, "metadata": {text: "x"}}),
        ("POST", "/v1/payments", {**base, "currency": text}),
        ("POST", "/v1/payments", {**base, text: text}),
        ("POST", "/v1/payments", {**base, "payment_method": {"token": text, "cvc": text}}),
        ("POST", "/v1/payments", with_card),
        ("POST", "/v1/tokens", {"card": card(number=text)}),
        ("POST", f"/v1/payments/{payment}/refunds", {"amount": 1, "reason": text}),
    ]


def test_every_place_for_text_is_safe(target: Stack) -> None:
    payment = pay(target, amount=100_000).json["id"]
    wrong: list[str] = []

    def attack(piece: str) -> None:
        line = Line(target)
        try:
            for method, path, given in places(piece, payment):
                answer = line.call(method, path, given, idempotency_key=new_key())
                if answer.status >= 500 and answer.status != 503:
                    wrong.append(f"{answer.status} {path} {piece!a}")
                if answer.status >= 400 and answer.status != 402:
                    told = json.dumps(answer.json, ensure_ascii=False)
                    if visible(piece) and piece in told:
                        wrong.append(f"echo {path} {piece!a}")
                for name, value in answer.headers.items():
                    if "\r" in value or "\n" in value or name in ("set-cookie", "x"):
                        wrong.append(f"header {name} {piece!a}")
        finally:
            line.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(attack, PIECES))
    assert wrong == []


def test_hostile_header_values_are_not_repeated(target: Stack) -> None:
    for piece in PIECES:
        value = piece.encode("utf-8", "surrogatepass").decode("latin-1")
        if "\n" in value or "\r" in value or "\0" in value:
            continue  # framing, tested above
        for name in ("Idempotency-Key", "Strongroom-Version", "Strongroom-Merchant",
                     "Authorization", "Content-Type", "Origin"):  # fmt: skip
            given = request(target, b'{"x":1}', path="/v1/payments", headers=[(name, value)])
            heard = quick(target, given)
            assert heard[0] in (400, 401, 403, 404, 415, 422), (name, ascii(piece), heard)
            if visible(value):
                assert value.encode("latin-1") not in heard[1]


def quick(stack: Stack, given: bytes) -> tuple[int, bytes]:
    """Send one request that asks to close, and return status and all bytes of the answer."""
    where = urlsplit(stack.url)
    given = given.replace(b"\r\nHost:", b"\r\nConnection: close\r\nHost:", 1)
    with socket.create_connection((str(where.hostname), int(where.port or 0)), timeout=5) as line:
        line.sendall(given)
        raw = b""
        while chunk := line.recv(65_536):
            raw += chunk
    return int(raw[9:12]), raw


def test_stored_text_never_becomes_a_header_or_html(target: Stack) -> None:
    made = pay(
        target, description="<script>x</script>", metadata={"a": "<img src=x onerror=alert(1)>"}
    )
    read = target.call("GET", f"/v1/payments/{made.json['id']}")
    assert read.headers["content-type"] == "application/json"
    assert read.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in read.headers["content-security-policy"]
    assert operate(target, made.json["id"], "cancel").status == 409


def test_it_still_works(target: Stack) -> None:
    """After all that: alive, and no process had to be started again."""
    assert target.call("GET", "/health/ready", key=None).status == 200
    assert pay(target).status == 201
    assert "Traceback" not in target.log()
    assert '"status":500' not in target.log()

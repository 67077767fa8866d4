"""Hostile JSON and ten thousand hostile strings: taken as they are or refused, never a 5xx, never
repeated back.
"""

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

TOKEN = json.dumps({"card": card()}).encode()


def paying(stack: Stack, given: bytes, **more: Any) -> bytes:
    """Return a keyed request's bytes."""
    return request(stack, given, headers=[("Idempotency-Key", new_key())], **more)


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
    assert ("bomb" in kind) == (b'"json_too_deep"' in heard.raw), "refused before it is read"
    assert b"admin" not in heard.raw and b"42424242" not in heard.raw


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
        (("currency",), "eur"), (("currency",), "EU"), (("currency",), "ZZZ"),
        (("currency",), "E\u0421B"),
        (("currency",), ["EUR"]), (("currency",), None), (("capture_method",), "never"),
        (("capture_method",), 1), (("payment_method",), []), (("payment_method",), {}),
        (("payment_method", "card"), None), (("payment_method", "token"), "tok_x"),
        (("payment_method", "card", "number"), "4242 4242 4242 4242"),
        (("payment_method", "card", "number"), "\uff14242424242424242"),
        (("payment_method", "card", "number"), "\u0664" + "242424242424242"),
        (("payment_method", "card", "number"), 4242424242424242),
        (("payment_method", "card", "number"), "0" * 16),
        (("payment_method", "card", "number"), ""),
        (("payment_method", "card", "number"), "4" * 5000),
        (("payment_method", "card", "exp_month"), 0), (("payment_method", "card", "exp_month"), 13),
        (("payment_method", "card", "exp_month"), "12"),
        (("payment_method", "card", "exp_month"), -1),
        (("payment_method", "card", "exp_year"), 31),
        (("payment_method", "card", "exp_year"), 1999),
        (("payment_method", "card", "exp_year"), 2020),
        (("payment_method", "card", "exp_year"), 9999),
        (("payment_method", "card", "cvc"), "12"), (("payment_method", "card", "cvc"), "12a"),
        (("payment_method", "card", "cvc"), "\u0661\u0662\u0663"),
        (("payment_method", "card", "cvc"), 123),
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
    assert "42424242" not in answer.body.decode()


# --- ten thousand hostile strings -----------------------------------------------------------------

PIECES = (
    "' OR '1'='1", "'; DROP TABLE pay.payment; --", '" OR ""="', "1; SELECT pg_sleep(9)", "$$;x$$",
    "\\'; --", "%' AND 1=1 --", "{{7*7}}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{%x%}",
    "{0.__class__}",
    "%s%n%x%p", "{}{}{}", "%(key)s", "$(id)", "`id`", "| id", "; id", "&& id", "../../etc/passwd",
    "..\\..\\windows", "/etc/passwd\x00.png", "file:///etc/passwd", "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "<!--", "]]>",
    "<!DOCTYPE x [<!ENTITY y>]>",
    "\r\nSet-Cookie: a=b", "\r\n\r\n<html>", "%0d%0aX: y", "\u2028", "\u202eevil", "\u200bzero",
    "\u2066x\u2069", "\ufeff", "\ufffe", "\U000e0041", "e\u0301", "\u0130\u0131", "\u00df",
    "\ufb03",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u0644\u0627", "\ud83d", "\udca9", "\x00",
    "\x1b[31m",
    "\x7f", "\x85", "=cmd|' /C calc'!A0", "+1+1", "@SUM(1)", "-2+3", "null", "undefined", "NaN",
    "true",
    "[object Object]", "__proto__", "constructor", "\\u0000", "\\", '"', "'", "`", "\t", "\n",
    " ", "\u00a0",
    "\u3000", "A" * 90, "\U0001f4a9" * 20, "(((((", "*" * 50, "()|&!", "*)(uid=*", "ldap://x",
    "//x", "\\\\x\\y",
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
        "text_not_printable", "text_not_normalized", "invalid_parameter", "card_number_in_text",
        "invalid_json", "invalid_encoding", "invalid_holder_name",
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


UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\U000e0100-\U000e01ef]")


def storable(text: str) -> bool:
    """What the edge takes: all that can be seen; written here anew, not taken from the edge."""
    if len(text) > METADATA_MAX or unicodedata.normalize("NFC", text) != text:
        return False
    if UNSEEN.search(text):
        return False
    invisible = set("\u200b\u2060\ufeff\u061c\u200e\u200f") | {
        chr(c) for c in range(0x2028, 0x202F)
    }
    invisible |= {chr(c) for c in range(0x2060, 0x206A)} | {chr(c) for c in range(0xFFF9, 0x10000)}
    invisible |= {chr(c) for c in range(0xE0000, 0xE0080)}
    visible = "\u200c\u200d"
    return not any(
        (unicodedata.category(c)[0] == "C" and c not in visible) or c in invisible for c in text
    )


def test_ten_thousand_hostile_strings_come_back_equal_or_are_refused(target: Stack) -> None:
    """Good ones go together, bad ones alone, so that one bad string hides no other."""
    source = hostile()
    corpus = [paired(next(source)) for _ in range(10_000)]
    good = [text for text in corpus if storable(text)]
    bad = [text[:METADATA_MAX] for text in corpus if not storable(text[:METADATA_MAX])]
    assert len(good) > 2_000 and len(bad) > 500
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
    assert '"where"' not in target.log(), "an exception that is none of ours"

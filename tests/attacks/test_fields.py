"""Hostile strings through every field of every route: equal bytes or 4xx, and nothing else happens.

The whole edge runs in this process with the real routes; handlers are replaced by one that answers
what it was given, callers and policies let everybody in. So thousands of calls cost seconds, every
socket can be watched, and what a field lets through is seen exactly. tests/attacks/test_bodies.py
sends such strings over real HTTP through the rooms to the database and back.
"""

from __future__ import annotations

import asyncio
import json
import re
import re._parser as patterns  # type: ignore[import-untyped]
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import pytest
from msgspec import inspect as shapes

from strongroom.api import strict
from strongroom.api.endpoint import Call, Endpoint, Reply
from strongroom.api.routes import ENDPOINTS
from strongroom.identity import Authenticated, Principal, PrincipalKind
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Cvc, EncryptedCard, Pan, Secret
from tests.api.edge import Client, house
from tests.support.corpus import corpus, seeds

ALL = corpus(2_000)
NAME = re.compile(r"[a-z_]{1,40}")
MERCHANT = "mer_" + "0" * 26


def sample(shape: Any) -> Any:
    """A good value of a type; raises when the test must learn a new form."""
    if isinstance(shape, shapes.Metadata):
        return sample(shape.type)
    if isinstance(shape, shapes.StructType):
        return {f.encode_name: sample(f.type) for f in shape.fields if f.required}
    if isinstance(shape, shapes.LiteralType):
        return shape.values[0]
    if isinstance(shape, shapes.IntType):
        return max(1, shape.ge or 0)
    if isinstance(shape, shapes.BoolType):
        return False
    if isinstance(shape, shapes.StrType):
        return least(patterns.parse(shape.pattern or ""))
    if isinstance(shape, shapes.CustomType):
        kind = getattr(shape.cls, "__origin__", shape.cls)
        return {Pan: "4242424242424242", Cvc: "123", EncryptedCard: "x", Secret: "x"}[kind]
    if isinstance(shape, shapes.UnionType):
        return sample(next(one for one in shape.types if not isinstance(one, shapes.NoneType)))
    if isinstance(shape, shapes.DictType):
        return {}
    return [sample(shape.item_type)]


def least(parsed: Any) -> str:
    """The shortest text that a pattern takes, as far as patterns of fields go."""
    text = ""
    for kind, given in parsed:
        if kind is patterns.LITERAL:
            text += chr(given)
        elif kind is patterns.IN:
            text += member(given)
        elif kind in (patterns.MAX_REPEAT, patterns.MIN_REPEAT):
            text += least(given[2]) * given[0]
        elif kind is patterns.SUBPATTERN:
            text += least(given[3])
        elif kind is patterns.BRANCH:
            text += least(given[1][0])
    return text


def member(given: Any) -> str:
    """A character of a set: the first of it, or a plain one when the set says what is not in it."""
    kind, value = given[0]
    if kind is patterns.NEGATE:
        return "x"
    return chr(value[0] if kind is patterns.RANGE else value)


def planted(shape: Any, text: str, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every way to put a text into one field of a type, the other fields being good."""
    if isinstance(shape, shapes.StructType):
        base = sample(shape)
        for field in shape.fields:
            for where, value in planted(field.type, text, f"{path}/{field.encode_name}"):
                yield where, {**base, field.encode_name: value}
    elif isinstance(shape, shapes.DictType):
        yield from ((path + "/", {text: "x"}), (path + "/k", {"k": text}))
    elif isinstance(shape, shapes.StrType | shapes.CustomType | shapes.LiteralType):
        yield path, text
    elif isinstance(shape, shapes.ListType):
        for where, value in planted(shape.item_type, text, path + "/0"):
            yield where, [value]
    else:
        wrapped = isinstance(shape, shapes.Metadata)
        for one in (shape.type,) if wrapped else getattr(shape, "types", ()):
            yield from planted(one, text, path)


def shown(value: Any) -> Any:
    """A body as plain values, card data in clear: this test wants to compare it."""
    return msgspec.to_builtins(value, enc_hook=lambda secret: secret.reveal())


def holds(value: Any, text: str) -> bool:
    if isinstance(value, dict):
        return any(holds(one, text) for pair in value.items() for one in pair)
    if isinstance(value, list):
        return any(holds(one, text) for one in value)
    return isinstance(value, str) and value == text


def tellable(text: str) -> bool:
    """Whether finding it in an answer would mean something."""
    return len(text.strip()) >= 6 and not NAME.fullmatch(text)


BODIES = sorted({e.request for e in ENDPOINTS if e.request is not None}, key=lambda k: k.__name__)


@pytest.mark.parametrize("body", BODIES)
def test_every_field_takes_a_text_as_it_is_or_not_at_all(body: type) -> None:
    shape = shapes.type_info(body)
    for at, text in enumerate(ALL):
        for number, (where, document) in enumerate(planted(shape, text)):
            if at > 1_000 and (at + number) % 4:
                continue  # the later ones are the first in wrappings: each field gets a part
            read = outcome(json.dumps(document).encode(), body)
            if isinstance(read, StrongroomError):
                told = f"{read.code} {read.public} {read.param} {read.__context__}"
                assert not tellable(text) or text not in told, (where, ascii(text))
            else:
                assert holds(shown(read), text), (where, ascii(text))


def outcome(sent: bytes, body: type) -> Any:
    try:
        return strict.convert(strict.decode(sent), body)
    except StrongroomError as refused:
        return refused


class Everybody:
    """Lets everybody in."""

    async def authenticate(self, _: object) -> Authenticated:
        principal = Principal(
            id="key_x", kind=PrincipalKind.MERCHANT, merchant=MERCHANT, mode="test",
            roles=("merchant-backend",), scopes=(),
        )  # fmt: skip
        return Authenticated(principal=principal)

    def check(self, *_: object, **__: object) -> None: ...

    check_any = check


async def answer_as_given(call: Call) -> Reply:
    given = {"body": shown(call.body), "query": shown(call.query), "path": call.params}
    return Reply(200, json.dumps(given).encode())


def echoing() -> Any:
    endpoints = [msgspec.structs.replace(e, handler=answer_as_given) for e in ENDPOINTS]
    everybody: Any = Everybody()
    return house(endpoints, callers=everybody, authorizer=everybody)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every attempt to reach another machine, by whatever door of the standard library."""
    tried: list[str] = []

    def note(name: str) -> Any:
        def refuse(*args: object, **_: object) -> None:
            tried.append(f"{name} {args[1:]!r}")
            raise OSError(name)

        return refuse

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, note(name))
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, note(name))
    for name in ("create_connection", "getaddrinfo", "sock_connect", "create_datagram_endpoint"):
        monkeypatch.setattr(asyncio.BaseEventLoop, name, note(name), raising=False)
    return tried


def path_of(endpoint: Endpoint, text: str | None = None) -> str:
    """A route's path; with a text, that stands in the place of each parameter."""
    path = endpoint.path
    for name in endpoint.parameters:
        prefix = {"payment_id": "pay", "token_id": "tok", "entry_id": "ent", "merchant_id": "mer"}
        good = f"{prefix[name]}_{'0' * 26}" if name in prefix else "sandbox"
        path = path.replace("{" + name + "}", good if text is None else text)
    return path


def check(answer: Client, text: str, where: str) -> None:
    assert answer.status == 200 or 400 <= answer.status < 500, (where, answer.body)
    if answer.status == 200:
        assert holds(json.loads(answer.body), text), (where, ascii(text))
    elif tellable(text):
        told = json.dumps(json.loads(answer.body), ensure_ascii=False)
        assert text not in told, (where, ascii(text))
    assert answer.headers["x-content-type-options"] == "nosniff"
    for value in answer.headers.values():
        assert "\r" not in value and "\n" not in value
        assert not tellable(text) or text not in value, (where, ascii(text))


async def test_every_field_of_every_route_over_the_whole_edge(watched: list[str]) -> None:
    api, sent = echoing(), 0
    few = seeds()
    routes = [e for e in ENDPOINTS if e.request is not None]
    for number, endpoint in enumerate(routes):
        shape = shapes.type_info(endpoint.request)
        for text in few[number % 11 :: 11]:
            for where, document in planted(shape, text):
                raw = json.dumps(document).encode()
                fields = [("content-type", "application/json"), ("idempotency-key", "k"),
                          ("strongroom-merchant", MERCHANT),
                          ("content-length", str(len(raw)))]  # fmt: skip
                client = Client(api, body=raw)
                await client.call(endpoint.method, path_of(endpoint), fields)
                check(client, text, f"{endpoint.path}{where}")
                sent += 1
    assert sent > 2_000 and not watched, watched[:5]


async def test_every_query_and_every_path(watched: list[str]) -> None:
    api = echoing()
    for number, endpoint in enumerate(ENDPOINTS):
        if endpoint.method not in ("GET", "DELETE"):
            continue
        fields = shapes.type_info(endpoint.query).fields  # type: ignore[attr-defined]
        for text in seeds()[number % 17 :: 17]:
            if endpoint.parameters:
                client = Client(api)
                raw = quote(text, safe="", errors="surrogatepass")
                await client.call(endpoint.method, path_of(endpoint, raw))
                assert client.status in (400, 404), (endpoint.path, ascii(text), client.status)
                assert not tellable(text) or text not in client.body.decode()
            for field in () if endpoint.lenient_query else fields:
                client = Client(api)
                encoded = urlencode({field.encode_name: text}, errors="surrogatepass").encode()
                await client.call(endpoint.method, path_of(endpoint), query=encoded)
                check(client, text, f"{endpoint.path}?{field.encode_name}")
    assert not watched, watched[:5]


def test_the_corpus_is_large_and_always_the_same() -> None:
    assert len(set(ALL)) == 2_000 and corpus(2_000) == ALL
    assert len(seeds()) > 900

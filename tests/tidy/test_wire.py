"""Every text that comes from outside has a form: a pattern, a list of words, or at least an end.

Requests must say what they take (a pattern); what gateways send must at least be bounded.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec import inspect as shapes

from strongroom.api.routes import ENDPOINTS
from strongroom.gateways.sandbox import wire as sandbox
from strongroom.gateways.stripe import wire as stripe
from strongroom.kernel.secret import Cvc, EncryptedCard, Pan, Secret
from tests.tidy.tree import report

CHECKED_ELSEWHERE = (Pan, Cvc, EncryptedCard, Secret)
"""Secret types: `strict.convert` and the vault judge them, so that no message shows their text."""


def texts(shape: Any, path: str, seen: frozenset[type] = frozenset()) -> Iterator[tuple[str, Any]]:
    """Every text, and everything that may hold any text, inside a type."""
    if isinstance(shape, shapes.StructType):
        for field in shape.fields if shape.cls not in seen else ():
            yield from texts(field.type, f"{path}.{field.encode_name}", seen | {shape.cls})
    elif isinstance(shape, shapes.CustomType):
        if getattr(shape.cls, "__origin__", shape.cls) not in CHECKED_ELSEWHERE:
            yield path, shape
    elif isinstance(shape, OPEN):
        yield path, shape
    else:
        for inner, mark in parts(shape):
            yield from texts(inner, path + mark, seen)


OPEN = (shapes.StrType, shapes.AnyType, shapes.RawType, shapes.BytesType)


def parts(shape: Any) -> list[tuple[Any, str]]:
    """The types inside a type, with what they add to a path."""
    if isinstance(shape, shapes.Metadata):
        return [(shape.type, "")]
    if isinstance(shape, shapes.UnionType):
        return [(one, "") for one in shape.types]
    if isinstance(shape, shapes.DictType):
        return [(shape.key_type, "{}"), (shape.value_type, "{}")]
    item = getattr(shape, "item_type", None)
    return [] if item is None else [(item, "[]")]


def without_pattern(kind: Any) -> list[str]:
    found = texts(shapes.type_info(kind), getattr(kind, "__name__", str(kind)))
    return [path for path, shape in found if getattr(shape, "pattern", None) is None]


def without_end(kind: Any) -> list[str]:
    found = texts(shapes.type_info(kind), kind.__name__)
    return [
        path
        for path, shape in found
        if getattr(shape, "pattern", None) is None and getattr(shape, "max_length", None) is None
    ]


def test_every_text_of_a_request_has_a_pattern() -> None:
    bodies = {e.request for e in ENDPOINTS if e.request is not None}
    queries = {e.query for e in ENDPOINTS if not e.lenient_query}
    found = [path for kind in bodies | queries for path in without_pattern(kind)]
    assert not found, report(sorted(found))


def test_every_pattern_of_a_request_is_anchored_and_ends() -> None:
    """Else it would search, or take any length."""
    kinds = {e.request for e in ENDPOINTS if e.request is not None} | {e.query for e in ENDPOINTS}
    for kind in kinds:
        for path, shape in texts(shapes.type_info(kind), kind.__name__):
            pattern = getattr(shape, "pattern", None) or "^$"
            assert pattern.startswith("^") and pattern.endswith("$"), path
            bounded = re.sub(r"\[[^\]]*\]", "x", pattern)
            assert not re.search(r"[*+](?!$)|[*+]\$|\{\d+,\}", bounded), f"{path} has no end"


def test_every_text_of_a_gateway_has_an_end() -> None:
    found = []
    for module in (sandbox, stripe):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct:
                found += without_end(kind)
    assert not found, report(sorted(set(found)))


def test_the_lint_sees_a_text_without_form() -> None:
    class Loose(msgspec.Struct):
        plain: str
        short: Annotated[str, Meta(max_length=3)]
        good: Annotated[str, Meta(pattern="^a$")]
        inner: list[str | None]
        table: dict[Annotated[str, Meta(pattern="^a$")], str]
        anything: Any

    assert without_pattern(Loose) == [
        "Loose.plain", "Loose.short", "Loose.inner[]", "Loose.table{}", "Loose.anything",
    ]  # fmt: skip
    assert "Loose.short" not in without_end(Loose)

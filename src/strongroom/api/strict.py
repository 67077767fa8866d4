"""JSON from callers, read strictly: one parse, and everything ambiguous is refused.

Refuses bad UTF-8, a byte order mark, duplicate names, deep nesting, fractions, exponents, `-0`,
NaN, big integers and text that is not printable. No message ever repeats what was sent.
"""

from __future__ import annotations

import contextlib
import json
import re
import unicodedata
from json import JSONDecodeError, JSONDecoder
from typing import Any, NoReturn, TypeVar

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import MAX_JSON_DEPTH
from strongroom.kernel.screen import free_text_holds_card_number
from strongroom.kernel.secret import Cvc, EncryptedCard, Pan, Secret

T = TypeVar("T")

MAX_SAFE_INT = 2**53 - 1
"""Largest integer that every JSON reader takes exactly (RFC 8259 section 6)."""

_CONTROLS = re.compile("[\x00-\x1f\x7f]")
_JOINERS = "\u200c\u200d"
"""The joiners stay: names and emoji need them."""

_HIDDEN = re.compile(
    "[\u2028\u2029\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\U000e0100-\U000e01ef]"
)
"""Separators of lines, and letters and marks that show as nothing: they hide words from readers."""

_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
"""Controls, formats (direction marks, tags), unassigned, private and halves of characters."""

_MARKS_MAX = 8
"""Marks on one letter: no writing system needs more than five."""

_WHERE = re.compile(r" - at (?:`key` in )?`\$([a-z0-9_.\[\]]*)`\Z")
_MISSING = re.compile(r"missing required field `([a-z0-9_]+)`")
_UNKNOWN = re.compile(r"unknown field `([a-z_]{1,40})`")
_EXPECTED = re.compile(r"Expected `([a-z]+)(?: \| null)?`, got")


def decode(body: bytes) -> Any:
    """Return the JSON value in `body`.

    Raises:
        StrongroomError: `invalid_json` or a code that says what of it is refused.
    """
    if len(body) >= _PLAIN_FROM_BYTES and (plain := _plain(body)) is not None:
        return plain
    text, value = _text(body), None
    if body.count(b"{") + body.count(b"[") > MAX_JSON_DEPTH:
        _check_depth(text)
    with contextlib.suppress(JSONDecodeError, RecursionError):
        value = _DECODER.decode(text)
    if value is None:  # raised here and not above, so that no error keeps the text as its context
        raise _refused("invalid_json", "The body must be one JSON value.")
    if not text.isascii() or "\\" in text or "\x7f" in text:
        _check_texts(value)
    return value


def convert(value: Any, into: type[T]) -> T:
    """Return `value` as a wire type, card data inside secret types.

    Raises:
        StrongroomError: `missing_parameter`, `unknown_parameter`, `invalid_parameter` or the code
            of a secret type (`incorrect_number`), each with the path of the field in `param`.
    """
    try:
        return msgspec.convert(value, into, dec_hook=_secret)
    except msgspec.ValidationError as error:
        explained = _explained(error)
    raise explained


def check_printable(text: str, *, param: str) -> None:
    """Refuse text with characters that cannot be seen or that change the direction of reading."""
    if fault := _text_fault(text):
        raise StrongroomError(*fault, param=param)


def check_no_card_number(text: str, *, param: str) -> None:
    """Refuse free text that holds what looks like a card number: it would be stored in clear.

    Raises:
        StrongroomError: `card_number_in_text`.
    """
    if free_text_holds_card_number(text):
        raise StrongroomError(
            "card_number_in_text",
            "The text holds what looks like a card number. Card data goes in card fields only.",
            param=param,
        )


_PLAIN_FROM_BYTES = 1_024
"""Small bodies gain nothing from a second parser."""


def _plain(body: bytes) -> Any:
    """Return the value of a large body in which nothing can be ambiguous, else None; 6x faster.

    In ASCII without escapes a name ends with a quote before a colon. If there are not more of
    those than names found, no name was dropped as a duplicate. What is refused or unclear here is
    parsed again by the strict parser, which alone says what is wrong.
    """
    if not body.isascii() or b"\\" in body or b"\x7f" in body or b"-0" in body:
        return None
    try:
        value = _plain_decoder.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    names = _names(value, MAX_JSON_DEPTH)
    return value if names == body.translate(None, b" \t\r\n").count(b'":') else None


def _names(value: Any, depth: int) -> int:
    """Return how many names a value holds; below zero when it needs a closer look."""
    kind = type(value)
    if kind is dict:
        found, inner = len(value), value.values()
    elif kind is list:
        found, inner = 0, value
    else:
        safe = kind is bool or (kind is int and -MAX_SAFE_INT <= value <= MAX_SAFE_INT)
        return 0 if safe or kind is str else _UNCLEAR
    if depth == 0:
        return _UNCLEAR
    for item in inner:
        found += 0 if type(item) is str else _names(item, depth - 1)
    return found


_UNCLEAR = -(2**62)
_plain_decoder = msgspec.json.Decoder()


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        pass
    raise _refused("invalid_encoding", "The body must be UTF-8.")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _refused("duplicate_name", "A name stands twice in one JSON object.")
    return found


def _integer(digits: str) -> int:
    if digits == "-0" or len(digits) > 17 or not -MAX_SAFE_INT <= int(digits) <= MAX_SAFE_INT:
        raise _refused("number_not_safe", "Integers must be within 2^53 - 1 and not '-0'.")
    return int(digits)


def _no_float(_: str) -> NoReturn:
    raise _refused("number_not_integer", "Numbers must be integers without point or exponent.")


_DECODER = JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_no_float, parse_constant=_no_float
)
assert json.decoder.scanner.c_make_scanner is not None  # type: ignore[attr-defined]  # noqa: S101


def _check_depth(text: str) -> None:
    depth = deepest = 0
    for mark in re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        if mark in "{[":
            depth += 1
            deepest = max(deepest, depth)
        elif mark in "}]":
            depth -= 1
    if deepest > MAX_JSON_DEPTH:
        raise _refused("json_too_deep", f"JSON may nest {MAX_JSON_DEPTH} levels deep.")


def _check_texts(value: Any) -> None:
    if type(value) is str:
        if fault := _text_fault(value):
            raise _refused(*fault)
    elif type(value) is dict:
        for name, item in value.items():
            _check_texts(name)
            _check_texts(item)
    elif type(value) is list:
        for item in value:
            _check_texts(item)


def _text_fault(text: str) -> tuple[str, str] | None:
    """Return code and words for a text that two readers could see apart, else None."""
    if text.isascii():
        return _UNPRINTABLE if _CONTROLS.search(text) else None
    if _HIDDEN.search(text):
        return _UNPRINTABLE
    marks = 0
    for char in text:
        kind = unicodedata.category(char)
        if kind in _UNSEEN and char not in _JOINERS:
            return _UNPRINTABLE
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        if marks > _MARKS_MAX:
            return _UNPRINTABLE
    return None if unicodedata.is_normalized("NFC", text) else _NOT_NFC


_UNPRINTABLE = ("text_not_printable", "Text may hold printable characters only.")
_NOT_NFC = ("text_not_normalized", "Text must be in Unicode's normalization form NFC.")


class _Refused(ValueError):
    """Carries an error of ours through msgspec, which adds the path of the field."""

    def __init__(self, error: StrongroomError) -> None:
        super().__init__("refused")
        self.error = error


def _secret(wanted: Any, value: Any) -> Any:
    if type(value) is not str:
        raise TypeError("Expected `str`, got another type")
    try:
        if wanted is Pan:
            return Pan(value)
        if wanted is Cvc:
            return Cvc(value)
    except StrongroomError as error:
        raise _Refused(error) from None
    if wanted is EncryptedCard:  # the vault alone says what is wrong with one
        return EncryptedCard(value)
    if not 1 <= len(value) <= 100:  # a holder name: EMV has 26 characters, 3-D Secure 45
        raise ValueError("Expected `str` of length 1 to 100")
    return Secret(value)


def _explained(error: msgspec.ValidationError) -> StrongroomError:
    """Return what a caller may read of a msgspec error: paths and types, never names or values."""
    text = str(error)
    where = _WHERE.search(text)
    path = where[1].lstrip(".").replace("[...]", "") if where else ""
    if isinstance(error.__cause__, _Refused):
        known = error.__cause__.error
        return StrongroomError(known.code, known.public, param=path or known.param)
    if missing := _MISSING.search(text):
        name = _joined(path, missing[1])
        return StrongroomError("missing_parameter", "A required field is missing.", param=name)
    if "unknown field" in text:
        named = _UNKNOWN.search(text)
        name = _joined(path, named[1]) if named else path
        return StrongroomError("unknown_parameter", "The field is not known here.", param=name)
    kind = _EXPECTED.search(text)
    hint = f"The value must be of type {kind[1]}." if kind else "The value has an invalid form."
    return StrongroomError("invalid_parameter", hint, param=path or None)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _refused(code: str, public: str) -> StrongroomError:
    return StrongroomError(code, public)

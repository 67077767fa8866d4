"""Forms as browsers send them, read strictly: known fields, each once, each bounded, text only."""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

from strongroom.console import errors
from strongroom.kernel.edge_limits import CONSOLE_FORM_MAX_BYTES, CONSOLE_QUERY_MAX_BYTES

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_MEDIA = b"application/x-www-form-urlencoded"
_FIELDS_MAX = 16


class ClientGone(Exception):
    """The browser hung up before its request was complete; nobody waits for an answer."""


async def body(receive: Receive) -> bytes:
    """Return the body of a request, bounded."""
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        parts += message.get("body", b"")
        if len(parts) > CONSOLE_FORM_MAX_BYTES:
            raise errors.form_too_large(CONSOLE_FORM_MAX_BYTES)
        if not message.get("more_body"):
            return bytes(parts)


def check_media(content_type: bytes | None) -> None:
    """Refuse every media type but a form's."""
    media, _, rest = (content_type or b"").lower().partition(b";")
    if media.strip() != _MEDIA or rest.strip() not in (b"", b"charset=utf-8"):
        raise errors.media_type()


def fields(raw: bytes, known: Mapping[str, int]) -> dict[str, str]:
    """Return a form's fields; `known` maps names to the characters that each may have.

    Raises:
        StrongroomError: `invalid_parameter`.
    """
    found: dict[str, str] = {}
    for name, value in _pairs(raw):
        if name not in known:
            raise errors.form_invalid("The form has a field that this page does not know.")
        if name in found:
            raise errors.form_invalid("Every field may be sent once.", name)
        found[name] = _text(name, value, known[name])
    return found


def query(raw: bytes, known: Mapping[str, int], *, lenient: bool) -> dict[str, str]:
    """Return the query of a URL; `lenient` pages leave out what others added."""
    if len(raw) > CONSOLE_QUERY_MAX_BYTES:
        raise errors.form_invalid("The query of the URL is too long.")
    found: dict[str, str] = {}
    for name, value in _pairs(raw):
        if name not in known and lenient:
            continue
        if name not in known or name in found:
            raise errors.form_invalid("The query of the URL is not one of this page.")
        found[name] = _text(name, value, known[name])
    return found


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    if not raw:
        return []
    try:
        return parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_FIELDS_MAX,
        )
    except ValueError:
        raise errors.form_invalid("The form is malformed.") from None


def _text(name: str, value: str, limit: int) -> str:
    if len(value) > limit:
        raise errors.form_invalid(f"The field may have {limit} characters.", name)
    if any(unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") for char in value):
        raise errors.form_invalid("The field has characters that cannot be shown.", name)
    return unicodedata.normalize("NFC", value)

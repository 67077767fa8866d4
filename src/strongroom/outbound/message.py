"""A request as bytes: what could split a message or speak for the connection is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable

from strongroom.kernel.secret import Secret
from strongroom.outbound.errors import EgressRefused

Headers = Iterable[tuple[str, str | Secret[str]]]

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\t -~]{0,4096}")
_OURS = frozenset(
    "host content-length transfer-encoding connection accept-encoding expect upgrade te trailer "
    "keep-alive proxy-authorization proxy-connection cookie".split()
)


def head(method: str, target: str, authority: str, headers: Headers) -> bytes:
    """Return a request's head without Content-Length.

    Raises:
        EgressRefused: the method or a header may not be sent.
    """
    if method not in _METHODS:
        raise EgressRefused("method")
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {authority}",
        "User-Agent: strongroom",
        "Accept-Encoding: identity",
    ]
    for name, value in headers:
        text = value.reveal() if isinstance(value, Secret) else value
        if not _TOKEN.fullmatch(name) or name.lower() in _OURS or not _VALUE.fullmatch(text):
            raise EgressRefused(f"header {name[:40]!r}")
        lines.append(f"{name}: {text}")
    return "\r\n".join(lines).encode("latin-1")


def message(head: bytes, body: bytes) -> bytes:
    """Return a whole request."""
    if not body and head.startswith(b"GET "):
        return head + b"\r\n\r\n"
    return head + f"\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

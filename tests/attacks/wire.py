"""Bytes on a raw socket, and what came back: for requests that no HTTP client would send."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from tests.support.stack import Stack

_STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [A-Za-z -]*\r\n")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)\r\n")
_FIELD = re.compile(rb"[A-Za-z0-9-]+: [\x20-\x7e]*\Z")


class Heard(msgspec.Struct, frozen=True):
    """All that a connection said: the answers in order, and whether it was closed."""

    statuses: list[int]
    raw: bytes
    closed: bool


def say(stack: Stack, *parts: bytes, wait_s: float = 1.0, pause_s: float = 0.0) -> Heard:
    """Send the parts, then read until the server closes or says nothing more for a while."""
    where = urlsplit(stack.url)
    with socket.create_connection((str(where.hostname), int(where.port or 0)), timeout=5) as line:
        try:
            for part in parts:
                line.sendall(part)
                time.sleep(pause_s)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server would not read on: what it said may still be there
        raw, closed = _listen(line, wait_s)
    return Heard(_answers(raw), raw, closed)


def _listen(line: socket.socket, wait_s: float) -> tuple[bytes, bool]:
    raw = b""
    line.settimeout(wait_s)
    while True:
        try:
            chunk = line.recv(65_536)
        except TimeoutError:
            return raw, False
        except ConnectionResetError:
            return raw, True
        if not chunk:
            return raw, True
        raw += chunk


def _answers(raw: bytes) -> list[int]:
    """Return the statuses; every answer must be framed and every header one clean line."""
    statuses = []
    while raw:
        head, _, rest = raw.partition(b"\r\n\r\n")
        found = _STATUS.match(head + b"\r\n")
        assert found, raw[:200]
        for field in head.split(b"\r\n")[1:]:
            assert _FIELD.match(field), field
        status = int(found[1])
        length = _LENGTH.search(head + b"\r\n")
        assert length or status in (100, 204), head
        statuses.append(status)
        raw = rest[int(length[1]) if length else 0 :]
    return [status for status in statuses if status != 100]


def request(
    stack: Stack,
    body: bytes = b"",
    *,
    method: str = "POST",
    path: str = "/v1/payments",
    headers: Iterable[tuple[str, str]] = (),
    length: str | None = "",
    key: str | None = "",
    close: bool = True,
) -> bytes:
    """Return a request's bytes, which ask to close the connection after the answer.

    `length` empty counts the body, None leaves the header out.
    """
    fields = [("Host", "localhost"), *headers]
    names = {name.lower() for name, _ in fields}
    if key is not None and "authorization" not in names:
        fields.append(("Authorization", f"Bearer {key or stack.secret_key}"))
    if close and "connection" not in names:
        fields.append(("Connection", "close"))
    if "content-type" not in names and body:
        fields.append(("Content-Type", "application/json"))
    if length is not None and (body or length):
        fields.append(("Content-Length", length or str(len(body))))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body

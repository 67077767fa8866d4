"""What callers read over HTTP while the root is sealed: 503, and health that says so.

One bounded read, one fixed answer: nothing of a request is used but its path.
"""

from __future__ import annotations

import json
import socket

_HEAD_MAX_BYTES = 4_096
_WAIT_S = 1.0

_HEALTH = {"status": "sealed", "checks": [{"name": "root", "ok": False, "code": "sealed"}]}
_LIVE = {"status": "ok", "checks": []}
_PROBLEM = {
    "type": "urn:strongroom:problem:sealed",
    "title": "Sealed",
    "status": 503,
    "detail": "The root key is sealed: its custodians have not opened it yet.",
    "code": "sealed",
}


def answer_sealed(connection: socket.socket) -> None:
    """Answer one HTTP request and let the connection close."""
    connection.settimeout(_WAIT_S)
    path = _path(connection.recv(_HEAD_MAX_BYTES))
    if path == b"/health/live":
        _send(connection, "200 OK", "application/json", _LIVE)
    elif path == b"/health/ready":
        _send(connection, "503 Service Unavailable", "application/json", _HEALTH)
    else:
        _send(connection, "503 Service Unavailable", "application/problem+json", _PROBLEM)


def _path(head: bytes) -> bytes:
    words = head.split(b"\r\n", 1)[0].split(b" ")
    return words[1] if len(words) == 3 else b""


def _send(connection: socket.socket, status: str, media: str, body: object) -> None:
    text = json.dumps(body).encode()
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {media}",
        f"Content-Length: {len(text)}",
        "Cache-Control: no-store",
        "Retry-After: 10",
        "Connection: close",
    ]
    connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + text)
    connection.shutdown(socket.SHUT_WR)

"""A small client of the public HTTP API, for commands that show how a merchant would use it."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret

TIMEOUT_S = 35
_LONGEST_BYTES = 4_000_000


class Answer(msgspec.Struct, frozen=True):
    """What the API said and how long it took."""

    status: int
    data: dict[str, Any]
    elapsed_ms: float


class Client:
    """Calls one installation with one API key."""

    def __init__(self, url: str, key: Secret[str]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StrongroomError("service_unreachable", "The URL must be http(s)://host[:port].")
        self._parts = parts
        self._key = key

    def get(self, path: str) -> Answer:
        """Read something."""
        return self._call("GET", path, None, {})

    def post(self, path: str, body: dict[str, Any], *, idempotency_key: str) -> Answer:
        """Change something; the same key again gives the same answer."""
        return self._call("POST", path, body, {"Idempotency-Key": f'"{idempotency_key}"'})

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None, headers: dict[str, str]
    ) -> Answer:
        sent = {"Authorization": f"Bearer {self._key.reveal()}", **headers}
        if body is not None:
            sent["Content-Type"] = "application/json"
        began = time.monotonic()
        connection = self._connection()
        try:
            connection.request(
                method,
                self._parts.path.rstrip("/") + path,
                body=None if body is None else json.dumps(body).encode(),
                headers=sent,
            )
            answer = connection.getresponse()
            raw = answer.read(_LONGEST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise StrongroomError(
                "service_unreachable",
                f"{self._parts.scheme}://{self._parts.netloc} does not answer "
                f"({type(error).__name__}). Is it running? Start it with: strongroom up",
            ) from None
        finally:
            connection.close()
        elapsed_ms = (time.monotonic() - began) * 1000
        return Answer(answer.status, _decoded(raw), elapsed_ms)

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)


def expect(answer: Answer, *statuses: int) -> dict[str, Any]:
    """Return the answer's data, or raise the problem it tells."""
    if answer.status in statuses:
        return answer.data
    raise StrongroomError(
        str(answer.data.get("code", "unexpected_answer")),
        str(answer.data.get("detail", f"The service answered {answer.status}.")),
        retryable=answer.status == 503,
    )


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw) if raw else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}

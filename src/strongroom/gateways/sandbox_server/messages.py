"""A request as it came over the wire, an answer as it goes, and the call between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from strongroom.gateways.sandbox_server.answers import encode
from strongroom.gateways.sandbox_server.errors import Refused
from strongroom.gateways.sandbox_server.faults import Fault

Headers = tuple[tuple[str, str], ...]

JSON_TYPE = "application/json"


class Incoming(NamedTuple):
    """One request, whole."""

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    from_loopback: bool


class Answer(NamedTuple):
    """One answer; `pieces` instead of `body` for a long one."""

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: Headers = ()
    pieces: Iterator[bytes] | None = None
    replayed: bool = False


class Call(NamedTuple):
    """A request that was understood: `run` processes it, `fault` disturbs it."""

    run: Callable[[], Answer]
    fault: Fault | None = None
    fault_once: bool = False
    """The fault belongs to the card: it does not strike a replayed answer."""
    key: bytes | None = None


def refusal(refused: Refused) -> Answer:
    """Return the answer to a refused request."""
    error = {"code": refused.code, "message": refused.message, "param": refused.param}
    headers: Headers = ()
    if refused.status == 401:
        headers = (("www-authenticate", "Bearer"),)
    elif refused.status == 409:
        headers = (("retry-after", "1"),)
    return Answer(refused.status, encode({"error": error}), headers=headers)

"""Log lines of the edge: one JSON object each, with the request id, never with values.

An exception is told by its type and place alone: its text may quote what a caller sent.
"""

from __future__ import annotations

import logging
import traceback
from types import TracebackType

import msgspec

from strongroom.kernel.clock import SystemClock, rfc3339_ms
from strongroom.kernel.errors import StrongroomError

_logger = logging.getLogger("strongroom.api")
_encode = msgspec.json.Encoder().encode
_FRAMES = 6


def failure(error: BaseException, *, request: str, route: str, status: int) -> None:
    """Log an answer of 500 or above."""
    line: dict[str, object] = {
        "at": rfc3339_ms(SystemClock().now()),
        "level": "error" if status == 500 else "warning",
        "event": "request_failed",
        "request": request,
        "route": route,
        "status": status,
    }
    if isinstance(error, StrongroomError):
        line |= {"code": error.code, "detail": error.detail}
    else:
        line |= {"error": type(error).__qualname__, "where": _places(error.__traceback__)}
    _logger.log(logging.ERROR if status == 500 else logging.WARNING, "%s", _encode(line).decode())


def _places(trace: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace)[-_FRAMES:]
    return [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]


def _short(filename: str) -> str:
    _, ours, rest = filename.rpartition("strongroom/")
    return ours + rest if ours else filename.rpartition("/")[2]

"""A server process that kills itself (kill -9) at a named point of a payment, once.

The point stands in a file of the data directory; tests write it, the process removes it and dies.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from strongroom.app.serving import main
from strongroom.payments import attempt, records
from strongroom.storage import Change, Committer, Verdict

FILE = "crash-at"
POINTS = (
    "before_reservation",
    "after_reservation",
    "before_answer",
    "after_answer",
    "before_outcome",
    "after_outcome",
)

_data_dir = Path(*(a.split("=", 1)[1] for a in sys.argv if a.startswith("--data-dir=")))
_submit = Committer.submit
_send = attempt.send


def _maybe_die(point: str) -> None:
    file = _data_dir / FILE
    try:
        wanted = file.read_text()
    except FileNotFoundError:
        return
    if wanted == point:
        file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _half(change: Change) -> str:
    shapes = [shape for shape, _ in change.rows]
    if records.OPERATION in shapes:
        return "reservation"
    return "outcome" if records.OPERATION_STATE in shapes else ""


async def submit(self: Committer, change: Change) -> Verdict:
    half = _half(change)
    _maybe_die(f"before_{half}")
    verdict = await _submit(self, change)
    _maybe_die(f"after_{half}")
    return verdict


async def send(*args: Any, **kwargs: Any) -> Any:
    if (_data_dir / FILE).exists() and (_data_dir / FILE).read_text() == "before_answer":
        asyncio.get_running_loop().call_later(0.05, _maybe_die, "before_answer")
    outcome = await _send(*args, **kwargs)
    _maybe_die("after_answer")
    return outcome


if __name__ == "__main__":
    Committer.submit = submit  # type: ignore[method-assign]
    attempt.send = send  # type: ignore[assignment]
    sys.exit(main(sys.argv[1:]))

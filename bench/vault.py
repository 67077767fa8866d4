"""`make bench ARGS=vault`: cards in and out beside OpenBao's transit engine, and a rotation.

Both sides run here, one after the other in turns, with everything on that they need in earnest:
ours authenticates, decides by policy, writes to PostgreSQL and the journal, durably; OpenBao
authenticates, decides by policy and writes its audit log. What counts is cards for each CPU second
of the server: ours is the server process and PostgreSQL together.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import client, processes, workload
from bench.cards import fill
from bench.openbao import OpenBao
from strongroom.app import House, Supervisor, load
from strongroom.app.databases import target
from strongroom.identity import KeyKind, KeySpec
from strongroom.kernel.ids import id_from, new_uuid7, uuid_of

BATCH = 100
CONNECTIONS = {1: 16, BATCH: 4}
ROUNDS = 4
_FILL = 20_000
_ACTOR = "system:bench"
_PURPOSE = "gateway_migration"
_GRANT = (
    "INSERT INTO vault.reveal_grant (merchant_id, id, caller, purpose, granted, remaining, "
    "valid_until, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $5, $6, $7, 'bench')"
)


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
        self._reveal_key = ""
        self._tokens: list[str] = []
        self._metrics_key = ""

    def __enter__(self) -> Ours:
        ready = self._supervisor.start()
        parts = urlsplit(ready.url)
        if parts.hostname is None or parts.port is None or ready.api_key is None:
            raise SystemExit("the program did not say where it is")
        self.host, self.port, self.key = parts.hostname, parts.port, ready.api_key
        kept = json.loads((self.data_dir / "test-credentials.json").read_bytes())
        self._metrics_key = kept["operator_read_key"]
        self._tree = processes.tree(self.data_dir)
        return self

    def __exit__(self, *_: object) -> None:
        self._supervisor.stop()

    def cpu_seconds(self) -> float:
        """Return user and system seconds of server and database so far."""
        used = processes.cpu_seconds(self._tree)
        return used["server"] + used["postgres"]

    async def prepare(self) -> None:
        """Store the cards that are shown later, and let a service of the merchant's see them."""
        (connection,) = await client.connect(self.host, self.port, 1)
        _, body = await connection.call(next(self.tokenize(BATCH)))
        connection.close()
        self._tokens = [token["id"] for token in json.loads(body)["data"]]
        async with House(load(self.data_dir, {})) as house:
            self._reveal_key = await _revealer(house)

    def cache_hit_ratio(self) -> float:
        """Return the share of key look-ups that found the key in memory."""
        asked = urllib.request.Request(
            f"http://{self.host}:{self.port}/metrics",
            headers={"Authorization": f"Bearer {self._metrics_key}"},
        )
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310
            found = re.search(rb"^\S*dek_cache_hit_ratio (\S+)$", answer.read(), re.MULTILINE)
        if found is None:
            raise SystemExit("the metrics show no dek_cache_hit_ratio")
        return float(found[1])

    def tokenize(self, batch: int) -> Iterator[bytes]:
        """Yield requests that put `batch` cards into the vault."""
        if batch == 1:
            return workload.tokens(self._post("/v1/tokens", self.key))
        return workload.token_batches(self._post("/v1/tokens/batch", self.key), batch)

    def reveal(self, batch: int) -> Iterator[bytes]:
        """Yield requests that show `batch` card numbers."""
        if batch == 1:
            make = self._post(f"/v1/tokens/{self._tokens[0]}/reveal", self._reveal_key)
            asked: dict[str, Any] = {"purpose": _PURPOSE}
        else:
            make = self._post("/v1/tokens/reveal", self._reveal_key)
            asked = {"purpose": _PURPOSE, "tokens": self._tokens[:batch]}
        request = make(json.dumps(asked).encode(), None)
        while True:
            yield request

    def _post(self, path: str, key: str) -> Any:
        return client.post(self.host, self.port, path, key)


async def _revealer(house: House) -> str:
    """Make a key that may reveal, with a bulk grant that lasts for the whole run."""
    merchant = (await house.identity.list_merchants(limit=1))[0].id
    spec = KeySpec(
        merchant=merchant,
        kind=KeyKind.RESTRICTED,
        role="service-reveal",
        owner="bench",
        scopes=frozenset({"token:reveal", "token:reveal_batch"}),
    )
    made, secret = await house.identity.create_key(spec, actor=_ACTOR)
    now = datetime.now(UTC)
    owner, until = uuid_of(merchant, "mer"), now + timedelta(days=1)
    await house.vault_database.execute(
        _GRANT, owner, new_uuid7(), made.id, _PURPOSE, 10_000_000, until, now
    )
    return secret.reveal()


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


async def beside_openbao(console: Console, root: Path, seconds: float) -> dict[str, Any]:
    """Return the ratios, and print what each side did."""
    table = Table("stage", "Strongroom", "OpenBao", "ratio", title="cards for each CPU second")
    report: dict[str, Any] = {}
    with Ours(root / "data") as ours, OpenBao(root / "openbao") as theirs:
        await ours.prepare()
        for name, mine, other in (
            (
                "reveal",
                ours.reveal,
                theirs.decrypt,
            ),  # first: later, vacuum works on what is written
            ("tokenize", ours.tokenize, theirs.encrypt),
        ):
            for kind, batch in (("single", 1), ("batch", BATCH)):
                console.print(f"… {name} {kind}", style="dim")
                we, they = await compare(
                    (ours, mine(batch)), (theirs, other(batch)), batch, seconds
                )
                ratio = we.rate / they.rate
                table.add_row(
                    f"{name} {kind}", f"{we.rate:,.0f}", f"{they.rate:,.0f}", f"{ratio:.2f}"
                )
                report[f"{name}_{kind}_ratio"] = round(ratio, 3)
        report["dek_cache_hit_ratio"] = round(ours.cache_hit_ratio(), 5)
    console.print(table)
    console.print(f"DEK cache hit ratio {report['dek_cache_hit_ratio']:.3%}")
    return report


async def rotate(console: Console, root: Path, cards: int, seconds: float) -> dict[str, Any]:
    """Rotate a merchant's data key over many cards, alone at full rate and beside payments."""
    report: dict[str, Any] = {}
    with Ours(root / "data") as ours:
        async with House(load(ours.data_dir, {})) as house:
            merchant = (await house.identity.create_merchant("Rotated", actor=_ACTOR)).id
            with Progress(console=console) as progress:
                task = progress.add_task("storing cards", total=cards)
                await _fill(ours, house, merchant, cards, lambda n: progress.advance(task, n))
                task = progress.add_task("rotating at full rate", total=cards)
                job = await house.rotation.start("dek", merchant=merchant, rate=0)
                done = await _watch(house, job.id, lambda n: progress.update(task, completed=n))
            report["rotate_cards_per_s"] = round(cards / done, 1)
            report["rotate_server_mb"] = _server_mb(ours)
            report |= await _beside_payments(ours, house, merchant, seconds)
    table = Table(title=f"rotation of {cards:,} cards", show_header=False)
    for name, value in report.items():
        table.add_row(name, str(value))
    console.print(table)
    return report


async def _fill(
    ours: Ours, house: House, merchant: str, cards: int, tick: Callable[[int], None]
) -> None:
    arguments = target(house.settings, "strongroom_vault").arguments({})
    connection = await asyncpg.connect(**arguments)
    for start in range(0, cards, _FILL):
        size = min(_FILL, cards - start)
        await fill(connection, house.keyring, merchant, size)
        tick(size)
    await connection.close()


async def _watch(house: House, job_id: UUID, tick: Callable[[int], None]) -> float:
    """Wait until a job is done; return how many seconds its cards took, first to last."""
    started = took = 0.0
    while True:
        job = await house.rotation.job(id_from("rot", job_id))
        tick(job.done)
        started = started or (time.perf_counter() if job.total else 0.0)
        if not took and job.total and job.done >= job.total:
            took = time.perf_counter() - started
        if job.state == "done":
            return took
        await asyncio.sleep(0.05)


async def _beside_payments(
    ours: Ours, house: House, merchant: str, seconds: float
) -> dict[str, float]:
    """Return payments each second without and with a rotation at its usual rate, in turns."""
    requests = workload.payments(client.post(ours.host, ours.port, "/v1/payments", ours.key))
    connections = await client.connect(ours.host, ours.port, 64)
    await client.closed_loop(connections, requests, 2.0)
    job = id_from("rot", (await house.rotation.start("dek", merchant=merchant)).id)
    paid, moved = [0, 0], 0
    for number in range(2 * ROUNDS):
        rotating = number % 2 == 1
        await (house.rotation.resume if rotating else house.rotation.pause)(job, actor=_ACTOR)
        await asyncio.sleep(2.5)
        before = (await house.rotation.job(job)).done
        result = await client.closed_loop(connections, requests, seconds / ROUNDS)
        moved += (await house.rotation.job(job)).done - before
        if set(result.statuses) != {201}:
            raise SystemExit(f"payments failed: {result.statuses}")
        paid[rotating] += len(result.latencies_ms)
    await house.rotation.cancel(job, actor=_ACTOR)
    return {
        "payments_per_s_alone": round(paid[0] / seconds, 1),
        "payments_per_s_while_rotating": round(paid[1] / seconds, 1),
        "payments_ratio_while_rotating": round(paid[1] / paid[0], 3),
        "cards_per_s_beside_payments": round(moved / seconds, 1),
    }


def _server_mb(ours: Ours) -> float:
    return round(processes.memory_mb(processes.tree(ours.data_dir))["server"], 1)


def run(console: Console, root: Path, *, seconds: float, cards: int) -> dict[str, Any]:
    """Measure everything and return the report; the numbers that are targets come last."""
    ratios = asyncio.run(beside_openbao(console, root, seconds))
    rotation = asyncio.run(rotate(console, root / "rotation", cards, seconds))
    last = rotation.pop("rotate_cards_per_s")
    hit_ratio = ratios.pop("dek_cache_hit_ratio")
    return {**rotation, "dek_cache_hit_ratio": hit_ratio, **ratios, "rotate_cards_per_s": last}

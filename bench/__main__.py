"""`make bench`: payments each second, latency under a steady load, and where the time goes.

Everything runs on this machine and everything is durable: server, gateway, PostgreSQL and the
load generator share the cores. `--json` ends with one JSON object on the last line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench import ceiling, client, edge, processes, profiled, vault, workload
from strongroom.app import House, Supervisor, load

CONNECTIONS = 64
BATCH = 100
OPEN_RATE = 300


class Bench:
    """One run against one fresh installation."""

    def __init__(self, console: Console, root: Path, *, seconds: float, workers: int) -> None:
        self.console = console
        self.data_dir = root / "data"
        self.seconds = seconds
        self.profile = root / "profile.json"
        os.environ[profiled.OUTPUT] = str(self.profile)
        self.supervisor = Supervisor(self.data_dir, workers=workers, server_module="bench.profiled")
        self.report: dict[str, Any] = {}

    def start(self) -> None:
        """Start the program under test."""
        with self.console.status("starting"):
            ready = self.supervisor.start()
        parts = urlsplit(ready.url)
        assert parts.hostname is not None
        assert parts.port is not None
        assert ready.api_key is not None
        self.host, self.port, self.key = parts.hostname, parts.port, ready.api_key

    def make(self, path: str) -> Any:
        """Return the request maker for a path."""
        return client.post(self.host, self.port, path, self.key)

    async def closed(self, requests: Any, *, connections: int = CONNECTIONS) -> client.Result:
        """Run a closed loop and check that every answer is 201."""
        opened = await client.connect(self.host, self.port, connections)
        result = await client.closed_loop(opened, requests, self.seconds)
        for connection in opened:
            connection.close()
        if set(result.statuses) != {201}:
            raise SystemExit(f"unexpected answers: {result.statuses}")
        return result

    async def throughput(self) -> None:
        """Payments each second, and CPU for each payment by process."""
        requests = workload.payments(self.make("/v1/payments"))
        opened = await client.connect(self.host, self.port, CONNECTIONS)
        await client.closed_loop(opened, requests, 3.0)
        running = processes.tree(self.data_dir)
        before = processes.cpu_seconds(running)
        result = await self.closed(requests)
        after = processes.cpu_seconds(running)
        count = len(result.latencies_ms)
        self.report["payments_per_s"] = round(result.per_s, 1)
        cpu = {kind: (after[kind] - before.get(kind, 0)) / count * 1e6 for kind in after}
        self.report["cpu_us_by_process"] = {k: round(v, 1) for k, v in cpu.items() if v > 1}
        ours = sum(v for k, v in cpu.items() if k in ("server", "postgres"))
        self.report["cpu_us_per_payment"] = round(ours, 1)
        memory = processes.memory_mb(running)
        self.report["memory_mb"] = {k: round(v, 1) for k, v in memory.items()}
        programs = sum(v for k, v in memory.items() if k in ("server", "gateway", "postgres"))
        self.report["rss_mb"] = round(programs + _supervisor_mb(), 1)

    async def latency(self) -> None:
        """Latency at a steady 300 payments each second."""
        requests = workload.payments(self.make("/v1/payments"))
        opened = await client.connect(self.host, self.port, CONNECTIONS)
        await client.open_loop(opened, requests, OPEN_RATE, 3.0)
        result = await client.open_loop(opened, requests, OPEN_RATE, max(self.seconds, 10))
        self.report["p50_ms_at_300"] = round(result.percentile(0.50), 2)
        self.report["p99_ms_at_300"] = round(result.percentile(0.99), 2)
        self.report["p999_ms_at_300"] = round(result.percentile(0.999), 2)

    async def tokenize(self) -> None:
        """Tokens each second, one by one and in batches."""
        single = await self.closed(workload.tokens(self.make("/v1/tokens")))
        self.report["tokenize_per_s"] = round(single.per_s, 1)
        requests = workload.token_batches(self.make("/v1/tokens/batch"), BATCH)
        batch = await self.closed(requests, connections=8)
        self.report["tokenize_batch100_items_per_s"] = round(batch.per_s * BATCH, 1)

    async def ceiling(self) -> None:
        """The same rows from memory."""
        self.report["ceiling_per_s"] = round(
            await ceiling.payments_per_s(self.data_dir, self.seconds), 1
        )
        self.report["ratio_to_ceiling"] = round(
            self.report["payments_per_s"] / self.report["ceiling_per_s"], 3
        )

    async def grow(self, count: int) -> None:
        """Throughput with an empty store and after `count` stored payments."""
        requests = workload.payments(self.make("/v1/payments"))
        await self.closed(requests)
        empty = (await self.closed(requests)).per_s
        async with House(load(self.data_dir, {})) as house:
            merchant = (await house.identity.list_merchants(limit=1))[0].id
            with Progress(console=self.console) as progress:
                task = progress.add_task("storing payments", total=count)
                await ceiling.fill(house, merchant, count, lambda n: progress.advance(task, n))
        with self.console.status("letting the journal and the database settle"):
            await asyncio.sleep(20)
        full = (await self.closed(requests)).per_s
        self.report["payments_per_s_empty"] = round(empty, 1)
        self.report["payments_per_s_full"] = round(full, 1)
        self.report["grow_ratio"] = round(full / empty, 3)

    def stop(self) -> None:
        """Stop the program and read its profile."""
        self.supervisor.stop()
        if self.profile.exists():
            samples = json.loads(self.profile.read_text())
            total = sum(count for _, count in samples)
            self.report["profile"] = {
                name: round(count / total, 3) for name, count in samples if count / total > 0.01
            }


def _supervisor_mb() -> float:
    """Return this process's RSS in MB: supervisor, load generator and tables, an upper bound."""
    import psutil

    return psutil.Process().memory_info().rss / 1e6


def show(console: Console, report: dict[str, Any]) -> None:
    """Print the report as tables."""
    table = Table(title="strongroom bench", show_header=False)
    for name, value in report.items():
        if not isinstance(value, dict):
            table.add_row(name, str(value))
    console.print(table)
    for name in ("cpu_us_by_process", "memory_mb", "profile"):
        if name in report:
            part = Table(title=name, show_header=False)
            longest = max(report[name].values(), default=1)
            for key, value in report[name].items():
                part.add_row(key, str(value), "█" * int(30 * value / longest))
            console.print(part)


async def measure(bench: Bench, options: argparse.Namespace) -> None:
    """Run the stages that were asked for."""
    if options.grow:
        await bench.grow(options.grow_count)
        return
    for name in ("throughput", "latency", "tokenize", "ceiling"):
        bench.console.print(f"… {name}", style="dim")
        await getattr(bench, name)()


def main() -> int:
    """Parse arguments, run, report."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…")
    parser.add_argument(
        "suite",
        nargs="?",
        choices=("payments", "vault", "edge"),
        default="payments",
        help="what to measure",
    )
    parser.add_argument("--cards", type=int, default=1_000_000, help="vault: cards to rotate")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--grow", action="store_true", help="measure before and after growth")
    parser.add_argument("--grow-count", type=int, default=1_000_000, help="payments to store")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each stage")
    parser.add_argument("--workers", type=int, default=1, help="server processes")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as root:
        if options.suite == "vault":
            report = vault.run(console, Path(root), seconds=options.seconds, cards=options.cards)
            if options.json:
                sys.stdout.write(json.dumps(report) + "\n")
            return 0
        if options.suite == "edge":
            report = edge.run(console, Path(root))
            if options.json:
                sys.stdout.write(json.dumps(report) + "\n")
            return 0
        bench = Bench(console, Path(root), seconds=options.seconds, workers=options.workers)
        try:
            bench.start()
            asyncio.run(measure(bench, options))
        finally:
            bench.stop()
    show(console, bench.report)
    if options.json:
        sys.stdout.write(json.dumps(bench.report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""CPU seconds and memory of the running tree, by kind of process."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil

KINDS = {
    "strongroom.app.serving": "server",
    "bench.profiled": "server",
    "strongroom.app.sandboxing": "gateway",
    "postgres": "postgres",
}


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tree(data_dir: Path) -> dict[int, str]:
    """Return pid and kind of each process of an installation."""
    found = {}
    root = psutil.Process()
    for process in root.children(recursive=True):
        try:
            command = " ".join(process.cmdline())
        except psutil.Error:
            continue
        kind = next((k for marker, k in KINDS.items() if marker in command), "other")
        found[process.pid] = kind
    found[root.pid] = "load"
    return found


def cpu_seconds(processes: dict[int, str]) -> dict[str, float]:
    """Return user and system seconds used so far, by kind."""
    used: dict[str, float] = {}
    for pid, kind in processes.items():
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.Error:
            continue
        used[kind] = used.get(kind, 0.0) + times.user + times.system
    return used


def memory_mb(processes: dict[int, str]) -> dict[str, float]:
    """Return memory by kind in MB: RSS, for PostgreSQL PSS because its processes share buffers."""
    used: dict[str, float] = {}
    for pid, kind in processes.items():
        try:
            process = psutil.Process(pid)
            size = (
                process.memory_full_info().pss if kind == "postgres" else process.memory_info().rss
            )
        except psutil.Error:
            continue
        used[kind] = used.get(kind, 0.0) + size / 1e6
    return used

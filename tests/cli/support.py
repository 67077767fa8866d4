"""Runs `strongroom` as people do: a process of its own, with what it printed and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

PROGRAM = (sys.executable, "-m", "strongroom")


class Run(msgspec.Struct):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


def strongroom(*words: object, data_dir: Path | None = None, timeout: float = 60) -> Run:
    """Run a command to its end."""
    command = [*PROGRAM, *map(str, words)]
    if data_dir is not None:
        command.append(f"--data-dir={data_dir}")
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=timeout, env=environment()
    )
    return Run(done.returncode, done.stdout, done.stderr)


def environment(**more: str) -> dict[str, str]:
    """The environment of a command: nothing of an installation of the person who tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("STRONGROOM_")}
    return {**kept, **more}


def refused(run: Run, code: int) -> str:
    """Check that a command ended with `code`, one line on stderr and no traceback."""
    assert run.code == code, (run.code, run.out, run.err)
    assert "Traceback" not in run.err
    lines = run.err.strip().splitlines()
    assert len(lines) == 1, run.err
    assert lines[0].startswith("strongroom: ")
    return lines[0]


def processes(data_dir: Path) -> dict[int, str]:
    """Pid and command line of every process that names the data directory."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, UnicodeDecodeError):
            continue
        if str(data_dir) in command and int(entry.name) != os.getpid():
            found[int(entry.name)] = command
    return found

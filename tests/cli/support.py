"""Runs `strongroom` as people do: a process of its own, with what it printed and its exit code."""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import subprocess
import sys
import tempfile
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
    command = [str(word) for word in words]
    if data_dir is not None:
        command.append(f"--data-dir={data_dir}")
    try:
        return _nursery().run(command, timeout)
    except BaseException:  # its answer may still come: the next command must not get it
        _nursery().close()
        _nursery.cache_clear()
        raise


_NURSERY = """
import json, os, sys
from strongroom.cli import main
import asyncpg, cedarpy, rich.console, rich.progress, rich.table, rich.text
import strongroom.app.compose, strongroom.app.serving, strongroom.app.supervisor
import strongroom.cli.health_machine, strongroom.cli.health_store, strongroom.cli.receipt
import strongroom.cli.sandbox, strongroom.storage.embedded

print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, path in ((1, asked["out"]), (2, asked["err"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        code = main(asked["words"])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Nursery:
    """Forks a process for each command from one that has the imports behind it.

    A command alone needs a second for them; what it does afterwards is the same.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="strongroom-cli-")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        atexit.register(self.close)
        assert self._answer(60) == "ready"

    def run(self, words: list[str], timeout: float) -> Run:
        """Run one command in a process of its own."""
        out, err = Path(self._folder.name, "out"), Path(self._folder.name, "err")
        assert self._process.stdin is not None
        asked = {"words": words, "out": str(out), "err": str(err)}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        code = int(self._answer(timeout))
        return Run(code, out.read_text(), err.read_text())

    def close(self) -> None:
        """End the process that forks."""
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def _answer(self, timeout: float) -> str:
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], timeout)
        assert readable, "the command did not end"
        return self._process.stdout.readline().strip()


@functools.cache
def _nursery() -> Nursery:
    return Nursery()


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

"""The runbooks for ceremony and unsealing work, command by command, as they are printed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.cli.support import processes
from tests.cli.test_running import wait_for
from tests.support.runbook import blocks, programs, walk

pytestmark = pytest.mark.slow(120)

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank")


@pytest.mark.timeout(700)
def test_the_runbooks_work(tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / f"{name}.pass").write_text(f"{name} winds the tower clock\n")
        (tmp_path / f"{name}.pass").chmod(0o600)
    path = programs(tmp_path / "bin")
    try:
        done = walk_page("docs/operations/key-ceremony.md", path, tmp_path)
        assert "any 3 of 5 custodians open it" in done
        assert "0 more are needed" in (tmp_path / "up.log").read_text()
        assert "(approved)" in done and "erin" in done
        assert "frank's share 5 is good" in done
        assert "The old shares are void" in (tmp_path / "reshare.log").read_text()
        stop(tmp_path)
        done = walk_page("docs/operations/unseal.md", path, tmp_path)
        assert "Taken; that was the last one." in done
        assert "PROBLEM" not in done
    finally:
        stop(tmp_path)


def walk_page(page: str, path: Path, folder: Path) -> str:
    found = blocks(page)
    assert found, page
    (folder / "up.ready").unlink(missing_ok=True)
    done = walk("\n".join(found), path, cwd=folder, timeout_s=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def stop(folder: Path) -> None:
    """Stop the service that the page left running, and wait for the last of its processes."""
    ready = folder / "up.ready"
    if ready.exists():
        os.kill(json.loads(ready.read_text())["pid"], signal.SIGTERM)
    wait_for(lambda: not processes(folder / "data"), "processes are left")

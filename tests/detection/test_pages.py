"""The commands of the pages on leak hunting and the key inventory, as they are printed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.app.scanning import run_apart
from strongroom.app.settings import load
from strongroom.kernel.secret import Secret
from strongroom.keys.ceremony import ROOT_FD, holding
from strongroom.storage.embedded import EmbeddedPostgres
from tests.cli.support import strongroom
from tests.detection.cards import number
from tests.support.runbook import blocks, programs, walk

pytestmark = [pytest.mark.slow(75), pytest.mark.timeout(300)]
PAN = number(("visa", 16), 5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A test installation with its database up."""
    data_dir = tmp_path_factory.mktemp("pages") / "data"
    assert strongroom("init", "--mode", "test", "--json", data_dir=data_dir).code == 0
    with EmbeddedPostgres(data_dir):
        yield data_dir


def test_the_page_on_leak_hunting(made: Path, tmp_path: Path) -> None:
    place = tmp_path / "logs"
    place.mkdir()
    files, own, take_on, close = blocks("docs/operations/leak-hunting.md")
    path = programs(tmp_path / "bin")

    def run(script: str) -> subprocess.CompletedProcess[str]:
        return walk(script, path, timeout_s=120, DATA=str(made), PLACE=str(place))

    clean = run(files + own)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    (place / "app.log").write_text(f"card {PAN}\n")
    dirty = run(files)
    assert dirty.returncode == 1 and "1 findings opened" in dirty.stdout
    done = run(
        take_on + close + 'test "$(strongroom findings list --json --data-dir "$DATA")" = "[]"'
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert PAN not in dirty.stdout + done.stdout


def test_the_page_on_the_key_inventory(made: Path, tmp_path: Path) -> None:
    script = "\n".join(blocks("docs/operations/key-inventory.md"))
    done = walk(
        script, programs(tmp_path / "bin"), timeout_s=120, DATA=str(made), OUT=str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "cbom.json").read_text())["specVersion"] == "1.6"
    assert "AES-256-GCM" in (tmp_path / "inventory.txt").read_text()


def test_the_daily_scan_opens_findings_once_a_day(made: Path) -> None:
    (made / "leak.txt").write_text(f"card {PAN}\n")
    try:
        first = _daily(made)
        assert first.returncode == 0, first.stderr
        assert "scan of logs opened 1 findings" in first.stderr and PAN not in first.stderr
        assert _daily(made).stderr == "", "it ran today already"
    finally:
        (made / "leak.txt").unlink()
    (finding,) = strongroom("findings", "list", "--json", data_dir=made).json
    assert (finding["state"], finding["last4"]) == ("open", PAN[-4:])


def _daily(data_dir: Path) -> subprocess.CompletedProcess[str]:
    read_end, write_end = os.pipe()
    try:
        return subprocess.run(
            [sys.executable, "-m", "strongroom.app.scanning", f"--data-dir={data_dir}",
             f"--lifeline={read_end}"],
            pass_fds=(read_end,), capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
    finally:
        os.close(read_end)
        os.close(write_end)


async def test_the_daily_scan_is_given_the_root_keys_that_its_parent_holds(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = Secret(os.urandom(32))
    root = "root_00000000000000000000000000"
    monkeypatch.setattr(holding, "_held", {root: key})
    given: dict[str, bytes] = {}

    class Child:
        async def wait(self) -> int:
            return 0

    async def started(*_: str, env: dict[str, str], pass_fds: list[int], **__: object) -> Child:
        assert int(env[ROOT_FD]) in pass_fds
        given["pipe"] = os.read(int(env[ROOT_FD]), 1_000)
        return Child()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", started)
    await run_apart(load(made, {}))
    assert given["pipe"] == root.encode() + key.reveal()

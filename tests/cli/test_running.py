"""Commands that keep running: what they tell when ready, and that nothing is left of them."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import PROGRAM, environment, processes, refused, strongroom
from tests.support.stack import http

pytestmark = pytest.mark.slow(70)

STOP_S = 20
"""Bound of an orderly stop with nothing under way; usually a second."""


@contextmanager
def running(*words: object) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [*PROGRAM, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def wait_for(there: Callable[[], Any], what: str, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not there():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_up_writes_the_ready_file_and_stops_in_order(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "ready.json"
    with running("up", f"--data-dir={data_dir}", f"--ready-file={file}", "--json") as up:
        wait_for(file.exists, "no ready file")
        ready = json.loads(file.read_text())
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert {"url", "api_key", "publishable_key", "sandbox_url", "pid"} <= set(ready)
        assert ready["pid"] == up.pid
        assert http("GET", ready["url"] + "/health/ready").status == 200

        second = strongroom("up", data_dir=data_dir)
        assert "(database_in_use)" in refused(second, 3)
        taken = strongroom(
            "up", f"--port={ready['url'].rsplit(':', 1)[1]}", data_dir=tmp_path / "other"
        )
        assert "--port" in refused(taken, 3)

        begun = time.monotonic()
        up.send_signal(signal.SIGTERM)
        out, err = up.communicate(timeout=STOP_S)
        assert up.returncode == 0, err
        assert time.monotonic() - begun < STOP_S
    told = json.loads(out)
    assert told["url"] == ready["url"]
    assert ready["api_key"] not in out + err
    assert not file.exists()
    assert not processes(data_dir)


def test_arguments_hold_no_secret_and_kill_9_leaves_no_process(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "ready.json"
    with running("up", f"--data-dir={data_dir}", f"--ready-file={file}") as up:
        wait_for(file.exists, "no ready file")
        secrets = [*json.loads((data_dir / "test-credentials.json").read_text()).values()]
        secrets += json.loads((data_dir / "pg-secrets").read_text()).values()
        secrets += [p.read_text().strip() for p in data_dir.glob("*.secret")]
        arguments = processes(data_dir).values()
        assert len(arguments) >= 3
        assert not [s for s in secrets if not s.startswith("mer_") and s in " ".join(arguments)]
        up.kill()
        up.wait()
        wait_for(lambda: not processes(data_dir), "processes are left", within_s=20)


def test_sigterm_before_it_is_ready_ends_everything(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with running("up", f"--data-dir={data_dir}") as up:
        wait_for((data_dir / "strongroom.toml").exists, "it did not begin")
        up.send_signal(signal.SIGTERM)
        _, err = up.communicate(timeout=STOP_S)
        assert up.returncode == 0
        assert not err
    wait_for(lambda: not processes(data_dir), "processes are left", within_s=20)


def test_serve_runs_an_installation_by_itself(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    refused(strongroom("serve", data_dir=data_dir), 1)
    assert strongroom("init", "--mode=test", data_dir=data_dir).code == 0
    with running("serve", f"--data-dir={data_dir}", "--port=0", "--json") as serve:
        assert serve.stdout is not None
        url = json.loads(serve.stdout.readline())["url"]
        wait_for(lambda: _ready(url), "it is not ready")
        serve.send_signal(signal.SIGINT)
        _, err = serve.communicate(timeout=STOP_S)
        assert serve.returncode == 0, err
    assert not processes(data_dir)


def _ready(url: str) -> bool:
    try:
        return http("GET", url + "/health/ready").status == 200
    except urllib.error.URLError:
        return False


def test_sandbox_takes_its_key_from_a_file(tmp_path: Path) -> None:
    key, ready = tmp_path / "key", tmp_path / "ready"
    key.write_text("sbx_sk_for_this_test\n")
    key.chmod(0o600)
    words = ("sandbox", f"--secret-file={key}", f"--ready-file={ready}", "--json")
    with running(*words) as sandbox:
        assert sandbox.stdout is not None
        url = json.loads(sandbox.stdout.readline())["url"]
        assert json.loads(ready.read_text())["url"] == url
        assert "sbx_sk_" not in ready.read_text()
        assert stat.S_IMODE(ready.stat().st_mode) == 0o600
        path = url + "/control/ledger"
        assert http("GET", path, key="sbx_sk_for_this_test").status == 200
        assert http("GET", path, key="sbx_sk_another").status == 401
        sandbox.send_signal(signal.SIGTERM)
        out, err = sandbox.communicate(timeout=STOP_S)
        assert sandbox.returncode == 0, err
    assert "sbx_sk_" not in out + err
    assert not ready.exists()
    refused(strongroom("sandbox", f"--secret-file={key}", "--webhook-url=http://127.0.0.1:1"), 2)


def test_run_once_shows_receipt_postings_and_proof_and_works_again(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    first = strongroom("run", "--once", data_dir=data_dir)
    assert first.code == 0, first.err
    for told in ("test API key", "captured", "10.99 EUR", "424242 •••• 4242", "0.00 EUR"):
        assert told in first.out, told
    assert "vault:card:tokenize" in first.out
    assert "3 of 3 inclusion proofs" in first.out
    assert "4242424242424242" not in first.out
    key = json.loads((data_dir / "test-credentials.json").read_text())["api_key"]
    assert first.out.count(key) == 1
    assert not processes(data_dir)

    again = strongroom("run", "--once", "--json", data_dir=data_dir)
    assert again.code == 0, again.err
    receipt = again.json
    assert receipt["proven"] is True and receipt["postings_sum"] == 0
    assert receipt["payment"]["status"] == "captured"
    assert not [entry for entry in receipt["journal"] if entry["fault"]]
    assert receipt["checkpoint_size"] > max(entry["index"] for entry in receipt["journal"])
    assert not processes(data_dir)

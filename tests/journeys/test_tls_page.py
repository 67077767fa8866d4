"""The page on TLS, as it is printed: curl and openssl against `strongroom up`."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.support import environment
from tests.support.runbook import blocks, programs, walk
from tests.vault.test_remote_calls import unused_port

PAGE = "docs/operations/tls.md"
MAKE, LOOK = blocks(PAGE)
PORT = unused_port()
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The page's first commands were run and the service is up."""
    tmp = tmp_path_factory.mktemp("tls")
    path = programs(tmp / "bin")
    done = walk(MAKE, path, cwd=tmp)
    assert done.returncode == 0, done.stdout + done.stderr
    with (tmp / "stderr.log").open("ab") as log:
        ready = tmp / "ready.json"
        up = subprocess.Popen(
            [path / "strongroom", "up", "--data-dir", "pay", "--port", str(PORT),
             "--ready-file", ready],
            cwd=tmp, env=environment(), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert up.poll() is None and time.monotonic() < deadline, (
                tmp / "stderr.log"
            ).read_text()
            time.sleep(0.1)
        yield tmp
    finally:
        up.terminate()
        up.wait(timeout=60)


def test_the_page_works_as_printed(walked: Path) -> None:
    seen = walk(LOOK.replace("8443", str(PORT)), walked / "bin", cwd=walked)
    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert "Protocol version: TLSv1.3" in seen.stdout + seen.stderr
    assert f'"url":"https://127.0.0.1:{PORT}"' in (walked / "ready.json").read_text()


def test_answers_carry_hsts_and_old_tls_is_refused(walked: Path) -> None:
    call = ["curl", "-sS", "-i", "--cacert", walked / "trial-ca.pem"]
    url = f"https://localhost:{PORT}/v1/payments/pay_00000000000000000000000000"
    answer = subprocess.run([*call, url], capture_output=True, text=True, check=True).stdout
    assert answer.startswith("HTTP/1.1 401 ")
    assert "strict-transport-security: max-age=63072000; includeSubDomains" in answer
    old = subprocess.run([*call, "--tls-max", "1.2", url], capture_output=True, check=False)
    assert old.returncode == 35

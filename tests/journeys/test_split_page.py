"""The page on the vault apart, as it is printed: two directories, three processes, one payment."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.support import environment
from tests.support.runbook import ROOT, blocks, programs, walk
from tests.support.stack import Answer, http
from tests.vault.test_remote_calls import unused_port

PAGE = "docs/operations/split-vault.md"
MAKE, LISTEN, HAND_OUT, RENEW = blocks(PAGE)
START = re.compile(r"^ *(strongroom serve --role .*)$", re.MULTILINE)
pytestmark = [pytest.mark.slow(25), pytest.mark.timeout(300)]


class Hosts:
    """The page's hosts as directories, its processes as they are started there."""

    def __init__(self, tmp: Path) -> None:
        self._tmp = tmp
        self._bin = programs(tmp / "bin")
        self._ports = {usual: str(unused_port()) for usual in ("7443", "7444", "8080")}
        self.url = f"http://127.0.0.1:{self._ports['8080']}"
        self.running: list[subprocess.Popen[bytes]] = []

    def moved(self, script: str) -> str:
        for usual, free in self._ports.items():
            script = script.replace(usual, free)
        return script

    def walk(self, script: str) -> str:
        done = walk(self.moved(script), self._bin, cwd=self._tmp, timeout_s=90)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, command: str) -> None:
        program, *words = self.moved(command).split()
        words = [str(self._bin / program), *words]
        env = environment()
        with (self._tmp / "stderr.log").open("ab") as log:
            started = subprocess.Popen(words, cwd=self._tmp, env=env, stdout=log, stderr=log)
        self.running.append(started)

    def told(self, text: str, within_s: float = 40) -> None:
        """Wait until a process has said something."""
        deadline = time.monotonic() + within_s
        while text not in (self._tmp / "stderr.log").read_text():
            assert time.monotonic() < deadline, (self._tmp / "stderr.log").read_text()
            time.sleep(0.1)

    def ready(self, within_s: float = 40) -> Answer:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with suppress(OSError):
                answer = http("GET", f"{self.url}/health/ready")
                if answer.status == 200:
                    return answer
            time.sleep(0.1)
        raise AssertionError((self._tmp / "stderr.log").read_text())

    def stop(self) -> None:
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.running):
            process.wait(timeout=40)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    made = Hosts(tmp_path)
    yield made
    made.stop()


def test_the_page_works_as_printed(hosts: Hosts, tmp_path: Path) -> None:
    hosts.walk(MAKE)
    hosts.walk(LISTEN)
    hosts.walk(HAND_OUT)
    token = (tmp_path / "api-host" / "join.token").read_text()
    commands = START.findall((ROOT / PAGE).read_text())
    assert [c.split()[3] for c in commands] == ["vault", "api", "worker"]
    hosts.start(commands[0])
    hosts.told("The vault answers on")
    for command in commands[1:]:
        hosts.start(command)
    checks = {check["name"]: check["ok"] for check in hosts.ready().json["checks"]}
    assert checks["vault"]
    assert not (tmp_path / "api-host" / "join.token").exists(), "it was used"
    assert token.startswith("srj1.")
    listed = hosts.walk("strongroom certificates list --data-dir vault-host --json")
    for role in ("vault", "api", "worker"):
        assert f"/svc/{role}" in listed
    for name in ("root.json", "root.key", "pg-secrets"):
        assert (tmp_path / "vault-host" / name).exists()
        assert not list((tmp_path / "api-host").rglob(name))
    key = hosts.walk(
        "strongroom merchants create 'Shop' --data-dir vault-host --json > merchant.json\n"
        "strongroom api-keys create --owner test --data-dir vault-host --out shop.key "
        '--merchant $(python3 -c \'import json; print(json.load(open("merchant.json"))["id"])\') '
        "> made.txt\ncat shop.key"
    ).strip()
    assert a_token(hosts, key).status == 201
    before = (tmp_path / "api-host" / "tls" / "api.pem").read_text()
    hosts.walk(RENEW)
    deadline = time.monotonic() + 30
    while (tmp_path / "api-host" / "tls" / "api.pem").read_text() == before:
        assert time.monotonic() < deadline, "the token in its directory was not used"
        time.sleep(0.1)
    assert a_token(hosts, key).status == 201
    entries = hosts.walk("strongroom keys list --data-dir api-host --json")
    assert "kek" in {entry["kind"] for entry in json.loads(entries)}, "asked from the vault"
    refused = walk(
        "strongroom certificates list --data-dir api-host", programs(tmp_path / "bin"), cwd=tmp_path
    )
    assert refused.returncode == 1 and "keys_elsewhere" in refused.stderr


def a_token(hosts: Hosts, key: str) -> Answer:
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2031}
    return http("POST", f"{hosts.url}/v1/tokens", {"card": card}, key=key)

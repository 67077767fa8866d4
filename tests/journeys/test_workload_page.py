"""The page on workload identity, as it is printed, and what an attacker tries at the same doors.

`strongroom up --split` serves TLS; curl and openssl are the services.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from strongroom.app import House, load
from strongroom.kernel.secret import Secret
from strongroom.keys.certificates.authority import CertificateSigner
from tests.cli.support import environment
from tests.support.runbook import blocks, programs, walk
from tests.vault.test_remote_calls import unused_port

PAGE = "docs/operations/workload-identity.md"
MAKE, REGISTER, TOKEN, JOIN, CALL, RENEW, LOOK, REVOKE, ROTATE = blocks(PAGE)
PORTS = {"8443": str(unused_port()), "7444": str(unused_port())}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def moved(script: str) -> str:
    for usual, free in PORTS.items():
        script = script.replace(usual, free)
    return script


class Machine:
    """The page's directory and programs."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.bin = programs(tmp / "bin")

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return walk(moved(script), self.bin, cwd=self.tmp, timeout_s=90)

    def walk(self, script: str) -> str:
        done = self.run(script)
        assert done.returncode == 0, done.stdout + done.stderr + self.log()
        return done.stdout

    def log(self) -> str:
        return (self.tmp / "stderr.log").read_text() if (self.tmp / "stderr.log").exists() else ""

    def status(self, *, cert: str | None = "orders/service.pem", more: str = "") -> str:
        """Return the HTTP status of a call, or how TLS refused it."""
        own = f"--cert {cert}" if cert else ""
        done = self.run(
            f"curl -sS -o answer.json -w '%{{http_code}}' {own} {more} "
            "--cacert pay/edge/server.pem -H 'Content-Type: application/json' "
            '-d \'{"card": {"number": "4242424242424242", "exp_month": 12, "exp_year": 2031}}\' '
            "https://localhost:8443/v1/tokens"
        )
        return done.stdout if done.returncode == 0 else f"tls: {done.stderr}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The page was walked until the first call, and the service is up."""
    made = Machine(tmp_path_factory.mktemp("workload"))
    made.walk(MAKE)
    with (made.tmp / "stderr.log").open("ab") as log:
        up = subprocess.Popen(
            [made.bin / "strongroom", "up", "--split", "--data-dir", "pay", "--port",
             PORTS["8443"], "--ready-file", made.tmp / "ready.json"],
            cwd=made.tmp, env=environment(), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 90
        while not (made.tmp / "ready.json").exists():
            assert up.poll() is None and time.monotonic() < deadline, made.log()
            time.sleep(0.1)
        for script in (REGISTER, TOKEN, JOIN):
            made.walk(script)
        yield made
    finally:
        up.terminate()
        up.wait(timeout=60)


def test_the_page_works_as_printed(host: Machine) -> None:
    assert not (host.tmp / "orders.token").exists(), "a used token lies nowhere"
    made = json.loads(host.walk(CALL))
    assert made["id"].startswith("tok_")
    host.walk(RENEW)
    assert host.status() == "201"
    listed = host.walk(LOOK)
    assert "orders" in listed


def test_a_call_beyond_its_role_and_without_a_certificate_is_refused(host: Machine) -> None:
    done = host.run(
        "curl -sS -o answer.json -w '%{http_code}' --cert orders/service.pem "
        "--cacert pay/edge/server.pem https://localhost:8443/v1/ledger/balances"
    )
    assert done.stdout in ("403", "404"), done
    assert host.status(cert=None) == "401"
    key = json.loads((host.tmp / "ready.json").read_text())["api_key"]
    host.tmp.joinpath("curlrc").write_text(f'header = "Authorization: Bearer {key}"\n')
    assert host.status(more="-K curlrc") == "201", "with a key the key says who calls"


@pytest.mark.parametrize("kind", ["other-domain", "other-authority", "expired", "not-yet"])
async def test_a_certificate_that_is_none_of_ours_is_refused(host: Machine, kind: str) -> None:
    """Most of them by TLS itself; our own authority's word for another domain names nobody."""
    await forged(host.tmp, kind)
    told = host.status(cert=f"{kind}.pem")
    assert told == "401" if kind == "other-domain" else told.startswith("tls:"), told
    again = host.run(
        "printf 'GET /health/live HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | "
        "openssl s_client -tls1_3 "
        f"-connect localhost:8443 -cert {kind}.pem -key {kind}.pem -CAfile pay/edge/server.pem "
        "-quiet -ign_eof"
    )
    assert ("200 OK" in again.stdout) == (kind == "other-domain"), again


async def forged(into: Path, kind: str) -> None:
    """Write a certificate for orders that was never given."""
    async with House(load(into / "pay", {})) as house:
        certificates = house.keyring.certificates()
        signer, authority = await certificates.signer(), await certificates.authority()
    now = datetime.now(UTC)
    if kind == "other-domain":
        signer._domain = signer.domain.replace("test.", "live.")
    if kind == "other-authority":
        signer = CertificateSigner(Secret(bytes(range(32))), domain=signer.domain)
        authority = signer.authority(now)
    began = {"expired": now - timedelta(days=2), "not-yet": now + timedelta(days=2)}.get(kind, now)
    made, key = signer.sign("orders", authority=authority, now=began, life=timedelta(hours=1))
    pem = made.public_bytes(Encoding.PEM).decode()
    (into / f"{kind}.pem").write_text(key.reveal() + pem)


def test_the_authority_changes_and_no_call_fails(host: Machine) -> None:
    """Every process of ours goes over to the new authority while calls run."""
    before = (host.tmp / "pay/roles/api/tls/api.pem").read_text()
    host.walk(ROTATE.replace("--overlap-s 60", "--overlap-s 3"))
    statuses = []
    deadline = time.monotonic() + 60
    while (host.tmp / "pay/roles/api/tls/api.pem").read_text() == before:
        assert time.monotonic() < deadline, host.log()
        statuses.append(host.status())
    statuses += [host.status() for _ in range(5)]
    assert set(statuses) == {"201"}, statuses
    assert (host.tmp / "pay/roles/api/tls/ca.pem").read_text().count("BEGIN CERT") == 2
    host.walk(RENEW)
    assert host.status() == "201"


def test_a_revoked_certificate_is_refused_within_a_second(host: Machine) -> None:
    assert host.status() == "201"
    host.walk(REVOKE)
    revoked_at = time.monotonic()
    while host.status() != "401":
        assert time.monotonic() - revoked_at < 1.0
    assert host.run(RENEW.replace("orders", "orders --json")).returncode in (0, 1)
    host.walk(TOKEN + JOIN)
    assert host.status() == "201", "a new token brings the service back"

"""The vault apart: killed, frozen and gone under load; and what its callers' side holds."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from cryptography.x509 import load_pem_x509_certificate

from strongroom.storage.embedded import EmbeddedPostgres
from tests.support import truth
from tests.support.crashes import again, await_ready, load_until
from tests.support.pay import body, new_key, pay
from tests.support.stack import Stack

pytestmark = pytest.mark.slow(50)

APART = ("strongroom_vault", "strongroom_journal", "strongroom_owner", "postgres")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A split stack whose parts die where a test says."""
    running = Stack(tmp_path_factory.mktemp("apart"), patience_s=1.0, split=True).start()
    try:
        yield running
    finally:
        running.stop()


def process_of(stack: Stack, role: str) -> int:
    (found,) = stack.processes(f"--role={role}")
    return found


def test_kill_9_of_the_vault_under_load(split: Stack) -> None:
    """Nothing is charged twice and nothing is lost; the supervisor brings the vault back."""
    before = process_of(split, "vault")
    sent = load_until(split, lambda: os.kill(before, signal.SIGKILL), linger_s=2.0)
    await_ready(split)
    assert process_of(split, "vault") != before
    for key, given in sent:
        final = again(split, "/v1/payments", given, key)
        assert final.status in (201, 402), final.body
    truth.check(split)


def test_kill_9_of_the_worker_and_of_the_api_under_load(split: Stack) -> None:
    for role in ("worker", "api"):
        sent = load_until(
            split, lambda role=role: os.kill(process_of(split, role), signal.SIGKILL), linger_s=1.0
        )
        await_ready(split)
        for key, given in sent:
            assert again(split, "/v1/payments", given, key).status in (201, 402)
    truth.check(split)


def test_a_frozen_vault_is_503_and_payments_go_on_when_it_thaws(split: Stack) -> None:
    """A process that hangs is told from one that answers; nothing half done is left."""
    vault = process_of(split, "vault")
    os.kill(vault, signal.SIGSTOP)
    try:
        key, given = new_key(), body(amount=777)
        frozen = split.call("POST", "/v1/payments", given, idempotency_key=key)
        assert frozen.status == 503, frozen.body
        assert frozen.json["code"] == "vault_unavailable" and frozen.headers["retry-after"]
        assert not_ready(split) == {"vault"}
    finally:
        os.kill(vault, signal.SIGCONT)
    await_ready(split)
    assert again(split, "/v1/payments", given, key).status == 201
    truth.check(split)


def test_payments_recover_when_the_vault_is_back(split: Stack) -> None:
    assert pay(split).status == 201
    os.kill(process_of(split, "vault"), signal.SIGKILL)
    deadline = time.monotonic() + 20
    while (answer := pay(split)).status == 503 and time.monotonic() < deadline:
        assert answer.json["code"] in ("vault_unavailable", "gateway_unavailable")
    assert answer.status == 201, answer.body
    truth.check(split)


def test_what_the_api_holds_opens_neither_vault_nor_keys(split: Stack) -> None:
    """With every text in its directory as password, no role but its own lets it in."""
    home = split.data_dir / "roles" / "api"
    texts = {file.name: file.read_text() for file in home.rglob("*") if file.is_file()}
    assert {"strongroom.toml", "database.url", "api.pem", "ca.pem"} <= set(texts)
    for file in home.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0 or file.suffix == ".toml", file
    everything = "\n".join(texts.values())
    for secret in vault_secrets(split):
        assert secret not in everything
    words = {w for text in texts.values() for w in re.split(r"[\s\"'/@:?=]+", text) if w}
    asyncio.run(_tries(split, words))


async def _tries(split: Stack, words: set[str]) -> None:
    own = (split.data_dir / "roles" / "api" / "database.url").read_text().strip()
    connection = await asyncpg.connect(own)
    try:
        assert await connection.fetchval("SELECT current_user") == "strongroom_pay"
        for statement in (
            "SELECT * FROM vault.card",
            "SELECT * FROM keys.kek",
            "SELECT * FROM keys.service_key",
            "SELECT * FROM keys.certificate",
            "SET ROLE strongroom_vault",
            "SET ROLE strongroom_owner",
            "INSERT INTO journal.checkpoint DEFAULT VALUES",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()
    host = EmbeddedPostgres(split.data_dir).socket_dir
    long = [word for word in words if 20 <= len(word) <= 100]
    assert long
    for role in APART:
        for word in long:
            with pytest.raises((asyncpg.PostgresError, OSError)):
                await asyncpg.connect(
                    host=str(host), user=role, password=word, database="strongroom", timeout=5
                )


def test_only_the_vaults_memory_has_the_vaults_secrets(split: Stack) -> None:
    """What opens cards is in no process but the vault's, after payments were taken."""
    for _ in range(3):
        assert pay(split).status == 201
    secrets = [secret.encode() for secret in vault_secrets(split)]
    secrets.append((split.data_dir / "root.key").read_bytes().strip())
    found = {
        role: _memory_has(process_of(split, role), secrets) for role in ("vault", "api", "worker")
    }
    if found["vault"] is None:  # the processes are hardened, and this user may not look at all
        assert found["api"] is None and found["worker"] is None
        return
    assert found["vault"], "the test would not find what it looks for"
    assert not found["api"] and not found["worker"]


def test_a_process_is_pointed_to_its_own_directory_and_no_login_is_in_its_environment(
    split: Stack,
) -> None:
    pay(split)
    for role in ("api", "worker"):
        environment = Path(f"/proc/{process_of(split, role)}/environ")
        with suppress(PermissionError):
            assert b"DATABASE_URL" not in environment.read_bytes()
        assert (
            str(split.data_dir / "roles" / role)
            in split.processes(f"--role={role}")[process_of(split, role)]
        )


def test_a_process_that_lost_its_certificate_joins_anew(split: Stack) -> None:
    kept = split.data_dir / "roles" / "api" / "tls" / "api.pem"
    first = load_pem_x509_certificate(kept.read_bytes())
    assert first.not_valid_after_utc - first.not_valid_before_utc <= timedelta(hours=1, minutes=5)
    split.stop()
    kept.unlink()
    split.start()
    assert load_pem_x509_certificate(kept.read_bytes()).public_key() != first.public_key()
    assert pay(split).status == 201


def vault_secrets(stack: Stack) -> list[str]:
    kept = json.loads((stack.data_dir / "pg-secrets").read_text())
    return [kept[role] for role in APART if role in kept]


def not_ready(stack: Stack) -> set[str]:
    """Return the checks that fail now, waiting for the first."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answer = stack.call("GET", "/health/ready", key=None)
        failing = {check["name"] for check in answer.json["checks"] if not check["ok"]}
        if answer.status == 503 and failing:
            return failing
        time.sleep(0.2)
    raise AssertionError("it stays ready")


def _memory_has(pid: int, secrets: list[bytes]) -> bool | None:
    """Return whether one of the secrets is in a process's memory; None when nobody may look."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text().splitlines()
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except PermissionError:
        return None
    try:
        return any(_region_has(memory, line, secrets) for line in maps)
    finally:
        os.close(memory)


def _region_has(memory: int, line: str, secrets: list[bytes]) -> bool:
    span, rights = line.split()[:2]
    start, end = (int(part, 16) for part in span.split("-"))
    if not rights.startswith("rw"):
        return False
    try:
        held = os.pread(memory, end - start, start)
    except (OSError, OverflowError):
        return False
    return any(secret in held for secret in secrets)

"""The embedded PostgreSQL on good days: it starts, keeps to its settings, lets only its own in."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
import stat
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import pytest

from strongroom.kernel.errors import StrongroomError
from strongroom.storage.embedded import EmbeddedPostgres
from strongroom.storage.embedded_cluster import scram_verifier
from strongroom.storage.embedded_programs import find_programs
from strongroom.storage.embedded_watchdog import BoundedLog
from tests.support.postgres import (
    await_no_processes,
    copy_cluster,
    embedded_postgres,
    processes_below,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with embedded_postgres(tmp_path_factory.mktemp("embedded")) as running:
        yield running


async def ask(server, sql, *, role="strongroom_owner", database="strongroom"):
    connection = await asyncpg.connect(**server.connect_kwargs(role, database=database))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def test_first_and_next_start_are_quick_and_leave_nothing(tmp_path, capsys):
    server = EmbeddedPostgres(tmp_path / "data")
    seconds = []
    for _ in range(2):
        begun = time.monotonic()
        server.start()
        seconds.append(time.monotonic() - begun)
        assert server.is_alive
        assert processes_below(tmp_path / "data")
        begun = time.monotonic()
        server.stop()
        seconds.append(time.monotonic() - begun)
        assert not server.is_alive
        assert await_no_processes(tmp_path / "data", within_s=2) == {}
    with capsys.disabled():
        sys.stdout.write(
            "\nembedded: start {:.2f} s, stop {:.2f}, next {:.2f}, {:.2f}\n".format(*seconds)
        )
    assert max(seconds) < 10


async def test_settings_that_keep_data_safe_are_in_force(server):
    wanted = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "listen_addresses": "",
        "password_encryption": "scram-sha-256",
        "log_statement": "none",
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
        "log_parameter_max_length": "0",
        "log_parameter_max_length_on_error": "0",
        "jit": "off",
    }
    found = {}
    for name in wanted:
        found[name] = await ask(server, f"SHOW {name}", role="postgres")
    assert found == wanted


async def test_local_settings_tune_but_do_not_unsafe(tmp_path, stopped_cluster):
    copy_cluster(stopped_cluster, tmp_path / "data")
    server = EmbeddedPostgres(tmp_path / "data")
    settings = tmp_path / "data" / "postgres" / "settings"
    settings.mkdir(exist_ok=True)
    (settings / "local.conf").write_text("work_mem = 5MB\nfsync = off\nlog_statement = all\n")
    with server:
        assert await ask(server, "SHOW work_mem") == "5MB"
        assert await ask(server, "SHOW fsync") == "on"
        assert await ask(server, "SHOW log_statement", role="postgres") == "none"


async def test_owner_owns_the_database_and_no_role_has_power(server):
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'strongroom'"
    assert await ask(server, owner) == "strongroom_owner"
    ours = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'strongroom%'"
    powers = "rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
    assert await ask(server, ours) == 5
    assert await ask(server, f"{ours} AND ({powers})") == 0


@pytest.mark.parametrize("role", ["pay", "vault", "journal", "read"])
async def test_roles_log_in_but_can_make_nothing(server, role):
    role = f"strongroom_{role}"
    assert await ask(server, "SELECT current_user::text", role=role) == role
    for sql in ("CREATE TABLE t ()", "CREATE TABLE public.t ()", "CREATE TEMP TABLE t ()"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(server, sql, role=role)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await ask(server, "SELECT 1", role=role, database="template1")


@pytest.mark.parametrize("password", [None, "", "wrong"])
async def test_a_wrong_password_is_refused(server, password):
    known = {**server.connect_kwargs("strongroom_pay"), "password": password}
    with pytest.raises((asyncpg.InvalidPasswordError, asyncpg.InterfaceError)):
        await asyncpg.connect(**known)


async def test_url_and_target_reach_the_server_from_an_instance_that_did_not_start_it(server):
    other = EmbeddedPostgres(server.log_path.parent)
    connection = await asyncpg.connect(other.url("strongroom_read").reveal())
    assert await connection.fetchval("SELECT current_user::text") == "strongroom_read"
    await connection.close()
    assert not other.is_alive


def test_unknown_role_is_refused(server):
    with pytest.raises(StrongroomError, match="database_start_failed"):
        server.target("nobody")


def test_only_we_can_reach_socket_passwords_log_and_data(server):
    data = server.log_path.parent
    for path in (server.socket_dir, data / "postgres", data / "postgres" / "cluster"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    for path in (data / "pg-secrets", server.log_path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_passwords_show_nowhere(server):
    data = server.log_path.parent
    secrets = [server.target(role).password.reveal() for role in ("postgres", "strongroom_pay")]
    seen = [*processes_below(data).values(), repr(server), server.log_path.read_text()]
    for pid in processes_below(data):
        seen.append(Path(f"/proc/{pid}/environ").read_text())
    assert len(seen) > 10
    assert not [text for text in seen if any(secret in text for secret in secrets)]


async def test_errors_leave_no_value_in_the_log(server):
    pan = "4242 4242 4242 4242"
    with pytest.raises(asyncpg.PostgresError):
        await ask(server, f"SELECT '{pan}'::int")
    with pytest.raises(asyncpg.PostgresError):
        await ask(server, f"SELECT '{pan.replace(' ', '')}x'::int")
    with pytest.raises(asyncpg.PostgresError):
        await ask(server, "SELECT nothing AS hidden_statement")
    deadline = time.monotonic() + 5
    while "does not exist" not in (log := server.log_path.read_text()):
        assert time.monotonic() < deadline, "the error never reached the log"
        time.sleep(0.02)
    assert "[digits]" in log
    assert "4242" not in log
    assert "hidden_statement" not in log


def test_log_is_bounded_and_keeps_one_earlier_file(tmp_path):
    log = BoundedLog(str(tmp_path / "log"), limit_bytes=1000)
    for number in range(100):
        log.write(f"line {number} ".encode() + b"x" * 50 + b"\n")
    log.write(b"torn")
    log.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert all(path.stat().st_size < 1200 for path in tmp_path.iterdir())
    assert (tmp_path / "log").read_text().endswith("torn\n")


def test_second_supervisor_is_refused_by_name(server):
    second = EmbeddedPostgres(server.log_path.parent)
    with pytest.raises(StrongroomError) as refused:
        second.start()
    assert refused.value.code == "database_in_use"
    assert str(os.getpid()) in refused.value.public
    assert "\n" not in str(refused.value)
    assert server.is_alive
    second.stop()
    assert server.is_alive


async def test_a_long_path_gets_a_short_private_socket_directory(
    tmp_path, stopped_cluster, monkeypatch
):
    copy_cluster(stopped_cluster, tmp_path / ("long" * 30))
    runtime = Path(tempfile.mkdtemp(prefix="run-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    try:
        with EmbeddedPostgres(tmp_path / ("long" * 30)) as server:
            assert server.socket_dir.parent == runtime
            assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
            assert await ask(server, "SELECT 1") == 1
    finally:
        shutil.rmtree(runtime)


def test_a_squatted_socket_directory_is_refused(tmp_path, stopped_cluster, monkeypatch):
    copy_cluster(stopped_cluster, tmp_path / ("long" * 30))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    server = EmbeddedPostgres(tmp_path / ("long" * 30))
    (tmp_path / "elsewhere").mkdir()
    server.socket_dir.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StrongroomError, match="database_start_failed"):
        server.start()
    assert not server.is_alive


def test_data_of_another_version_is_refused_clearly(tmp_path, stopped_cluster):
    copy_cluster(stopped_cluster, tmp_path / "data")
    version = tmp_path / "data" / "postgres" / "cluster" / "PG_VERSION"
    version.write_text("14\n")
    with pytest.raises(StrongroomError) as refused:
        EmbeddedPostgres(tmp_path / "data").start()
    assert refused.value.code == "database_version_mismatch"
    assert "PostgreSQL 14" in refused.value.public


def test_lost_passwords_are_said_clearly(tmp_path, stopped_cluster):
    copy_cluster(stopped_cluster, tmp_path / "data")
    (tmp_path / "data" / "pg-secrets").unlink()
    with pytest.raises(StrongroomError, match="pg-secrets is missing"):
        EmbeddedPostgres(tmp_path / "data").start()


def test_a_place_that_was_asked_for_is_not_replaced_silently(tmp_path):
    with pytest.raises(StrongroomError) as refused:
        EmbeddedPostgres(tmp_path, environ={"STRONGROOM_PG_BIN": str(tmp_path)}).start()
    assert refused.value.code == "database_programs_missing"


async def test_programs_named_in_the_environment_are_used(tmp_path, stopped_cluster):
    copy_cluster(stopped_cluster, tmp_path / "data")
    wheel = find_programs({})
    named = tmp_path / "programs"
    named.symlink_to(wheel.directory)
    server = EmbeddedPostgres(tmp_path / "data", environ={"STRONGROOM_PG_BIN": str(named)})
    with server:
        assert (await ask(server, "SHOW server_version")).startswith(wheel.version)


def test_an_interrupted_first_start_is_begun_again(tmp_path):
    half = tmp_path / "data" / "postgres" / "cluster.new" / "base"
    half.mkdir(parents=True)
    with EmbeddedPostgres(tmp_path / "data") as server:
        assert server.is_alive
        assert not half.parent.exists()


async def test_it_starts_again_after_stop(tmp_path, stopped_cluster):
    copy_cluster(stopped_cluster, tmp_path / "data")
    server = EmbeddedPostgres(tmp_path / "data")
    for _ in range(2):
        with server:
            assert await ask(server, "SELECT 1") == 1
    with pytest.raises(StrongroomError):
        server.ensure()


def test_scram_verifier_is_what_rfc_5803_says():
    # RFC 7677 section 3: the example exchange for user "user", password "pencil".
    verifier = scram_verifier("pencil", salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    stored, server = (base64.b64decode(part) for part in verifier.split("$")[2].split(":"))
    exchange = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = hmac.digest(stored, exchange, "sha256")
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == stored
    assert hmac.digest(server, exchange, "sha256") == base64.b64decode(
        "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    )

"""The files of the private PostgreSQL: where they lie, how they begin, who may read them.

A cluster appears whole or not at all: it is made aside, synced and then renamed. Clear passwords
exist in one 0600 file; the server and its command lines see SCRAM verifiers only. Under root this
module writes in directories of root only, never in those the server owns.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.storage.embedded_process import (
    SOCKET_NAME,
    EngineUser,
    lent_paths,
    run_as,
    start_failed,
)
from strongroom.storage.embedded_programs import Programs
from strongroom.storage.embedded_settings import ACCESS, LOGINS, first_statements, settings

# sun_path holds 104 bytes on BSD and macOS, 108 on Linux, the last one zero (unix(7)).
SOCKET_PATH_LIMIT_BYTES = 103
SCRAM_ROUNDS = 4096  # RFC 7677; the passwords are 256 random bits, rounds add nothing to them


class Places(msgspec.Struct, frozen=True):
    """Where everything of one private PostgreSQL lies below its data directory.

    `guard` is 0700 and ours; what the server owns (cluster, socket) lies inside it.
    """

    data_dir: Path

    @property
    def guard(self) -> Path:
        return self.data_dir / "postgres"

    @property
    def cluster(self) -> Path:
        return self.guard / "cluster"

    @property
    def settings(self) -> Path:
        return self.guard / "settings"

    @property
    def supervisor_lock(self) -> Path:
        return self.guard / "supervisor.lock"

    @property
    def engine_lock(self) -> Path:
        return self.guard / "engine.lock"

    @property
    def log(self) -> Path:
        return self.data_dir / "postgres.log"

    @property
    def passwords(self) -> Path:
        return self.data_dir / "pg-secrets"

    @property
    def socket_dir(self) -> Path:
        """The 0700 directory of the socket; the same for every process that asks."""
        near = self.guard / "socket"
        if len(os.fsencode(near / SOCKET_NAME)) <= SOCKET_PATH_LIMIT_BYTES:
            return near
        name = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]
        runtime = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        return Path(runtime) / f"strongroom-{name}"


def lay_out(places: Places) -> None:
    """Make the directories that are ours; the data directory keeps the mode it has."""
    places.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for ours in (places.guard, places.settings):
        ours.mkdir(mode=0o700, exist_ok=True)
    places.guard.chmod(0o700)
    places.settings.chmod(0o755)  # the server reads it through the guard


def make_socket_dir(places: Places, user: EngineUser) -> Path:
    """Make the socket directory 0700 and the server's; refuse one that someone else made."""
    path = places.socket_dir
    path.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        elsewhere = path.parent != places.guard  # beside directories that others made
        if elsewhere and os.fstat(fd).st_uid not in {os.geteuid(), user.uid}:
            raise start_failed(f"{path} belongs to someone else.")
        if user.switch:
            os.fchown(fd, user.uid, user.gid)
        os.fchmod(fd, 0o700)
    finally:
        os.close(fd)
    return path


def write_settings(places: Places, programs: Programs) -> None:
    """Write the server's configuration into a directory that it can read and not change."""
    text = settings(major=programs.major, has_lz4=programs.has_lz4)
    files = {"postgresql.conf": text, "pg_hba.conf": ACCESS, "pg_ident.conf": ""}
    for name, content in files.items():
        _replace_file(places.settings / name, content.encode(), mode=0o644)


def check_version(places: Places, programs: Programs) -> None:
    """Refuse data of another major version before the server does so less clearly."""
    have = int((places.cluster / "PG_VERSION").read_text(encoding="ascii").strip().split(".")[0])
    if have != programs.major:
        raise StrongroomError(
            "database_version_mismatch",
            f"The data directory is PostgreSQL {have}, the programs are {programs.major}: name "
            f"PostgreSQL {have} programs in STRONGROOM_PG_BIN, or dump and restore.",
        )


def create_cluster(places: Places, programs: Programs, user: EngineUser, *, lock: int) -> None:
    """Make a new cluster with its roles, its database and fresh passwords.

    The programs inherit the engine `lock`: should we be killed, the next start waits for them.
    """
    work = places.guard / "cluster.new"
    shutil.rmtree(work, ignore_errors=True)
    passwords = {login: secrets.token_urlsafe(32) for login in LOGINS}
    maker = user.named()
    work.mkdir(mode=0o700)
    if maker.switch:
        os.chown(work, maker.uid, maker.gid)
    _run_initdb(work, programs, maker, lock=lock)
    _run_first_statements(work, programs, maker, passwords, lock=lock)
    if user.switch:
        _give_to(work, user)
    _sync_tree(work)
    _replace_file(places.passwords, msgspec.json.encode(passwords), mode=0o600)
    work.rename(places.cluster)
    _sync(places.guard)


def read_passwords(places: Places) -> dict[str, Secret[str]]:
    """Return each login's password; raises `database_start_failed` when the file is not whole."""
    try:
        found = msgspec.json.decode(places.passwords.read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError):
        found = {}
    if not set(LOGINS) <= set(found):
        raise start_failed(f"{places.passwords} is missing or damaged; bring it from a backup.")
    return {login: Secret(password) for login, password in found.items()}


def scram_verifier(password: str, *, salt: bytes) -> str:
    """Return what PostgreSQL stores for a password (RFC 5803): it proves, it does not reveal."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ROUNDS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    salt_text, stored, server = (
        base64.b64encode(part).decode() for part in (salt, stored_key, server_key)
    )
    return f"SCRAM-SHA-256${SCRAM_ROUNDS}:{salt_text}${stored}:{server}"


def _run_initdb(work: Path, programs: Programs, maker: EngineUser, *, lock: int) -> None:
    # Nobody can log in to what initdb makes (reject); our own settings/pg_hba.conf opens it.
    options = ["-U", "postgres", "-A", "reject", "-E", "UTF8", "--locale=C"]
    options += ["--data-checksums", "--no-sync", "--no-instructions"]
    if programs.major >= 17:
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    with lent_paths(maker, work) as ([path], fds):
        done = run_as(maker, [programs.path("initdb"), "-D", path, *options], fds=[lock, *fds])
    if done.returncode != 0:
        raise start_failed(f"initdb failed.\n{done.stderr[-2000:]}")


def _run_first_statements(
    work: Path, programs: Programs, maker: EngineUser, passwords: dict[str, str], *, lock: int
) -> None:
    """Run them in single-user mode: no socket is open until the roles are as they must be."""
    verifiers = {
        login: scram_verifier(password, salt=secrets.token_bytes(16))
        for login, password in passwords.items()
    }
    text = "".join(f"{statement};\n\n" for statement in first_statements(verifiers))
    with lent_paths(maker, work) as ([path], fds):
        single = ["--single", "-j", "-F", "-D", path, "-c", "exit_on_error=true", "template1"]
        done = run_as(maker, [programs.path("postgres"), *single], fds=[lock, *fds], text_in=text)
    if done.returncode != 0:
        raise start_failed(f"The roles could not be made.\n{done.stderr[-2000:]}")


def _give_to(work: Path, user: EngineUser) -> None:
    for directory, _, files in os.walk(work):
        for path in (directory, *(os.path.join(directory, name) for name in files)):
            os.chown(path, user.uid, user.gid, follow_symlinks=False)


def _sync_tree(work: Path) -> None:
    # Several at once share the file system's commits: a third of the time of one by one.
    with ThreadPoolExecutor(max_workers=8) as workers:
        for directory, _, files in os.walk(work):
            paths = [*(Path(directory, name) for name in files), Path(directory)]
            list(workers.map(_sync, paths))


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _replace_file(path: Path, content: bytes, *, mode: int) -> None:
    work = path.with_name(f".{path.name}.new")
    work.unlink(missing_ok=True)
    fd = os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with open(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(content)
        file.flush()
        os.fsync(fd)
    work.replace(path)
    _sync(path.parent)

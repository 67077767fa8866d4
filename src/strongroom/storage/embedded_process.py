"""The processes of the private PostgreSQL: as whom it runs, who holds its directory, how it starts.

Never runs the server as root, never starts it while a process of an earlier run is alive, and
never hands it a path it could be tricked with: under root it gets open directories, not names.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.storage import embedded_watchdog

# systemd's table of user ids leaves 60578-61183 to nobody (docs: UIDS-GIDS): a uid of our own, with
# no name and no other process, keeps `nobody` and a system PostgreSQL away from the files.
ENGINE_UIDS = range(61000, 61184)
ORPHAN_PATIENCE_S = 3.0
ORPHAN_LIMIT_S = 10.0
READY_LIMIT_S = 120.0  # crash recovery replays at most max_wal_size
STOP_LIMIT_S = embedded_watchdog.FAST_STOP_S + embedded_watchdog.IMMEDIATE_STOP_S + 5.0
POLL_S = 0.01
SOCKET_NAME = ".s.PGSQL.5432"


class EngineUser(msgspec.Struct, frozen=True):
    """As whom the server runs; `switch` says that this process is root and must become it."""

    uid: int
    gid: int
    switch: bool

    def named(self) -> EngineUser:
        """Return a user that has a name, in our group: initdb and single-user mode want a name."""
        if not self.switch or _has_name(self.uid):
            return self
        entries = sorted(pwd.getpwall(), key=lambda entry: entry.pw_name != "nobody")
        for entry in entries:
            if entry.pw_uid != 0:
                return EngineUser(entry.pw_uid, self.gid, switch=True)
        raise start_failed("The user database has no entry but root's.")


def engine_user(cluster: Path) -> EngineUser:
    """Return ourselves, or under root the cluster's owner, or the first free uid of our range."""
    owner = cluster.lstat() if cluster.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise start_failed(f"The database belongs to user id {owner.st_uid}; start as that.")
        return EngineUser(os.geteuid(), os.getegid(), switch=False)
    if owner is not None and owner.st_uid != 0:
        return EngineUser(owner.st_uid, owner.st_gid, switch=True)
    uid = next(uid for uid in ENGINE_UIDS if not _has_name(uid))
    return EngineUser(uid, uid, switch=True)


def start_failed(detail: str) -> StrongroomError:
    """Return the one error for a private PostgreSQL that cannot be used."""
    public = f"The embedded PostgreSQL could not be started. {detail.splitlines()[0]}"
    return StrongroomError("database_start_failed", public, detail=detail, retryable=True)


def take_lock(path: Path) -> int | None:
    """Lock a file for this process and whoever inherits the descriptor; None when it is held."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        os.close(fd)
        if problem.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise
    return fd


def claim_supervisor(path: Path) -> int:
    """Become the only supervisor of a data directory or say who is; the kernel ends the claim."""
    fd = take_lock(path)
    if fd is None:
        holder = path.read_text(encoding="ascii").strip() or "unknown"
        raise StrongroomError(
            "database_in_use",
            f"Another Strongroom (process {holder}) is using this data directory; stop it first.",
        )
    os.ftruncate(fd, 0)
    os.pwrite(fd, str(os.getpid()).encode(), 0)
    return fd


def claim_engine(path: Path, cluster: Path, *, given_up: Callable[[], bool]) -> int:
    """Wait until no process of an earlier server is left; returns the lock the next one inherits.

    Watchdog, postmaster and every backend hold this lock by inheritance, so a free lock means
    that nothing of the earlier run can write any more.
    """
    begun = time.monotonic()
    while (fd := take_lock(path)) is None:
        waited_s = time.monotonic() - begun
        if waited_s > ORPHAN_LIMIT_S or given_up():
            raise start_failed("Processes of an earlier run hold the database and do not end.")
        if waited_s > ORPHAN_PATIENCE_S:
            for pid in _orphans(cluster):
                _kill(pid)
        time.sleep(POLL_S)
    return fd


def clear_leftovers(cluster: Path, socket_dir: Path) -> None:
    """Remove pid file and sockets of a dead server; only while the engine lock is held.

    Their pids may belong to strangers by now (in a container nearly always), and PostgreSQL would
    then refuse to start.
    """
    for leftover in (cluster / "postmaster.pid", *socket_dir.glob(".s.PGSQL.*")):
        leftover.unlink(missing_ok=True)


@contextmanager
def lent_paths(user: EngineUser, *paths: Path) -> Iterator[tuple[list[str], list[int]]]:
    """Yield names under which the server reaches directories, and descriptors it must inherit.

    Under root on Linux the names are `/proc/self/fd/N`: the server works in directories whose
    parents it may not enter (`/root`, a 0700 data directory), and nothing is opened for others.
    """
    if not (user.switch and sys.platform.startswith("linux")):
        yield [str(path) for path in paths], []
        return
    fds = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW) for path in paths]
    try:
        yield [f"/proc/self/fd/{fd}" for fd in fds], fds
    finally:
        for fd in fds:
            os.close(fd)


def run_as(
    user: EngineUser, command: list[str], *, fds: list[int] | None = None, text_in: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a program of PostgreSQL to its end as the engine's user, without our environment."""
    return subprocess.run(  # noqa: S603 - our own command line, no shell
        command,
        input=text_in,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=clean_environment(),
        pass_fds=fds or [],
        umask=0o077,
        timeout=READY_LIMIT_S,
        user=user.uid if user.switch else None,
        group=user.gid if user.switch else None,
        extra_groups=[user.gid] if user.switch else None,
    )


def clean_environment() -> dict[str, str]:
    """Return what the server may see of our environment: nothing but where libraries are."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", **kept}


def spawn(
    user: EngineUser, command: list[str], *, log: Path, fds: list[int]
) -> subprocess.Popen[bytes]:
    """Start the server under a watchdog, in a session of its own so that Ctrl-C is ours to handle.

    The watchdog stops the server when the pipe to its standard input ends: at our `stop`, our
    exit, our crash or our kill -9.
    """
    watchdog = [sys.executable, "-I", "-S", str(Path(embedded_watchdog.__file__).resolve())]
    arguments = [str(os.getpid()), str(user.uid), str(user.gid), str(log), *command]
    with log.open("ab") as errors:
        log.chmod(0o600)
        return subprocess.Popen(  # noqa: S603 - our own command line, no shell
            watchdog + arguments,
            stdin=subprocess.PIPE,
            bufsize=0,
            stdout=errors,
            stderr=errors,
            cwd="/",
            env=clean_environment(),
            pass_fds=fds,
            umask=0o077,
            start_new_session=True,
        )


def await_ready(
    process: subprocess.Popen[bytes], cluster: Path, *, given_up: Callable[[], bool]
) -> bool:
    """Wait until the server takes connections; False when it ended or the wait was given up."""
    deadline = time.monotonic() + READY_LIMIT_S
    while time.monotonic() < deadline and not given_up():
        if process.poll() is not None:
            return False
        if _status(cluster / "postmaster.pid") == "ready":
            return True
        time.sleep(POLL_S)
    return False


def answers(socket_dir: Path) -> bool:
    """Return whether a server listens on the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(socket_dir / SOCKET_NAME))
        except OSError:
            return False
    return True


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop server and watchdog within a bound; both are gone when this returns."""
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.write(b"stop")  # a forked child may hold the pipe: say it, then close
        process.stdin.close()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _status(pid_file: Path) -> str:
    """Return the server's own word on itself: line 8 of its pid file (PostgreSQL's miscadmin.h)."""
    try:
        fd = os.open(pid_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    with open(fd, encoding="utf-8", errors="replace") as file:
        lines = file.read(4096).splitlines()
    return lines[7].strip() if len(lines) > 7 else ""


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _orphans(cluster: Path) -> list[int]:
    """Return server processes that still work in the cluster's directory (Linux only)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            where, program = os.stat(entry / "cwd"), (entry / "exe").readlink()
        except OSError:
            continue
        if program.name.startswith("postgres") and _same(where, cluster):
            found.append(int(entry.name))
    return found


def _same(where: os.stat_result, directory: Path) -> bool:
    try:
        here = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(here.st_mode) and os.path.samestat(where, here)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

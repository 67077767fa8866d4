"""The embedded PostgreSQL: a private server in the data directory, with no port and no setup.

`EmbeddedPostgres` starts it, brings it back when it dies and stops it; whatever ends this process
ends the server. It refuses a second supervisor, data of another version, and to run as root.
Why it is built this way: docs/decisions/0003-embedded-postgresql.md.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.storage import embedded_cluster as cluster
from strongroom.storage import embedded_process as process
from strongroom.storage.database import Target
from strongroom.storage.embedded_programs import (
    PROGRAM_CACHES,
    Programs,
    find_programs,
    reachable_programs,
)
from strongroom.storage.embedded_settings import DATABASE

RESTART_FIRST_S = 0.1
RESTART_LONGEST_S = 10.0
SETTLED_S = 60.0  # a server that lived this long is not in a crash loop
LOG_TAIL_BYTES = 2000

_UNEXPECTED = (OSError, ValueError, subprocess.SubprocessError)  # of the system, told as ours
_log = logging.getLogger("strongroom.storage")


class EmbeddedPostgres:
    """One private PostgreSQL below `data_dir`; synchronous, safe to use from several threads.

    Another process of the same user may make one for the same directory without starting it, to
    learn the `target` of the running server.

    Args:
        data_dir: where everything lies; made with mode 0700 when it does not exist.
        environ: where STRONGROOM_PG_BIN is looked up.
        program_caches: where root may put copies of programs the server's user cannot reach.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        environ: Mapping[str, str] = os.environ,
        program_caches: tuple[Path, ...] = PROGRAM_CACHES,
    ) -> None:
        self._places = cluster.Places(data_dir.resolve())
        self._environ = environ
        self._program_caches = program_caches
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._supervisor_fd: int | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None

    @property
    def is_alive(self) -> bool:
        """Whether the server process runs."""
        watchdog = self._watchdog
        return watchdog is not None and watchdog.poll() is None

    @property
    def socket_dir(self) -> Path:
        """The 0700 directory that holds the socket."""
        return self._places.socket_dir

    @property
    def log_path(self) -> Path:
        """The server's log, bounded in size."""
        return self._places.log

    def start(self) -> None:
        """Start the server, making its cluster first when there is none; returns when it answers.

        Raises:
            StrongroomError: `database_in_use`, `database_programs_missing`,
                `database_version_mismatch` or `database_start_failed`.
        """
        with self._lock:
            if self._supervisor_fd is not None:
                return
            self._closing.clear()
            try:
                cluster.lay_out(self._places)
                self._supervisor_fd = process.claim_supervisor(self._places.supervisor_lock)
                self._launch()
            except _UNEXPECTED as problem:
                self._release()
                raise process.start_failed(f"{type(problem).__name__}: {problem}") from problem
            except BaseException:
                self._release()
                raise
            self._keeper = threading.Thread(target=self._keep, name="postgres-keeper", daemon=True)
            self._keeper.start()

    def ensure(self) -> None:
        """Bring the server back when it has died; returns when it answers.

        A keeper thread does the same by itself, with growing pauses between attempts.
        """
        with self._lock:
            if self._supervisor_fd is None or self._closing.is_set():
                raise process.start_failed("The server was stopped.")
            if self._watchdog is not None and not process.answers(self.socket_dir):
                self._wait_out(self._watchdog)
            if self.is_alive:
                return
            try:
                self._launch()
            except _UNEXPECTED as problem:
                raise process.start_failed(f"{type(problem).__name__}: {problem}") from problem

    def stop(self) -> None:
        """Stop the server within a bound (20 s; usually a tenth of a second)."""
        self._closing.set()
        with self._lock:
            keeper, self._keeper = self._keeper, None
            self._release()
        if keeper is not None and keeper is not threading.current_thread():
            keeper.join(timeout=process.POLL_S * 100)

    def target(self, role: str, *, database: str = DATABASE) -> Target:
        """Return where and as whom `storage.Database` connects."""
        return Target(
            host=str(self.socket_dir),
            user=role,
            password=self._password(role),
            database=database,
        )

    def url(self, role: str, *, database: str = DATABASE) -> Secret[str]:
        """Return a libpq URL for tools such as psql and pg_dump."""
        host, password = quote(str(self.socket_dir), safe=""), self._password(role).reveal()
        return Secret(f"postgresql://{role}:{password}@/{database}?host={host}")

    def connect_kwargs(self, role: str, *, database: str = DATABASE) -> dict[str, Any]:
        """Return the driver's arguments in clear."""
        return self.target(role, database=database).arguments({})

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"EmbeddedPostgres({str(self._places.data_dir)!r})"

    def _password(self, role: str) -> Secret[str]:
        passwords = cluster.read_passwords(self._places)
        if role not in passwords:
            raise process.start_failed(f"There is no login {role[:40]!r}.")
        return passwords[role]

    def _launch(self) -> None:
        places = self._places
        self._end()
        lock = process.claim_engine(
            places.engine_lock, places.cluster, given_up=self._closing.is_set
        )
        try:
            user = process.engine_user(places.cluster)
            programs = find_programs(self._environ)
            programs = reachable_programs(programs, user, caches=self._program_caches)
            self._prepare(programs, user, lock)
            self._spawn(programs, user, lock)
        finally:
            os.close(lock)  # watchdog and server hold it now, or nobody does
        if not self._ready():
            self._end()
            raise process.start_failed(
                f"The server did not come up; see {places.log}.\n{self._log_tail()}"
            )

    def _prepare(self, programs: Programs, user: process.EngineUser, lock: int) -> None:
        places = self._places
        if not places.cluster.exists():
            cluster.create_cluster(places, programs, user, lock=lock)
        cluster.check_version(places, programs)
        cluster.read_passwords(places)
        cluster.write_settings(places, programs)
        cluster.make_socket_dir(places, user)
        process.clear_leftovers(places.cluster, places.socket_dir)

    def _spawn(self, programs: Programs, user: process.EngineUser, lock: int) -> None:
        places = self._places
        lent = process.lent_paths(user, places.cluster, places.settings, places.socket_dir)
        with lent as ([data, settings, sockets], fds):
            files = {"config": "postgresql.conf", "hba": "pg_hba.conf", "ident": "pg_ident.conf"}
            command = [programs.path("postgres"), "-D", data]
            for kind, name in files.items():
                command += ["-c", f"{kind}_file={settings}/{name}"]
            command += ["-c", f"unix_socket_directories={_quoted(sockets)}"]
            self._watchdog = process.spawn(user, command, log=places.log, fds=[lock, *fds])

    def _ready(self) -> bool:
        return self._watchdog is not None and process.await_ready(
            self._watchdog, self._places.cluster, given_up=self._closing.is_set
        )

    def _wait_out(self, watchdog: subprocess.Popen[bytes]) -> None:
        """Let the watchdog notice a dead server; one that only refuses for now stays."""
        try:
            watchdog.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return

    def _keep(self) -> None:
        pause_s = RESTART_FIRST_S
        while not self._closing.is_set():
            watchdog, since = self._watchdog, time.monotonic()
            if watchdog is not None:
                watchdog.wait()
            if time.monotonic() - since > SETTLED_S:
                pause_s = RESTART_FIRST_S
            if self._closing.wait(pause_s):
                return
            if self.is_alive:
                continue  # somebody called `ensure` before us
            _log.error("the embedded PostgreSQL ended by itself; starting it again")
            try:
                self.ensure()
            except StrongroomError as problem:
                _log.error("the embedded PostgreSQL did not start: %s", problem.detail)
            pause_s = min(pause_s * 2, RESTART_LONGEST_S)

    def _end(self) -> None:
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            process.end(watchdog)

    def _release(self) -> None:
        self._end()
        if self._supervisor_fd is not None:
            os.close(self._supervisor_fd)
            self._supervisor_fd = None

    def _log_tail(self) -> str:
        try:
            return self._places.log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return ""


def _quoted(path: str) -> str:
    """Quote a path for a setting that is a list."""
    return '"' + path.replace('"', '""') + '"'

"""`strongroom up`: the whole program on one machine as a tree of processes.

The supervisor starts the embedded PostgreSQL, the sandbox gateway (test mode) and the server
processes (split: the vault, a worker and API processes), brings back what dies, and stops all in
order. Whatever kills the supervisor ends the tree; the next start recovers what was under way.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from strongroom.app.credentials import read as read_credentials
from strongroom.app.initialize import SANDBOX_SECRET, SANDBOX_WEBHOOK_SECRET, install
from strongroom.app.probing import is_ready
from strongroom.app.settings import (
    FILE,
    Gateway,
    Mode,
    Settings,
    load,
    role_dir,
    without_logins,
    write_private,
)
from strongroom.app.unsealing import Unsealing, inherited_keys, unseal
from strongroom.app.workload_settings import joining_socket
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import DRAIN_TIMEOUT_S
from strongroom.keys import harden_process
from strongroom.storage.embedded import EmbeddedPostgres

READY_TIMEOUT_S = 60.0
_POLL_S = 0.02
RESTART_S = (0.1, 0.5, 1.0, 2.0, 5.0)
_SETTLED_S = 2.0
"""A child that lived so long is not in a crash loop: it comes back at once."""
_BACKLOG = 2048
_VAULT_HOST = "127.0.0.1"
_OWN_URLS = tuple(
    f'public_url = "{start}' for start in ('"', "http://127.0.0.1:", "https://127.0.0.1:")
)


class Ready(msgspec.Struct, frozen=True):
    """What the ready file tells: addresses and, in test mode, the demo merchant's keys."""

    url: str
    api_key: str | None
    publishable_key: str | None
    sandbox_url: str | None
    pid: int

    def __repr__(self) -> str:
        return f"Ready({self.url})"


class Supervisor:
    """Runs one installation on this machine.

    Args:
        data_dir: where everything lives; made when it does not exist.
        port: TCP port on `host`; 0 takes a free one.
        workers: server processes that share the port.
        patience_s: how long recovery leaves an operation to its request, in seconds.
        split: whether the vault runs as a process of its own, which alone has the keys.
        restart_s: pauses before a child that keeps dying is started again, in seconds.
        server_module: the module that a server process runs; benchmarks put a profiler around it.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        mode: Mode = "test",
        workers: int = 1,
        patience_s: float | None = None,
        server_module: str = "strongroom.app.serving",
        restart_s: tuple[float, ...] = RESTART_S,
        split: bool = False,
    ) -> None:
        self._data_dir = data_dir.resolve()
        self._host = host
        self._port = port
        self._mode: Mode = mode
        self._workers = workers
        self._patience_s = patience_s
        self._server_module = server_module
        self._restart_s = restart_s
        self._split = split
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._died: dict[str, int] = {}
        self._started_at: dict[str, float] = {}
        self._postgres: EmbeddedPostgres | None = None
        self._unsealing: Unsealing | None = None
        self._stopping = False
        self._read_end, self._write_end = os.pipe()

    def start(self) -> Ready:
        """Start everything and return when it answers.

        Raises:
            StrongroomError: something could not be started; what was started is stopped.
        """
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def wait(self) -> int:
        """Watch the tree until SIGTERM or SIGINT; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: setattr(self, "_stopping", True))
        while not self._stopping:
            time.sleep(0.1)
            self._revive()
        self.stop()
        return 0

    def stop(self) -> None:
        """Drain the servers, then the worker and the vault; then stop the sandbox and database."""
        self._stopping = True
        for name in sorted(self._children, key=_stops):
            _end(self._children[name], DRAIN_TIMEOUT_S + 10)
        self._children.clear()
        if self._postgres is not None:
            self._postgres.stop()
            self._postgres = None
        if self._unsealing is not None:
            self._unsealing.close()
            self._unsealing = None

    def _start(self) -> Ready:
        harden_process()
        self._socket = socket.create_server((self._host, self._port), backlog=_BACKLOG)
        self._socket.set_inheritable(True)
        self._url = f"http://{self._host}:{self._socket.getsockname()[1]}"
        settings = self._settings()
        self._tls = settings.tls is not None
        self._url = self._url.replace("http:", "https:") if self._tls else self._url
        if self._split:
            _check_logins(settings)
        self._unsealing = unseal(settings, self._socket)
        if settings.embedded:
            self._postgres = EmbeddedPostgres(self._data_dir)
            self._postgres.start()
        sandbox_url = self._start_sandbox() if settings.mode == "test" else None
        self._write_settings(settings, sandbox_url)
        if self._split:
            given = None if settings.workload is None else settings.workload.listen
            self._vault_socket = socket.create_server((_VAULT_HOST, 0), backlog=_BACKLOG)
            self._join_socket = joining_socket(given or f"{_VAULT_HOST}:0")
            self._vault_socket.set_inheritable(True)
            self._join_socket.set_inheritable(True)
        self._provision()
        names = [f"server-{number}" for number in range(self._workers)]
        for name in ["vault", "worker", *names] if self._split else names:
            self._spawn_server(name)
        self._await_ready()
        return self._ready(sandbox_url)

    def _settings(self) -> Settings:
        if (self._data_dir / FILE).exists():
            return load(self._data_dir, {**os.environ})
        gateways: tuple[Gateway, ...] = ()
        if self._mode == "test":
            gateways = (_sandbox_account("http://127.0.0.1:1"),)
        return install(self._data_dir, mode=self._mode, public_url=self._url, gateways=gateways)

    def _write_settings(self, settings: Settings, sandbox_url: str | None) -> None:
        """Write this run's addresses: in test mode they are chosen anew at each start."""
        if settings.mode != "test" or sandbox_url is None:
            return
        file = self._data_dir / FILE
        lines = file.read_text("utf-8").splitlines()
        in_sandbox = False
        for number, line in enumerate(lines):
            if line.startswith(_OWN_URLS):
                lines[number] = f'public_url = "{self._url}"'
            if line.startswith("name ="):
                in_sandbox = line.endswith('"sandbox"')
            if line.startswith("base_url") and in_sandbox:
                lines[number] = f'base_url = "{sandbox_url}"'
        if self._patience_s is not None:
            lines = [line for line in lines if not line.startswith("patience_s")]
            lines.insert(1, f"patience_s = {self._patience_s:.3f}")
        write_private(file, "\n".join(lines) + "\n")

    def _start_sandbox(self) -> str:
        ready = self._data_dir / "sandbox.ready"
        port_file = self._data_dir / "sandbox.port"
        port = int(port_file.read_text()) if port_file.exists() else 0
        for wanted in (port, 0) if port else (0,):
            ready.unlink(missing_ok=True)
            self._spawn_sandbox(wanted, ready)
            url = self._await_sandbox(ready)
            if url is not None:
                port_file.write_text(url.rsplit(":", 1)[-1])
                return url
        raise StrongroomError("start_failed", "The sandbox gateway did not start.")

    def _spawn_sandbox(self, port: int, ready: Path) -> None:
        events = f"{self._url}/v1/gateways/sandbox/events"
        self._spawn(
            "sandbox",
            "strongroom.app.sandboxing",
            [f"--port={port}", f"--ready-file={ready}", f"--webhook-url={events}"],
        )

    def _await_sandbox(self, ready: Path) -> str | None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if ready.exists():
                return str(json.loads(ready.read_text())["url"])
            if self._children["sandbox"].poll() is not None:
                return None
            time.sleep(_POLL_S)
        return None

    def _provision(self) -> None:
        options = []
        if self._split:
            port = self._vault_socket.getsockname()[1]
            host, joining = self._join_socket.getsockname()[:2]
            options = [
                f"--split-vault={_VAULT_HOST}:{port}",
                f"--split-authority={host}:{joining}",
            ]
        child = self._spawn("provisioning", "strongroom.app.provisioning", options)
        try:
            code = child.wait(timeout=READY_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = -1
        del self._children["provisioning"]
        if code != 0:
            _end(child, 1)
            raise StrongroomError("start_failed", "The installation could not be prepared.")

    def _spawn_server(self, name: str) -> None:
        """Start a server process; apart from the vault, split ones get their own directory only."""
        if name == "vault":
            numbers = (self._vault_socket.fileno(), self._join_socket.fileno())
            options = ["--role=vault", f"--vault-fd={numbers[0]}", "--may-reveal=api"]
            options.append(f"--join-fd={numbers[1]}")
            self._spawn(name, "strongroom.app.serving", options, descriptors=numbers)
            return
        if name == "worker":
            home = role_dir(self._data_dir, "worker")
            self._spawn(name, "strongroom.app.serving", ["--role=worker"], data_dir=home)
            return
        self._spawn(
            name,
            self._server_module,
            [f"--fd={self._socket.fileno()}", *(["--role=api"] if self._split else [])],
            descriptors=(self._socket.fileno(),),
            data_dir=role_dir(self._data_dir, "api") if self._split else None,
        )

    def _spawn(
        self,
        name: str,
        module: str,
        options: list[str],
        *,
        descriptors: tuple[int, ...] = (),
        data_dir: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            module,
            f"--data-dir={data_dir or self._data_dir}",
            f"--lifeline={self._read_end}",
            *options,
        ]
        with inherited_keys(self._unsealing if self._needs_keys(name) else None) as keys:
            child = subprocess.Popen(  # noqa: S603 (our own interpreter and modules)
                command,
                pass_fds=(self._read_end, *descriptors, *keys.descriptors),
                env=self._environment(name, keys.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._children[name] = child
        self._started_at[name] = time.monotonic()
        return child

    def _needs_keys(self, name: str) -> bool:
        """Return whether a child opens the root: of split ones the vault, else all servers."""
        return name in ("provisioning", "vault") if self._split else name != "sandbox"

    def _environment(self, name: str, environ: Mapping[str, str]) -> Mapping[str, str]:
        """Return a child's environment: apart from the vault it has one login, the sandbox none."""
        if name == "sandbox":
            return without_logins(environ)
        return environ if self._needs_keys(name) else without_logins(environ, but="strongroom_pay")

    def _revive(self) -> None:
        for name, child in list(self._children.items()):
            if child.poll() is None or self._stopping:
                continue
            lived_s = time.monotonic() - self._started_at[name]
            died = self._died[name] = 1 if lived_s >= _SETTLED_S else self._died.get(name, 0) + 1
            time.sleep(self._restart_s[min(died, len(self._restart_s)) - 1])
            if name == "sandbox":
                ready = self._data_dir / "sandbox.ready"
                ready.unlink(missing_ok=True)
                port = int((self._data_dir / "sandbox.port").read_text())
                self._spawn_sandbox(port, ready)
            else:
                self._spawn_server(name)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if any(c.poll() is not None for c in self._children.values()):
                break
            if is_ready(self._host, self._socket.getsockname()[1], tls=self._tls):
                return
            time.sleep(_POLL_S)
        raise StrongroomError(
            "start_failed", "The service did not become ready. Run: strongroom doctor"
        )

    def _ready(self, sandbox_url: str | None) -> Ready:
        keys = read_credentials(self._data_dir)
        return Ready(
            url=self._url,
            api_key=keys.api_key if keys else None,
            publishable_key=keys.publishable_key if keys else None,
            sandbox_url=sandbox_url,
            pid=os.getpid(),
        )


def _check_logins(settings: Settings) -> None:
    if not settings.embedded and "strongroom_pay" not in settings.database_urls:
        raise StrongroomError(
            "settings_invalid",
            "With --split the API must have a database login of its own, not the owner's. "
            "Set STRONGROOM_PAY_DATABASE_URL.",
        )


def _stops(name: str) -> int:
    """Return a child's turn to stop: those that call others first."""
    order = ("server", "worker", "vault")
    return next((n for n, first in enumerate(order) if name.startswith(first)), len(order))


def write_ready(path: Path, ready: Ready) -> None:
    """Write the ready file, mode 0600, as one step."""
    write_private(path, msgspec.json.encode(ready).decode())


def _sandbox_account(url: str) -> Gateway:
    return Gateway(
        name="sandbox",
        connector="sandbox",
        base_url=url,
        secret_file=SANDBOX_SECRET,
        webhook_secret_files=(SANDBOX_WEBHOOK_SECRET,),
    )


def _end(child: subprocess.Popen[bytes], timeout_s: float) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(timeout=5)

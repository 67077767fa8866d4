"""The whole program as users run it: a supervisor process, real HTTP, a real engine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

_UP = """
import sys
from pathlib import Path
from strongroom.app.supervisor import Supervisor, write_ready
s = Supervisor(
    Path(sys.argv[1]),
    patience_s=float(sys.argv[3]),
    workers=int(sys.argv[4]),
    server_module=sys.argv[5],
    restart_s=(0.1,),
    split=sys.argv[6] == "split",
)
write_ready(Path(sys.argv[2]), s.start())
sys.exit(s.wait())
"""


class Answer(msgspec.Struct):
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


class Stack:
    """A running installation; `start` again after `kill` to see what it recovers."""

    def __init__(
        self,
        root: Path,
        *,
        patience_s: float = 3.0,
        workers: int = 1,
        server_module: str = "strongroom.app.serving",
        environ: dict[str, str] | None = None,
        split: bool = False,
    ) -> None:
        self._environ = {**os.environ, **(environ or {})}
        self._server_module = server_module
        self._split = split
        self.data_dir = root / "data"
        self.ready_file = root / "ready.json"
        self._log = root / "stderr.log"
        self._patience_s = patience_s
        self._workers = workers
        self._process: subprocess.Popen[bytes] | None = None
        self.other_secret_key = ""
        self.other_merchant = ""

    def start(self) -> Stack:
        """Start everything and wait for the ready file."""
        self.ready_file.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    _UP,
                    str(self.data_dir),
                    str(self.ready_file),
                    str(self._patience_s),
                    str(self._workers),
                    self._server_module,
                    "split" if self._split else "whole",
                ],
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
                env=self._environ,
            )
        deadline = time.monotonic() + 60
        while not self.ready_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the stack did not start:\n{self.log()}")
            time.sleep(0.02)
        ready = json.loads(self.ready_file.read_text())
        self.url: str = ready["url"]
        self.sandbox_url: str = ready["sandbox_url"]
        self.secret_key: str = ready["api_key"]
        self.publishable_key: str = ready["publishable_key"]
        kept = json.loads((self.data_dir / "test-credentials.json").read_text())
        self.operator_read_key: str = kept["operator_read_key"]
        self.operator_admin_key: str = kept["operator_admin_key"]
        self.merchant: str = kept["merchant"]
        self.pid: int = ready["pid"]
        self.sandbox_key = (self.data_dir / "sandbox.secret").read_text().strip()
        return self

    def stop(self) -> int:
        """Stop in order and return the exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=60)
        self._process = None
        return code

    def kill(self) -> None:
        """kill -9 the supervisor; the rest of the tree must go by itself."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None
        self.await_gone()

    def await_gone(self, within_s: float = 15) -> None:
        """Wait until no process of this installation is left."""
        deadline = time.monotonic() + within_s
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.processes():
            raise AssertionError(f"still running: {self.processes()}")

    def processes(self, containing: str = "") -> dict[int, str]:
        """Return pid and command line of this installation's processes."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, UnicodeDecodeError):
                continue
            if str(self.data_dir) in command and containing in command:
                found[int(entry.name)] = command
        return found

    def server_pids(self) -> list[int]:
        """Return the pids of the server processes."""
        return [p for p in self.processes("--fd=") if p != os.getpid()]

    def log(self) -> str:
        """Return everything the tree wrote to stderr."""
        return self._log.read_text(errors="replace")

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "",
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 35,
    ) -> Answer:
        """Call the API; `key` defaults to the demo merchant's secret key, None sends none."""
        return http(
            method,
            self.url + path,
            body,
            key=self.secret_key if key == "" else key,
            idempotency_key=idempotency_key,
            headers=headers,
            timeout=timeout,
        )

    def sandbox(self, method: str, path: str, body: Any = None) -> Answer:
        """Call the sandbox gateway's control interface."""
        return http(method, self.sandbox_url + path, body, key=self.sandbox_key)

    def admin(self, work: Any) -> Any:
        """Run `await work(house)` against the running installation and return its result."""
        from strongroom.app import House, load

        async def run() -> Any:
            async with House(load(self.data_dir, {})) as house:
                return await work(house)

        return asyncio.run(run())

    def add_merchant(self, name: str) -> tuple[str, str]:
        """Make a merchant; return its id and a secret key."""
        from strongroom.identity import KeyKind, KeySpec

        async def work(house: Any) -> tuple[str, str]:
            merchant = await house.identity.create_merchant(name, actor="system:test")
            spec = KeySpec(
                merchant=merchant.id, kind=KeyKind.SECRET, role="merchant-backend", owner="test"
            )
            _, secret = await house.identity.create_key(spec, actor="system:test")
            return merchant.id, secret.reveal()

        result: tuple[str, str] = self.admin(work)
        return result


def http(
    method: str,
    url: str,
    body: Any = None,
    *,
    key: str | None = None,
    idempotency_key: str | None = None,
    headers: dict[str, str] | None = None,
    timeout: float = 35,
) -> Answer:
    """Make one HTTP call with the standard library; an error status is an answer too."""
    sent = dict(headers or {})
    data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    if data is not None:
        sent.setdefault("Content-Type", "application/json")
    if key:
        sent["Authorization"] = f"Bearer {key}"
    if idempotency_key is not None:
        sent["Idempotency-Key"] = f'"{idempotency_key}"'
    request = urllib.request.Request(url, data=data, method=method, headers=sent)  # noqa: S310
    try:
        with _OPENER.open(request, timeout=timeout) as answer:
            return Answer(answer.status, _lower(answer.headers), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, _lower(error.headers), error.read())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}

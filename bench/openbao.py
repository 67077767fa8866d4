"""OpenBao's transit engine as the counterpart: a real server, its file audit on, a scoped token.

It runs in development mode (memory storage, plain HTTP on loopback), the cheapest way it has.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from bench.processes import free_port

_ROOT_TOKEN = "bench-root"
_START_S = 30
_POLICY = """
path "transit/encrypt/cards" { capabilities = ["update"] }
path "transit/decrypt/cards" { capabilities = ["update"] }
"""
_CARD = b'{"number":"4242424242424242","exp_month":12,"exp_year":2031,"holder_name":"Ada Lovelace"}'


class OpenBao:
    """A server for the length of a `with` block; requests come as bytes for `bench.client`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.host, self.port = "127.0.0.1", free_port()
        self.audit = root / "audit.log"
        self._token = ""

    def __enter__(self) -> OpenBao:
        self._root.mkdir(parents=True, exist_ok=True)
        config = self._root / "server.hcl"
        config.write_text(
            f'audit "file" "file" {{\n  options {{\n    file_path = "{self.audit}"\n  }}\n}}\n'
        )
        with (self._root / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(Path(sys.executable).with_name("bao")),
                    "server",
                    "-dev",
                    f"-dev-root-token-id={_ROOT_TOKEN}",
                    "-dev-no-store-token",
                    f"-dev-listen-address={self.host}:{self.port}",
                    f"-config={config}",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            self._prepare()
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(timeout=10)

    def cpu_seconds(self) -> float:
        """Return user and system seconds that the server has used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def encrypt(self, batch: int) -> Iterator[bytes]:
        """Yield requests that encrypt `batch` cards bound to additional data."""
        one = {"plaintext": _b64(_CARD), "associated_data": _b64(b"merchant|token")}
        return self._requests("encrypt", one, batch)

    def decrypt(self, batch: int) -> Iterator[bytes]:
        """Yield requests that decrypt `batch` cards."""
        bound = _b64(b"merchant|token")
        made = self._call(
            "/v1/transit/encrypt/cards", {"plaintext": _b64(_CARD), "associated_data": bound}
        )
        one = {"ciphertext": made["data"]["ciphertext"], "associated_data": bound}
        return self._requests("decrypt", one, batch)

    def _requests(self, verb: str, one: dict[str, str], batch: int) -> Iterator[bytes]:
        body = json.dumps(one if batch == 1 else {"batch_input": [one] * batch}).encode()
        request = (
            f"POST /v1/transit/{verb}/cards HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"X-Vault-Token: {self._token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        while True:
            yield request

    def _prepare(self) -> None:
        self._await()
        if not self._call("/v1/sys/audit")["data"]:
            raise SystemExit("OpenBao runs without its audit: the comparison would not be fair")
        self._call("/v1/sys/mounts/transit", {"type": "transit"})
        self._call("/v1/transit/keys/cards", {"type": "aes256-gcm96"})
        self._call("/v1/sys/policies/acl/cards", {"policy": _POLICY})
        made = self._call("/v1/auth/token/create", {"policies": ["cards"]})
        self._token = made["auth"]["client_token"]

    def _await(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self._call("/v1/sys/health")
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise SystemExit("OpenBao did not start") from None
                time.sleep(0.1)
            else:
                return

    def _call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        request = urllib.request.Request(
            f"http://{self.host}:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": _ROOT_TOKEN, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()

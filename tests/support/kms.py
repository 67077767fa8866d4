"""AWS KMS as moto's server plays it: a process of its own, reached with real boto3 over HTTP."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.support.openbao import free_port

PROGRAM = Path(sys.executable).parent / "moto_server"
REGION = "eu-central-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_START_S = 60


class Kms:
    """One server; `client` is for making and breaking keys, `endpoint` for the root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""

    def __enter__(self) -> Self:
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "moto.log").open("wb") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=2).close()  # noqa: S310
            except OSError:
                time.sleep(0.1)
            else:
                return self
        self.__exit__()
        raise RuntimeError((self._folder / "moto.log").read_text())

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)

    def client(self) -> Any:
        """Return a client with every right."""
        import boto3

        return boto3.client(
            "kms",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )

    def make_key(self) -> str:
        """Make a key; returns its ARN."""
        made = self.client().create_key(KeyUsage="ENCRYPT_DECRYPT", KeySpec="SYMMETRIC_DEFAULT")
        arn: str = made["KeyMetadata"]["Arn"]
        return arn

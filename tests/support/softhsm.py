"""A SoftHSM of a test's own: tokens in a folder, reached through SOFTHSM2_CONF."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.openbao import write_private

_PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
)
PIN = "87654321"
SO_PIN = "12345678"
MISSING = "SoftHSM is not installed; run as root: scripts/system-packages"


def module_path() -> str:
    """Return where SoftHSM's module is; skips with the one line that mends it."""
    found = next((place for place in _PLACES if os.path.exists(place)), None)
    if found is None or shutil.which("softhsm2-util") is None:
        pytest.skip(MISSING)
    return found


class SoftHsm:
    """Tokens in a folder. Processes see them when `environment` is in theirs."""

    def __init__(self, folder: Path) -> None:
        self.module = module_path()
        self.folder = folder
        self.tokens = folder / "tokens"
        self._gone = folder / "gone"
        self.pin_file = folder / "hsm.pin"
        self.tokens.mkdir(parents=True)
        self.config = folder / "softhsm2.conf"
        self.config.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        write_private(self.pin_file, PIN)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to see these tokens."""
        return {"SOFTHSM2_CONF": str(self.config)}

    def make_token(self, label: str = "vault") -> str:
        """Make a token."""
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--so-pin", SO_PIN,
             "--pin", PIN],
            env={**os.environ, **self.environment}, check=True, capture_output=True,
        )  # fmt: skip
        return label

    def remove(self) -> None:
        """Pull every token out."""
        self.tokens.rename(self._gone)

    def put_back(self) -> None:
        """Put them back."""
        self._gone.rename(self.tokens)

    def locks(self) -> list[Path]:
        """Files that SoftHSM locks while it works with a token."""
        return sorted(path for path in self.tokens.rglob("*") if path.is_file())

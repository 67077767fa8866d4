"""The demo merchant's API keys of a test installation, in a 0600 file of its data directory."""

from __future__ import annotations

from pathlib import Path

import msgspec

FILE = "test-credentials.json"


class Credentials(msgspec.Struct, frozen=True):
    """API keys of the demo installation, test mode only."""

    merchant: str
    api_key: str
    publishable_key: str
    operator_read_key: str
    operator_admin_key: str

    def __repr__(self) -> str:
        return f"Credentials({self.merchant})"


def read(data_dir: Path) -> Credentials | None:
    """Return the kept credentials, if there are any."""
    try:
        return msgspec.json.decode((data_dir / FILE).read_bytes(), type=Credentials)
    except FileNotFoundError:
        return None

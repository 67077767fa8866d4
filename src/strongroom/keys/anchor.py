"""Remembers in a file outside the database how often the keys changed.

A key store restored from an older backup is whole and validly signed; only something outside can
tell that it once was newer. The file protects nothing from who can change it and the database
together; a copy elsewhere does.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from strongroom.keys import errors

FILE = "keys.witness"
"""Its usual name in the data directory."""

_HEAD = "strongroom-keys-seen/1"


class FileAnchor:
    """The highest number of changes seen, in a file of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> int:
        """Return the highest number seen, 0 when none was.

        Raises:
            StrongroomError: `keys_rolled_back` when the file is there but cannot be understood.
        """
        try:
            head, _, number = self._path.read_text("ascii").strip().partition(" ")
            if head != _HEAD or not number.isdecimal():
                raise ValueError(head)
            return int(number)
        except FileNotFoundError:
            return 0
        except (OSError, ValueError):
            raise errors.keys_rolled_back(f"{self._path.name} cannot be read") from None

    def override(self, *, reason: str) -> Path | None:
        """Set the number aside on an operator's word; returns where it is kept with the reason."""
        if not self._path.exists():
            return None
        kept = self._path.with_name(f"{self._path.name}.overridden-{time.time_ns()}")
        _write(kept, f"{self._path.read_text('utf-8', 'replace')}overridden: {reason}\n")
        self._path.unlink()
        return kept

    def write(self, seq: int) -> None:
        """Remember a number; after a crash the file holds the old or the new one, whole."""
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        _write(draft, f"{_HEAD} {seq}\n")
        os.replace(draft, self._path)


def _write(path: Path, text: str) -> None:
    """Write a file of mode 0600, durably."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

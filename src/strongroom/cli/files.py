"""Secrets of commands come from files and go into files of mode 0600, never through arguments."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret

_LONGEST_BYTES = 65_536


def secret_in(path: Path, *, member: str = "", spaces: bool = False) -> Secret[str]:
    """Return the secret in a file that only its owner can read.

    A file that holds a JSON object, such as the ready file, gives its `member`. A passphrase may
    have `spaces`.

    Raises:
        StrongroomError: `secret_file_unusable`, saying how to mend it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(_LONGEST_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise _unusable(f"{path} cannot be read: {why}.") from None
    if mode & 0o077:
        raise _unusable(f"{path} can be read by others. Run: chmod 600 {path}")
    if member and text.startswith("{"):
        text = _member(path, text, member)
    if not text or (not spaces and any(character.isspace() for character in text)):
        raise _unusable(f"{path} must hold one secret on one line.")
    return Secret(text)


def write_new_private(path: Path, text: str) -> None:
    """Write a new file of mode 0600; an existing file is never replaced.

    Raises:
        StrongroomError: `secret_file_unusable` when the file exists or cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unusable(f"{path} cannot be made: {error.strerror}.") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _member(path: Path, text: str, member: str) -> str:
    try:
        found = json.loads(text).get(member)
    except json.JSONDecodeError:
        raise _unusable(f"{path} is not whole JSON.") from None
    if not isinstance(found, str):
        raise _unusable(f"{path} has no '{member}'.")
    return found


def _unusable(what: str) -> StrongroomError:
    return StrongroomError("secret_file_unusable", what)

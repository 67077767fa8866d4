"""Files with key material: made in one step with mode 0600, read only while nobody else can.

A file that another user may read or write, that belongs to someone else, or that is a link, is
refused instead of repaired: what others could read may have been read.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from strongroom.keys import errors

_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC


def create_private(path: Path, data: bytes) -> None:
    """Write a new file whole or not at all; an existing file is never replaced.

    Raises:
        StrongroomError: `root_file_exists` when the path is taken.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise errors.root_file_exists(str(path)) from None
    finally:
        temporary.unlink()
    _sync_directory(path.parent)


def read_private(path: Path, *, limit: int) -> bytes:
    """Return a file's bytes, having checked the very file that is read.

    Raises:
        StrongroomError: `root_file_missing`, `root_file_unsafe`, `root_file_damaged`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _OPEN | os.O_NONBLOCK)
    except FileNotFoundError:
        raise errors.root_file_missing(str(path)) from None
    except OSError:
        raise errors.root_file_unsafe(str(path), "is a link or cannot be read") from None
    with os.fdopen(descriptor, "rb") as file:
        _check(os.fstat(file.fileno()), str(path))
        data = file.read(limit + 1)
    if len(data) > limit:
        raise errors.root_file_damaged(str(path))
    return data


def _check(status: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise errors.root_file_unsafe(path, "is not a plain file")
    if status.st_mode & 0o077:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise errors.root_file_unsafe(path, f"has mode {mode}: other users may use it")
    if status.st_uid not in (os.geteuid(), 0):
        raise errors.root_file_unsafe(path, "belongs to another user")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

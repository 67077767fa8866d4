"""The files of an import: a private source read in whole lines, two private results kept in step.

What is written is on the disk before the database says so; on resume a file is cut back to what the
database knows. A result that is shorter than that was changed by somebody and stops the import.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from strongroom.kernel.limits import IMPORT_LINE_MAX_BYTES
from strongroom.vault import errors

_READ = 1 << 20


def open_source(path: Path) -> BinaryIO:
    """Open the cards' file; others must not be able to read it.

    Raises:
        StrongroomError: `import_file_unusable`.
    """
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=_READ)
    except OSError as error:
        raise errors.import_file_unusable(f"{path} cannot be read: {error.strerror}.") from None
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode) or stat.S_IMODE(mode) & 0o077:
        file.close()
        raise errors.import_file_unusable(
            f"{path} must be a file that only its owner can read. Run: chmod 600 {path}"
        )
    return file


def digest_of(file: BinaryIO) -> tuple[bytes, int]:
    """Return SHA-256 and size of an open file and go back to its beginning."""
    hashed, size = hashlib.sha256(), 0
    file.seek(0)
    while chunk := file.read(_READ):
        hashed.update(chunk)
        size += len(chunk)
    file.seek(0)
    return hashed.digest(), size


def read_chunk(file: BinaryIO, *, lines: int) -> list[bytes | None]:
    """Return the next lines without blank ones' content; None stands for one that is too long."""
    found: list[bytes | None] = []
    while len(found) < lines and (line := file.readline(IMPORT_LINE_MAX_BYTES)):
        if len(line) < IMPORT_LINE_MAX_BYTES or line.endswith(b"\n"):
            found.append(line)
            continue
        while (rest := file.readline(_READ)) and not rest.endswith(b"\n"):
            pass
        found.append(None)
    return found


class Result:
    """One of the two files an import writes."""

    def __init__(self, path: Path, header: str, *, known_bytes: int) -> None:
        """Make a new file, or open the one this import made and cut it to what is known.

        Raises:
            StrongroomError: `import_output_unusable`.
        """
        flags = os.O_WRONLY | os.O_NOFOLLOW | (0 if known_bytes else os.O_CREAT | os.O_EXCL)
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise errors.import_output_unusable(f"{path}: {error.strerror}.") from None
        if os.fstat(self._descriptor).st_size < known_bytes:
            os.close(self._descriptor)
            raise errors.import_output_unusable(f"{path} is not the file this import wrote.")
        os.ftruncate(self._descriptor, known_bytes)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        self.size = known_bytes
        if not known_bytes:
            self.add([header])

    def add(self, lines: Sequence[str]) -> None:
        """Append lines and wait until they are on the disk."""
        data = "".join(f"{line}\n" for line in lines).encode()
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        if data:
            os.fsync(self._descriptor)
        self.size += len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

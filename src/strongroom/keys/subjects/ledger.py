"""The shred ledger's file: a signed line for each receipt, naming the hash of the line before.

It lies outside the database, best on another medium, so that a restored backup cannot take it
back. Lines are appended under a file lock and synced before anyone is answered. A last line that a
crash cut short is dropped; any other change stops the start.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from strongroom.kernel.canonical import dumps
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ports import Signer
from strongroom.keys import errors
from strongroom.keys.subjects.model import Shredded
from strongroom.keys.subjects.receipt import line_holds, receipt_holds, sign_line

LINE_BYTES_MAX = 32_768
"""A receipt is about 600 bytes; a person with a hundred keys' versions 4 kB."""

_FIRST = "0" * 64


class ShredLedger:
    """The file of receipts. Every process of an installation may append to it.

    Args:
        path: the file; made with mode 0600 when the first receipt is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, receipts: list[tuple[dict[str, Any], bytes]], signer: Signer) -> None:
        """Write receipts at the end of the file, durably.

        Raises:
            StrongroomError: `shred_ledger_damaged`, or `shred_ledger_unwritable`.
        """
        try:
            with self._locked() as file:
                self._append(file, receipts, signer)
        except OSError as error:
            raise errors.shred_ledger_unwritable(str(self.path), error.strerror or "") from None

    def read(self, public_key: bytes) -> list[Shredded]:
        """Return every receipt, after its line, its place and its signatures were checked.

        Raises:
            StrongroomError: `shred_ledger_damaged` when a line was changed, moved or is missing.
        """
        try:
            with self.path.open("rb") as file:
                return [told for told, _ in self._lines(file, public_key)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise errors.shred_ledger_unwritable(str(self.path), error.strerror or "") from None

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        new = not self.path.exists()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path, flags, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
            if new:
                _sync(self.path.parent)
            yield file

    def _append(
        self, file: BinaryIO, receipts: list[tuple[dict[str, Any], bytes]], signer: Signer
    ) -> None:
        end, number, previous = self._tail(file)
        file.truncate(end)
        file.seek(end)
        for receipt, signature in receipts:
            number += 1
            line = {
                "number": number,
                "previous": previous,
                "receipt": receipt,
                "receipt_signature": base64.b64encode(signature).decode(),
            }
            signed = {**line, "signature": base64.b64encode(sign_line(line, signer)).decode()}
            raw = dumps(signed)
            file.write(raw + b"\n")
            previous = sha256(raw).hexdigest()
        file.flush()
        os.fsync(file.fileno())

    def _tail(self, file: BinaryIO) -> tuple[int, int, str]:
        """Return where whole lines end, and number and hash of the last one."""
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - 2 * LINE_BYTES_MAX)
        file.seek(start)
        tail = file.read()
        end = tail.rfind(b"\n") + 1
        if end == 0:
            if start > 0:
                raise self._damaged(0)
            return 0, 0, _FIRST
        last = tail[:end].rstrip(b"\n").rpartition(b"\n")[2]
        try:
            number = msgspec.json.decode(last)["number"]
        except (msgspec.MsgspecError, KeyError, TypeError):
            raise self._damaged(0) from None
        return start + end, int(number), sha256(last).hexdigest()

    def _lines(self, file: BinaryIO, public_key: bytes) -> Iterator[tuple[Shredded, str]]:
        previous = _FIRST
        number = 0
        while raw := file.readline(LINE_BYTES_MAX + 1):
            number += 1
            if not raw.endswith(b"\n"):
                if len(raw) > LINE_BYTES_MAX or file.read(1):
                    raise self._damaged(number)
                return
            told = self._checked(raw[:-1], number, previous, public_key)
            previous = sha256(raw[:-1]).hexdigest()
            yield told, previous

    def _checked(self, raw: bytes, number: int, previous: str, public_key: bytes) -> Shredded:
        try:
            line = msgspec.json.decode(raw, type=dict[str, Any])
            signature = base64.b64decode(line.pop("signature"), validate=True)
            receipt_signature = base64.b64decode(line["receipt_signature"], validate=True)
            receipt = line["receipt"]
            fine = (
                (line["number"], line["previous"]) == (number, previous)
                and line_holds(line, signature, public_key)
                and receipt_holds(receipt, receipt_signature, public_key)
            )
        except (msgspec.MsgspecError, binascii.Error, KeyError, TypeError, StrongroomError):
            raise self._damaged(number) from None
        if not fine:
            raise self._damaged(number)
        return Shredded(
            receipt=receipt,
            signature=line["receipt_signature"],
            key=base64.b64encode(public_key).decode(),
        )

    def _damaged(self, number: int) -> StrongroomError:
        return errors.shred_ledger_damaged(str(self.path), number)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

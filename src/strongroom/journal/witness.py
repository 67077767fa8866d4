"""The witness: a file outside the database that remembers the last signed checkpoint.

A database restored from a backup looks healthy from inside; only something outside can tell that
the journal once had more entries. The file holds the checkpoint's signed note, so it can be read,
copied to another machine and checked by itself. It does not protect against someone who can roll
back the database and the file together; a copy elsewhere does.
"""

from __future__ import annotations

import os
from pathlib import Path

from strongroom.journal import errors
from strongroom.journal.model import Checkpoint
from strongroom.journal.note import parse_checkpoint
from strongroom.kernel.errors import StrongroomError


class Witness:
    """The high-water mark of what was signed, in a file of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Checkpoint | None:
        """Return the remembered checkpoint, None when nothing was remembered yet.

        Raises:
            StrongroomError: `journal_fork` when the file is there but cannot be understood.
        """
        try:
            note = self.path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable(type(error).__name__) from None
        text, separator, _ = note.rpartition("\n\n")
        if not separator:
            raise self._unreadable("not a signed note")
        try:
            _, size, root = parse_checkpoint(text + "\n")
        except StrongroomError as error:
            raise self._unreadable(error.public) from None
        return Checkpoint(size=size, root=root, note=note)

    def write(self, checkpoint: Checkpoint) -> None:
        """Remember a checkpoint; after a crash the file holds the old or the new one, whole."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(self.path.name + ".new")
        with open(draft, "w", encoding="utf-8") as file:
            file.write(checkpoint.note)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self.path)

    def override(self, *, reason: str) -> Path | None:
        """Set the remembered checkpoint aside on an operator's word, so that sequencing may go on.

        The old note is kept beside the file together with the reason: it is evidence that entries
        were lost, and shows anyone who holds a later checkpoint what happened. Returns where it is
        kept, None when there was nothing to set aside.
        """
        if not self.path.exists():
            return None
        number = 1
        while (kept := self.path.with_name(f"{self.path.name}.overridden-{number}")).exists():
            number += 1
        note = self.path.read_text("utf-8", errors="replace")
        kept.write_text(f"{note}\noverridden: {reason}\n", encoding="utf-8")
        self.path.unlink()
        return kept

    def _unreadable(self, why: str) -> Exception:
        return errors.fork(
            f"The journal's witness file {self.path.name} cannot be read ({why}). Restore it, or "
            "run `strongroom journal accept-rollback` if you know why it is damaged."
        )

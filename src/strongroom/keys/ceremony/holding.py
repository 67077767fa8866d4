"""Where this process gets a shares root's key from: held, inherited by pipe, or handed over.

A supervised process inherits a pipe whose number stands in STRONGROOM_ROOT_FD; the key itself is
never in an argument, a variable or a file. A command beside the service is handed it over the
unseal socket, if the settings permit that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID

from strongroom.kernel.secret import Secret
from strongroom.keys.ceremony import errors
from strongroom.keys.ceremony.channel import ROOTS_MAX, handed_keys, keys_from
from strongroom.keys.ceremony.shares_root import read_root, require_key
from strongroom.keys.model import Mode
from strongroom.keys.roots.sealed_file import SealedFileRoot

ROOT_FD = "STRONGROOM_ROOT_FD"

_held: dict[str, Secret[bytes]] = {}


def hold(root: str, key: Secret[bytes]) -> None:
    """Keep an unsealed root key for this process."""
    _held[root] = key


def key_pipe(roots: Iterable[str]) -> int:
    """Return the reading end of a pipe with the held keys of these roots; reading empties it."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as pipe:
        for root in list(roots)[:ROOTS_MAX]:
            pipe.write(root.encode() + _held[root].reveal())
    return reading


def held_roots() -> list[str]:
    """Return the roots whose keys this process holds, for a child that needs them, too."""
    _take_inherited()
    return list(_held)


def open_shares_root(
    path: Path, *, mode: Mode, installation: UUID, to_commands: bool
) -> SealedFileRoot:
    """Open a shares root whose custodians have unsealed it.

    Raises:
        StrongroomError: `sealed` when they have not, or why the file cannot be used.
    """
    file = read_root(path, mode=mode, installation=installation)
    _take_inherited()
    key = _held.get(file.root)
    if key is None and to_commands:
        key = handed_keys(path.parent, file.root).get(file.root)
    if key is None:
        raise errors.sealed()
    require_key(file, key)
    return SealedFileRoot(file.root, mode, installation, key)


def _take_inherited() -> None:
    number = os.environ.pop(ROOT_FD, "")
    if number.isdigit():
        _held.update(keys_from(int(number)))

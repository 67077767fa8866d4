"""Files of ceremonies as commands read and write them; none holds anything secret in clear."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from strongroom.kernel.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.keys.ceremony import Answer, RootFile, SessionCard, ShareFile
    from strongroom.keys.dual_control import Card

_LONGEST_BYTES = 65_536
T = TypeVar("T")


def read_cards(paths: Sequence[Path]) -> list[Card]:
    """Return the custodians of these .pub files, their acknowledgements verified."""
    from strongroom.keys.dual_control import read_card

    return [read_card(path) for path in paths]


def read_share(path: Path) -> ShareFile:
    """Return a custodian's share."""
    from strongroom.keys.ceremony import parse_share

    return parse_share(_read(path), str(path))


def read_root_copy(path: Path) -> RootFile:
    """Return a copy of a root's file, as a custodian may keep it."""
    from strongroom.keys.ceremony import parse_root

    return parse_root(_read(path), str(path))


def read_session(path: Path) -> SessionCard:
    """Return what `ceremony session --json` printed."""
    from strongroom.keys.ceremony import SessionCard

    return _decoded(path, SessionCard)


def read_answer(path: Path) -> Answer:
    """Return what `ceremony answer` wrote."""
    from strongroom.keys.ceremony import Answer

    return _decoded(path, Answer)


def write_shares(folder: Path, shares: Sequence[ShareFile]) -> dict[str, str]:
    """Write each share into a new file named after its custodian; return the files by name."""
    import msgspec

    from strongroom.cli.files import write_new_private

    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = {share.name: folder / f"{share.name}.share" for share in shares}
    for share in shares:
        write_new_private(files[share.name], msgspec.json.encode(share).decode() + "\n")
    return {name: str(path) for name, path in files.items()}


def _decoded(path: Path, kind: type[T]) -> T:
    import msgspec

    try:
        return msgspec.json.decode(_read(path), type=kind)
    except msgspec.MsgspecError:
        raise _invalid(path) from None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST_BYTES)
    except OSError:
        raise _invalid(path) from None


def _invalid(path: Path) -> StrongroomError:
    return StrongroomError("share_file_invalid", f"The file {path} is not what this command takes.")

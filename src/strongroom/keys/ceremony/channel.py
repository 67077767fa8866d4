"""The client's side of the unseal socket: ask a waiting process, answer it, be given its root key.

The socket must be a socket of mode 0600 that belongs to us or to root, and so must the process
behind it; otherwise nothing is sent. Messages are one line of JSON each way.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.ceremony import errors
from strongroom.keys.ceremony.model import Answer, Purpose, SessionCard
from strongroom.keys.model import KEY_BYTES

SOCKETS: dict[Purpose, str] = {"unseal": "unseal.sock", "reshare": "reshare.sock"}
_LONGEST_PATH = 100
ROOTS_MAX = 8
"""Shares roots at once: the present one, and former ones while keys move."""
_RECORD_BYTES = len("root_") + 26 + KEY_BYTES
_UCRED = struct.Struct("3i")


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked for: the session's card, to take an answer, or the root key."""

    op: str
    answer: Answer | None = None
    root: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of it: a card as it now stands, or the code and text of a refusal."""

    card: SessionCard | None = None
    missing: int = 0
    code: str = ""
    public: str = ""


def session_card(folder: Path, purpose: Purpose) -> SessionCard:
    """Return the card of the process that waits.

    Raises:
        StrongroomError: `unseal_not_waiting`, `unseal_unsafe`.
    """
    return _asked(folder, purpose, Request(op="card"))[0]


def hand_in(folder: Path, answer: Answer, purpose: Purpose) -> int:
    """Give a custodian's answer to the process that waits; return how many are still missing.

    Raises:
        StrongroomError: why it was refused.
    """
    return _asked(folder, purpose, Request(op="answer", answer=answer))[1]


def handed_keys(folder: Path, root: str) -> dict[str, Secret[bytes]]:
    """Return the root key from the running service, for a command beside it; empty without one."""
    try:
        with _connected(folder / SOCKETS["unseal"]) as connection:
            connection.sendall(msgspec.json.encode(Request(op="key", root=root)) + b"\n")
            _, descriptors, _, _ = socket.recv_fds(connection, 64, 1)
            return keys_from(descriptors[0]) if descriptors else {}
    except StrongroomError as error:
        if error.code != "unseal_not_waiting":
            raise
    except OSError:
        return {}
    return {}


def keys_from(descriptor: int) -> dict[str, Secret[bytes]]:
    """Read root keys from an inherited or received pipe and close it: an id and a key, each."""
    with os.fdopen(descriptor, "rb") as pipe:
        data = pipe.read(ROOTS_MAX * _RECORD_BYTES + 1)
    if len(data) % _RECORD_BYTES:
        return {}
    records = [data[n : n + _RECORD_BYTES] for n in range(0, len(data), _RECORD_BYTES)]
    return {
        record[:-KEY_BYTES].decode("ascii", "replace"): Secret(record[-KEY_BYTES:])
        for record in records
    }


def peer_is_ours(connection: socket.socket) -> bool:
    """Return whether the process at the other end runs as us or as root."""
    if hasattr(socket, "SO_PEERCRED"):
        given = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return _UCRED.unpack(given)[1] in (os.geteuid(), 0)
    return True  # the mode of the socket and of its directory decide there


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Yield a name for a socket's path that fits the 108 bytes which socket addresses have."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def read_line(connection: socket.socket) -> bytes:
    """Read one bounded line."""
    data = b""
    while not data.endswith(b"\n"):
        part = connection.recv(limits.UNSEAL_MESSAGE_MAX_BYTES + 1 - len(data))
        data += part
        if not part or len(data) > limits.UNSEAL_MESSAGE_MAX_BYTES:
            break
    return data


def _asked(folder: Path, purpose: Purpose, request: Request) -> tuple[SessionCard, int]:
    try:
        with _connected(folder / SOCKETS[purpose]) as connection:
            connection.sendall(msgspec.json.encode(request) + b"\n")
            reply = msgspec.json.decode(read_line(connection), type=Reply)
    except (OSError, msgspec.MsgspecError):
        raise errors.nothing_waits() from None
    if reply.code:
        raise StrongroomError(reply.code, reply.public)
    if reply.card is None:
        raise errors.nothing_waits()
    return reply.card, reply.missing


@contextmanager
def _connected(path: Path) -> Iterator[socket.socket]:
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise errors.nothing_waits() from None
    _require_ours(status)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(limits.UNSEAL_CONNECTION_S)
        try:
            with reachable(path) as name:
                connection.connect(name)
        except OSError:
            raise errors.nothing_waits() from None
        if not peer_is_ours(connection):
            raise errors.unseal_unsafe("is served by another user's process")
        yield connection


def _require_ours(status: os.stat_result) -> None:
    if not stat.S_ISSOCK(status.st_mode):
        raise errors.unseal_unsafe("is no socket")
    if status.st_uid not in (os.geteuid(), 0):
        raise errors.unseal_unsafe("belongs to another user")
    if status.st_mode & 0o077:
        raise errors.unseal_unsafe("may be used by other users")


def encoded(reply: Reply) -> bytes:
    """Return a reply as it goes over the socket."""
    return msgspec.json.encode(reply) + b"\n"

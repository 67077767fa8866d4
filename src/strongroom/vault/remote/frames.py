"""The frames between a vault and its callers: layout, limits, a parser that needs no I/O.

`length (4) | version (1) | kind (1) | call id (4) | body`, big-endian; `length` counts what follows
it. Whatever does not fit (a length past the limit, another version, an unknown kind) ends the
connection: a peer that once spoke nonsense is not listened to again.
"""

from __future__ import annotations

import enum
import struct

import msgspec

from strongroom.kernel.limits import VAULT_FRAME_MAX_BYTES

VERSION = 1
_HEAD = struct.Struct(">IBBI")
_AFTER_LENGTH = _HEAD.size - 4
CALL_ID_MAX = 2**32 - 1


class Kind(enum.IntEnum):
    """What a frame says."""

    HELLO = 0  # server: the peer is accepted, calls may come
    CALL = 1  # client: verb, time left, arguments
    TELL = 2  # client: as CALL, nobody waits for an answer
    ANSWER = 3  # server: the result
    FAILURE = 4  # server: the error
    CANCEL = 5  # client: nobody waits for this call any more
    PING = 6  # client
    PONG = 7  # server
    GOODBYE = 8  # server: no new calls on this connection, those under way are answered
    ASK = 9  # server: what does the caller's policy say of this call?
    VERDICT = 10  # client: nothing when it allows, the error when not


_KINDS = frozenset(int(kind) for kind in Kind)


class Malformed(Exception):
    """The peer sent what is no frame of ours; `reason` names how."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Frame(msgspec.Struct, frozen=True):
    """One message."""

    kind: int
    call: int
    body: bytes = b""

    def __repr__(self) -> str:
        return f"Frame({self.kind}, {self.call}, {len(self.body)} bytes)"


def frame(kind: Kind, call: int = 0, body: bytes = b"") -> bytes:
    """Return a frame's bytes.

    Raises:
        Malformed: the body is larger than any peer takes.
    """
    length = _AFTER_LENGTH + len(body)
    if length > VAULT_FRAME_MAX_BYTES:
        raise Malformed("too_large")
    return _HEAD.pack(length, VERSION, kind, call) + body


class Parser:
    """Cuts a stream of bytes into frames, one at a time: who takes no more, reads no more."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Take what came."""
        self._held += data

    def next(self) -> Frame | None:
        """Return the next whole frame, None when more must come first.

        Raises:
            Malformed: as soon as the head of a frame is wrong, before its body is taken.
        """
        held = self._held
        if len(held) - self._at < _HEAD.size:
            self._let_go()
            return None
        length, version, kind, call = _HEAD.unpack_from(held, self._at)
        if version != VERSION:
            raise Malformed("version")
        if not _AFTER_LENGTH <= length <= VAULT_FRAME_MAX_BYTES:
            raise Malformed("length")
        if kind not in _KINDS:
            raise Malformed("kind")
        end = self._at + 4 + length
        if len(held) < end:
            self._let_go()
            return None
        body = bytes(held[self._at + _HEAD.size : end])
        self._at = end
        return Frame(kind, call, body)

    def _let_go(self) -> None:
        """Let go of the frames that were taken."""
        del self._held[: self._at]
        self._at = 0

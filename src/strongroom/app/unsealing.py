"""Waits for the custodians of a shares root, and hands its key to this installation's processes.

While it waits it answers HTTP with 503 and `sealed`, and takes answers on a unix socket of mode
0600 in the data directory. The key stays in memory: children inherit it through a pipe, commands
beside the service are handed one if the settings permit it.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from strongroom.app.sealed_face import answer_sealed
from strongroom.app.settings import Settings
from strongroom.kernel import limits
from strongroom.kernel.clock import SystemClock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.ceremony import (
    ROOT_FD,
    SOCKETS,
    Answer,
    Purpose,
    Reply,
    Request,
    RootFile,
    Session,
    Transcript,
    answer_statement,
    encoded,
    fingerprint,
    hold,
    key_pipe,
    peer_is_ours,
    reachable,
    read_line,
    read_root,
)
from strongroom.keys.roots import SharesSpec

TRANSCRIPT = "ceremony.transcript"
_POLL_S = 0.2
_REFUSALS_WRITTEN_MAX = 100


class Unsealing:
    """One process that waits. Use as a context manager: the socket is gone at its end.

    Args:
        folder: the data directory.
        files: the roots to be opened, one after the other.
        purpose: what the shares are asked for; each has its own socket.
        to_commands: whether commands of the same user may be handed keys afterwards.
        after: whose the new shares will be, for custodians to see and sign.
        say: tells people at the console what is going on.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[RootFile],
        *,
        purpose: Purpose = "unseal",
        to_commands: bool = False,
        after: str = "",
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._path = folder / SOCKETS[purpose]
        self._files = files
        self._file = files[0]
        self._purpose: Purpose = purpose
        self._to_commands = to_commands
        self._after = after
        self._say = say or _to_stderr
        self._clock = SystemClock()
        self.transcript = Transcript(folder / TRANSCRIPT, purpose, clock=self._clock)
        self._refusals = 0
        self._open: dict[str, Secret[bytes]] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._closing = threading.Event()

    def __enter__(self) -> Unsealing:
        _remove_stale(self._path)
        with reachable(self._path) as name:
            self._socket.bind(name)
        self._path.chmod(0o600)
        self._socket.listen(16)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop and remove the socket."""
        self._closing.set()
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def wait(self, listener: socket.socket | None = None) -> Secret[bytes]:
        """Return the last root's key when enough custodians have answered for each.

        Callers of `listener` are told meanwhile that this installation is sealed.
        """
        if listener is not None:
            listener.settimeout(_POLL_S)
        for file in self._files:
            self._file = file
            self._begin()
            while file.root not in self._open:
                self._turn(listener)
            self.transcript.add("end", {"outcome": f"{self._purpose} complete"})
            self._say(f"{file.root} is unsealed.")
        if listener is not None:
            listener.settimeout(None)
        return self._open[self._file.root]

    def hand_over(self) -> None:
        """Hold the keys for this process, and go on handing them to commands of this user."""
        for root, key in self._open.items():
            hold(root, key)
        if self._to_commands:
            threading.Thread(target=self._serve, name="unseal", daemon=True).start()
        else:
            self.close()

    def key_pipe(self) -> int:
        """Return a pipe for a child that needs the keys; close it when the child runs."""
        return key_pipe(self._open)

    def _turn(self, listener: socket.socket | None) -> None:
        waiting = [self._socket] if listener is None else [self._socket, listener]
        ready, _, _ = select.select(waiting, [], [], _POLL_S)
        if self._session.expired:
            self.transcript.add("expired", {"session": self._session.card().session})
            self._begin()
        for source in ready:
            with suppress(OSError):
                connection, _ = source.accept()
                self._meet(connection, is_http=source is listener)

    def _begin(self) -> None:
        self._session = Session(
            self._file, purpose=self._purpose, clock=self._clock, after=self._after
        )
        self._refusals = 0
        card, shares = self._session.card(), self._file.shares
        self.transcript.add(
            "begin",
            {
                "root": self._file.root,
                "set": shares.set_id,
                "threshold": shares.threshold,
                "total": shares.total,
                "session": card.session,
                "fingerprint": fingerprint(card),
            },
        )
        self._say(
            f"Sealed: waiting for {shares.threshold} of {shares.total} custodians. "
            f"Session {fingerprint(card)}, until {card.expires_at}."
        )

    def _serve(self) -> None:
        while not self._closing.is_set():
            with suppress(OSError, ValueError):
                ready, _, _ = select.select([self._socket], [], [], _POLL_S)
                if ready:
                    self._meet(self._socket.accept()[0], is_http=False)

    def _meet(self, connection: socket.socket, *, is_http: bool) -> None:
        with connection, suppress(OSError):
            connection.settimeout(limits.UNSEAL_CONNECTION_S)
            if is_http:
                answer_sealed(connection)
            elif peer_is_ours(connection):
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        try:
            request = msgspec.json.decode(read_line(connection), type=Request)
        except msgspec.MsgspecError:
            return
        if request.op == "key":
            self._give_key(connection, request.root)
            return
        reply = Reply(card=self._session.card())
        if self._file.root in self._open:
            reply = Reply(code="unseal_not_waiting", public="It is unsealed already.")
        elif request.op == "answer" and request.answer is not None:
            reply = self._take(request.answer)
        connection.sendall(encoded(reply))

    def _take(self, answer: Answer) -> Reply:
        try:
            held = self._session.accept(answer)
        except StrongroomError as error:
            self._refusals += 1
            if self._refusals <= _REFUSALS_WRITTEN_MAX:
                self.transcript.add("refused", {"code": error.code, "index": answer.index % 2**31})
            self._say(f"An answer was refused: {error.code}.")
            return Reply(code=error.code, public=error.public)
        if self._session.root_key is not None:
            self._open[self._file.root] = self._session.root_key
        card = self._session.card()
        statement = answer_statement(
            card, index=held.index, custodian=held.custodian, sealed=answer.sealed
        )
        self.transcript.add(
            "share",
            {
                "custodian": held.custodian,
                "statement": statement.decode(),
                "signature": answer.signature,
            },
        )
        is_open = self._file.root in self._open
        missing = 0 if is_open else card.threshold - len(card.given)
        self._say(f"{held.name} gave a share; {missing} more are needed.")
        return Reply(card=card, missing=missing)

    def _give_key(self, connection: socket.socket, root: str) -> None:
        if root not in self._open or not self._to_commands:
            return
        descriptor = key_pipe([root])
        try:
            socket.send_fds(connection, [b"k"], [descriptor])
        finally:
            os.close(descriptor)


def shares_roots(settings: Settings) -> list[RootFile]:
    """Return the files of the roots that custodians must unseal before anything starts."""
    return [
        read_root(settings.path(spec.file), mode=settings.mode, installation=settings.installation)
        for spec in (settings.root_spec, *settings.former_roots)
        if isinstance(spec, SharesSpec)
    ]


def unseal(settings: Settings, listener: socket.socket) -> Unsealing | None:
    """Wait until every shares root of an installation is open; None when it has none.

    Close what is returned at the end; until then it hands the keys to commands, if settings say so.
    """
    files = shares_roots(settings)
    if not files:
        return None
    specs = [s for s in (settings.root_spec, *settings.former_roots) if isinstance(s, SharesSpec)]
    to_commands = all(spec.hand_to_commands for spec in specs)
    waiting = Unsealing(settings.data_dir, files, to_commands=to_commands).__enter__()
    try:
        waiting.wait(listener)
    except BaseException:
        waiting.close()
        raise
    waiting.hand_over()
    return waiting


class Inherited(NamedTuple):
    """What a child is started with: descriptors to keep open, and its environment."""

    descriptors: tuple[int, ...]
    environment: dict[str, str]


@contextmanager
def inherited_keys(unsealed: Unsealing | None) -> Iterator[Inherited]:
    """Yield how a child started in the block inherits unsealed keys, if there are any."""
    environment = {name: value for name, value in os.environ.items() if name != ROOT_FD}
    if unsealed is None:
        yield Inherited((), environment)
        return
    descriptor = unsealed.key_pipe()
    try:
        yield Inherited((descriptor,), {**environment, ROOT_FD: str(descriptor)})
    finally:
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    """Remove the socket of a process that died; refuse to touch anything else."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
        raise StrongroomError(
            "unseal_unsafe", f"{path} is not our socket. Look who put it there, then remove it."
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, reachable(path) as name:
        probe.settimeout(1)
        if probe.connect_ex(name) == 0:
            raise StrongroomError(
                "start_failed", "Another process of this installation has the unseal socket."
            )
    path.unlink()


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"strongroom: {text}\n")
    sys.stderr.flush()

"""Run one PostgreSQL server as a child and never let it outlive the program that asked for it.

Started as a script by `embedded_process`, alone in its process: it drops privileges for the
server, keeps its log small and free of long digit runs, and stops it when standard input ends,
the parent is gone or a signal asks. Imports nothing of ours, decides nothing, restarts nothing.
"""

from __future__ import annotations

import os
import re
import resource
import select
import signal
import sys
import time
from collections.abc import Callable

FAST_STOP_S = 10.0  # SIGINT: disconnect clients, write a checkpoint
IMMEDIATE_STOP_S = 5.0  # SIGQUIT: stop now, recover at the next start; then SIGKILL
LOG_LIMIT_BYTES = 8 * 1024 * 1024  # and one earlier file of the same size
LINE_LIMIT_BYTES = 16 * 1024
PARENT_CHECK_S = 0.5  # a forked child of the parent may hold our pipe open after the parent's death
PR_SET_PDEATHSIG = 1  # linux/prctl.h

# Nothing of ours writes a card number into SQL; should one get there, no server message keeps it.
_LONG_DIGIT_RUN = re.compile(rb"\d(?:[ -]?\d){11,}")
_STEPS = (
    (0.0, signal.SIGINT),
    (FAST_STOP_S, signal.SIGQUIT),
    (FAST_STOP_S + IMMEDIATE_STOP_S, signal.SIGKILL),
)


class BoundedLog:
    """Appends lines to a file, masks long digit runs, and keeps at most one earlier file."""

    def __init__(self, path: str, *, limit_bytes: int = LOG_LIMIT_BYTES) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self._rest = b""
        self._fd = self._open()

    def write(self, chunk: bytes) -> None:
        """Add bytes; whole lines reach the file, a torn last line waits for its end."""
        *lines, rest = (self._rest + chunk).split(b"\n")
        if len(rest) > LINE_LIMIT_BYTES:
            lines, rest = [*lines, rest], b""
        self._rest = rest
        if lines:
            self._append(b"".join(line[:LINE_LIMIT_BYTES] + b"\n" for line in lines))

    def close(self) -> None:
        """Write what is left of a torn line."""
        if self._rest:
            self.write(b"\n")

    def _append(self, text: bytes) -> None:
        # A full disk must not stop the server here: it has its own answer to that.
        try:
            os.write(self._fd, _LONG_DIGIT_RUN.sub(b"[digits]", text))
            if os.fstat(self._fd).st_size > self._limit_bytes:
                os.close(self._fd)
                os.replace(self._path, self._path + ".1")
                self._fd = self._open()
        except OSError:
            return

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return os.open(self._path, flags, 0o600)


class _Stopping:
    """The steps of a stop, each harder than the one before, with a bound on the whole."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._since: float | None = None
        self._done = 0

    def begin(self) -> None:
        if self._since is None:
            self._since = time.monotonic()
        self.step()

    def step(self) -> None:
        while self._since is not None and self._done < len(_STEPS):
            after_s, number = _STEPS[self._done]
            if time.monotonic() - self._since < after_s:
                return
            os.kill(self._pid, number)
            self._done += 1


def main(arguments: list[str]) -> int:
    """Run `PARENT UID GID LOG PROGRAM ARGUMENT…`; returns the server's exit status."""
    parent, uid, gid = (int(text) for text in arguments[:3])
    log, command = BoundedLog(arguments[3]), arguments[4:]
    wake = _wake_on_signals()
    output, writer = os.pipe()
    pid = _spawn(command, uid=uid, gid=gid, output=writer)
    os.close(writer)
    os.set_blocking(output, False)
    stopping = _Stopping(pid)
    poll = select.poll()
    for fd in (0, output, wake):
        poll.register(fd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll(PARENT_CHECK_S * 1000)}
        _drain(output, log)
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _drain(output, log)
            log.close()
            return _exit_code(status)
        if 0 in ready:
            poll.unregister(0)
        asked = wake in ready and _asked_to_stop(wake)
        if 0 in ready or asked or os.getppid() != parent:
            stopping.begin()
        stopping.step()


def _wake_on_signals() -> int:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return reader


def _asked_to_stop(wake: int) -> bool:
    return bool(set(os.read(wake, 4096)) - {signal.SIGCHLD})


def _drain(output: int, log: BoundedLog) -> None:
    try:
        while chunk := os.read(output, 65536):
            log.write(chunk)
    except BlockingIOError:
        return


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _spawn(command: list[str], *, uid: int, gid: int, output: int) -> int:
    watchdog = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        prctl = _prctl()  # as root: the server's user may be unable to read Python's library
        _become(uid, gid)
        _die_with(watchdog, prctl)
        os.execve(command[0], command, dict(os.environ))  # noqa: S606 - no shell is the point
    except OSError as problem:
        os.write(2, f"cannot run {command[0]}: {problem.strerror}\n".encode())
    finally:
        os._exit(127)


def _become(uid: int, gid: int) -> None:
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold rows
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python, expected by PostgreSQL
        signal.signal(number, signal.SIG_DFL)
    if os.geteuid() == 0:
        os.setgroups([gid])
        os.setgid(gid)
        os.setuid(uid)


def _prctl() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes  # only in the child: the watchdog itself stays small
    except ImportError:
        return None
    function: Callable[..., int] = ctypes.CDLL(None).prctl
    return function


def _die_with(watchdog: int, prctl: Callable[..., int] | None) -> None:
    """Have the kernel stop the server when this watchdog is killed; after setuid, which clears it.

    The signal follows the thread that forked; the watchdog has one thread.
    """
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGQUIT), 0, 0, 0)
    if os.getppid() != watchdog:
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The caller's side of the wire: a few kept-open connections to a vault, renewed before they age.

A call is `sent` from the moment its frame may have left this process. A connection that ends says
for each of its calls whether that moment had come: on this NotSent and OutcomeUnknown turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import (
    VAULT_CONNECT_TIMEOUT_MS,
    VAULT_CONNECTION_AGE_S,
    VAULT_SILENCE_S,
)
from strongroom.vault.remote import errors
from strongroom.vault.remote.frames import CALL_ID_MAX, Frame, Kind, Malformed
from strongroom.vault.remote.stream import Stream
from strongroom.vault.remote.tls import Files, PeerRefused, client_context, peer_of

CONNECTIONS = 2
_PING_S = 2.0
_LOOK_S = 0.5
"""How often a process looks whether its certificate files were renewed."""

_RETRY_S = 0.2
"""After a failed attempt nobody tries again for so long: a vault that starts is not stormed."""

Judge = Callable[[bytes], Awaitable[bytes]]
"""Answers a question about policy: the body of an ASK to the body of a VERDICT."""

_log = logging.getLogger("strongroom.vault")


class Lost(Exception):
    """The connection ended before the answer; `sent` tells whether the call may have left."""

    def __init__(self, *, sent: bool) -> None:
        super().__init__("the connection to the vault ended")
        self.sent = sent


class Pending:
    """One call that waits for its answer."""

    __slots__ = ("answer", "judge", "sent")

    def __init__(self, answer: asyncio.Future[Frame], judge: Judge | None) -> None:
        self.answer = answer
        self.judge = judge
        self.sent = False

    def leave(self) -> None:
        """Note that the frame leaves now."""
        self.sent = True


class Line(Stream):
    """One connection to a vault whose certificate was checked."""

    def __init__(self, trust_domain: str) -> None:
        super().__init__()
        self._trust_domain = trust_domain
        self._calls: dict[int, Pending] = {}
        self._next = 0
        self._heard_at = self._loop.time()
        self._judging: set[asyncio.Task[None]] = set()
        self._pulse: asyncio.TimerHandle | None = None
        self._end: asyncio.TimerHandle | None = None
        self.greeted: asyncio.Future[None] = self._loop.create_future()
        self.retired = False
        self.opened_at = self._loop.time()

    @property
    def takes_calls(self) -> bool:
        """Whether a new call may go out here."""
        return self.usable and not self.retired and self.greeted.done()

    @property
    def under_way(self) -> int:
        """How many calls wait here."""
        return len(self._calls)

    def call(self, body: bytes, judge: Judge | None) -> tuple[int, Pending]:
        """Queue a call."""
        while True:
            self._next = self._next % CALL_ID_MAX + 1
            if self._next not in self._calls:
                break
        pending = Pending(self._loop.create_future(), judge)
        self.send(Kind.CALL, self._next, body, written=pending.leave)
        self._calls[self._next] = pending
        return self._next, pending

    def tell(self, body: bytes) -> None:
        """Queue what nobody waits for."""
        self.send(Kind.TELL, 0, body)

    def cancel(self, call: int) -> None:
        """Tell the vault that nobody waits for a call any more."""
        if self._calls.pop(call, None) is not None and self.usable:
            self.send(Kind.CANCEL, call)
        self._close_if_done()

    def retire(self) -> None:
        """Take no new calls; close when those under way are answered."""
        self.retired = True
        self._close_if_done()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check that it is the vault before anything is written."""
        super().connection_made(transport)
        try:
            peer = peer_of(transport.get_extra_info("ssl_object"), self._trust_domain, role="vault")
        except PeerRefused as refused:
            self.greeted.set_exception(refused)
            self.abort()
            return
        self._end = self._loop.call_later(peer.seconds_left(), self.abort)
        self._pulse = self._loop.call_later(_PING_S, self._ping)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        super().connection_lost(exc)
        for timer in (self._pulse, self._end):
            if timer is not None:
                timer.cancel()
        if not self.greeted.done():
            self.greeted.set_exception(Lost(sent=False))
        calls, self._calls = self._calls, {}
        for pending in calls.values():
            if not pending.answer.done():
                pending.answer.set_exception(Lost(sent=pending.sent))

    def on_malformed(self, reason: str) -> None:
        """Note that the vault speaks another language."""
        _log.error("the vault's frames cannot be read: %s", reason)

    def on_frame(self, got: Frame) -> None:
        """Take a greeting, an answer, a question or a goodbye."""
        self._heard_at = self._loop.time()
        if got.kind == Kind.HELLO:
            if not self.greeted.done():
                self.greeted.set_result(None)
        elif got.kind in (Kind.ANSWER, Kind.FAILURE):
            pending = self._calls.pop(got.call, None)
            if pending is not None and not pending.answer.done():
                pending.answer.set_result(got)
            self._close_if_done()
        elif got.kind == Kind.ASK:
            self._judge(got)
        elif got.kind == Kind.GOODBYE:
            if not self.greeted.done():
                self.greeted.set_exception(Lost(sent=False))
            self.retire()
        elif got.kind != Kind.PONG:
            raise Malformed("direction")

    def _judge(self, got: Frame) -> None:
        pending = self._calls.get(got.call)
        if pending is None or pending.judge is None:
            raise Malformed("question")
        task = self._loop.create_task(self._judged(got, pending.judge))
        self._judging.add(task)
        task.add_done_callback(self._judging.discard)

    async def _judged(self, got: Frame, judge: Judge) -> None:
        verdict = await judge(got.body)
        if self.usable:
            self.send(Kind.VERDICT, got.call, verdict)

    def _ping(self) -> None:
        if not self.usable:
            return
        if self._loop.time() - self._heard_at > VAULT_SILENCE_S:
            _log.warning("the vault is silent; its connection is closed")
            self.abort()
            return
        self.send(Kind.PING)
        self._pulse = self._loop.call_later(_PING_S, self._ping)

    def _close_if_done(self) -> None:
        if self.retired and not self._calls and self.transport is not None:
            self.transport.close()


class Dialer:
    """The connections of one process to its vault.

    Args:
        host: address of the vault.
        port: its port.
        files: this process's certificate and key, and the authority.
        trust_domain: the installation's.
    """

    def __init__(self, host: str, port: int, *, files: Files, trust_domain: str) -> None:
        self._address = (host, port)
        self._files = files
        self._trust_domain = trust_domain
        self._lines: list[Line] = []
        self._dialing: asyncio.Task[None] | None = None
        self._context: ssl.SSLContext | None = None
        self._stamp: tuple[int, ...] = ()
        self._looked_at = 0.0
        self._renewed = 0.0
        self._not_before = 0.0
        self._problem = "not tried yet"
        self._closed = False

    async def line(self, deadline: float) -> Line:
        """Return a connection that takes calls, opening one when there is none.

        Raises:
            StrongroomError: `vault_unavailable`.
        """
        found = self.free()
        if found is not None:
            return found
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(min(deadline, self._patience(loop.time()))):
                while found is None:
                    await asyncio.shield(self._dial())
                    found = self.free()
                    if found is None and loop.time() < self._not_before:
                        break
        except TimeoutError:
            raise errors.vault_unavailable("no connection in time") from None
        if found is None:
            raise errors.vault_unavailable(self._problem)
        return found

    def free(self) -> Line | None:
        """Return the connection with the fewest calls, replacing what is old or gone."""
        now = asyncio.get_running_loop().time()
        renewed = self._renewed_at(now)
        for line in self._lines:
            if line.usable and (
                now - line.opened_at > VAULT_CONNECTION_AGE_S or line.opened_at < renewed
            ):
                line.retire()
        self._lines = [line for line in self._lines if line.usable and not line.retired]
        if len(self._lines) < CONNECTIONS:
            self._dial()
        ready = [line for line in self._lines if line.takes_calls]
        return min(ready, key=lambda line: line.under_way) if ready else None

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._dialing is not None:
            self._dialing.cancel()
            await asyncio.gather(self._dialing, return_exceptions=True)
        for line in self._lines:
            line.retire()
            line.abort()
        self._lines = []
        await asyncio.sleep(0)

    def _patience(self, now: float) -> float:
        return now + VAULT_CONNECT_TIMEOUT_MS / 1000

    def _dial(self) -> asyncio.Future[None]:
        if self._dialing is None or self._dialing.done():
            self._dialing = asyncio.get_running_loop().create_task(self._open())
        return self._dialing

    async def _open(self) -> None:
        """Open one connection, or remember why not and when to try again."""
        loop = asyncio.get_running_loop()
        if self._closed or loop.time() < self._not_before:
            return
        try:
            async with asyncio.timeout(VAULT_CONNECT_TIMEOUT_MS / 1000):
                line = await self._greeted()
        except StrongroomError as error:
            self._problem = error.code
        except PeerRefused as refused:
            self._problem = f"not the vault: {refused.reason}"
            _log.error("what answers at the vault's address is not the vault: %s", refused.reason)
        except (OSError, Lost, TimeoutError) as error:
            self._problem = type(error).__name__
        else:
            self._lines.append(line)
            return
        self._not_before = loop.time() + _RETRY_S

    async def _greeted(self) -> Line:
        loop = asyncio.get_running_loop()
        line = Line(self._trust_domain)
        try:
            await loop.create_connection(
                lambda: line,
                *self._address,
                ssl=self._tls(),
                server_hostname="",
            )
            await line.greeted
        except BaseException:
            line.greeted.cancel()
            line.abort()
            raise
        return line

    def _renewed_at(self, now: float) -> float:
        """Return when this process's certificate was found renewed: older connections go."""
        if now - self._looked_at < _LOOK_S:
            return self._renewed
        self._looked_at = now
        if self._context is not None and self._stamp_now() != self._stamp:
            with contextlib.suppress(StrongroomError):
                self._tls()
                self._renewed = now
        return self._renewed

    def _stamp_now(self) -> tuple[int, ...]:
        try:
            return self._files.stamp()
        except OSError:
            return ()

    def _tls(self) -> ssl.SSLContext:
        """Return the context of the files as they are now; of half-renewed ones, as they were."""
        stamp = self._stamp_now()
        if self._context is None or stamp != self._stamp:
            try:
                self._context, self._stamp = client_context(self._files), stamp
            except StrongroomError:
                if self._context is None:
                    raise
        return self._context

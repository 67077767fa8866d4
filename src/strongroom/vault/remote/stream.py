"""One connection of frames: cuts what comes, gathers what goes, ends at the first nonsense.

Frames of one turn of the event loop leave in one write. A side that writes faster than the other
reads is told to wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from strongroom.vault.remote.frames import Frame, Kind, Malformed, Parser, frame


class Stream(asyncio.Protocol):
    """What both ends of a connection share. Subclasses say what a frame means."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._parser = Parser()
        self._out: list[bytes] = []
        self._written: list[Callable[[], None]] = []
        self._writable = asyncio.Event()
        self._writable.set()
        self._loop = asyncio.get_running_loop()
        self.lost = False
        self._full = False

    # --- for subclasses ---

    def on_frame(self, got: Frame) -> None:
        """Take one frame."""
        raise NotImplementedError

    def on_malformed(self, reason: str) -> None:
        """Hear that the peer sent nonsense; the connection ends."""

    def send(
        self,
        kind: Kind,
        call: int = 0,
        body: bytes = b"",
        *,
        written: Callable[[], None] | None = None,
    ) -> None:
        """Queue a frame for the end of this turn; `written` is called just before it leaves.

        Raises:
            Malformed: it is too large for any peer; nothing was queued.
        """
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame(kind, call, body))
        if written is not None:
            self._written.append(written)

    async def writable(self) -> None:
        """Wait until the other side takes more."""
        await self._writable.wait()

    @property
    def usable(self) -> bool:
        """Whether the connection was open when the loop last looked."""
        transport = self.transport
        return transport is not None and not self.lost and not transport.is_closing()

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self.lost = True
        self._out.clear()
        self._written.clear()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Cut what came into frames."""
        self._parser.feed(data)
        self._take_frames()

    def eof_received(self) -> bool:
        """Close our side too."""
        return False

    def pause_writing(self) -> None:
        """Let senders wait."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._writable.set()

    def pause_frames(self) -> None:
        """Take no more frames, not even those that were read already."""
        self._full = True
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_frames(self) -> None:
        """Take frames again."""
        self._full = False
        self._take_frames()
        if not self._full and self.transport is not None and not self.lost:
            self.transport.resume_reading()

    def _take_frames(self) -> None:
        try:
            while not (self._full or self.lost) and (got := self._parser.next()) is not None:
                self.on_frame(got)
        except Malformed as problem:
            self._full = True
            self.on_malformed(problem.reason)
            self.abort()

    def _flush(self) -> None:
        out, self._out = self._out, []
        written, self._written = self._written, []
        if not out or not self.usable or self.transport is None:
            return
        for leaving in written:
            leaving()
        self.transport.write(b"".join(out))

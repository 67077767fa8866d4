"""A small HTTP/1.1 client that posts JSON to one server and keeps its connection."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import SplitResult, urlsplit

import httptools

_ANSWER_BYTES_MAX = 64 * 1024


class Poster:
    """One connection at a time; a broken one is opened anew for the next post."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._origin = ""

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """Post `body` and return the answer's status, or 0 when there was none."""
        parts = urlsplit(url)
        try:
            async with asyncio.timeout(self._timeout_s):
                reused = await self._connect(parts)
                message = _request(parts, body, headers)
                status = await self._exchange(message)
                if status == 0 and reused:  # the server had closed the idle connection
                    await self._connect(parts)
                    status = await self._exchange(message)
                return status
        except (OSError, TimeoutError, ValueError):
            self.close()
            return 0

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _connect(self, parts: SplitResult) -> bool:
        origin = f"{parts.scheme}://{parts.netloc}"
        if self._streams is not None and origin == self._origin:
            return True
        self.close()
        tls = ssl.create_default_context() if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        self._streams = await asyncio.open_connection(parts.hostname, port, ssl=tls)
        self._origin = origin
        return False

    async def _exchange(self, message: bytes) -> int:
        if self._streams is None:
            return 0
        reader, writer = self._streams
        answer = _Answer()
        try:
            writer.write(message)
            while not answer.complete:
                data = await reader.read(16_384)
                answer.size += len(data)
                if not data or answer.size > _ANSWER_BYTES_MAX:
                    break
                answer.parser.feed_data(data)
        except (ConnectionError, httptools.HttpParserError):
            pass
        if not answer.complete or not answer.parser.should_keep_alive():
            self.close()
        return answer.parser.get_status_code() if answer.begun else 0


class _Answer:
    def __init__(self) -> None:
        self.begun = False
        self.complete = False
        self.size = 0
        self.parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self.begun = True

    def on_message_complete(self) -> None:
        self.complete = True


def _request(parts: SplitResult, body: bytes, headers: dict[str, str]) -> bytes:
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {parts.netloc.rpartition('@')[2]}",
        "Content-Type: application/json",
        "User-Agent: strongroom-sandbox",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body

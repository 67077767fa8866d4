"""Delivers signed events to one URL: at least once, retried, bounded, in no sure order."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final, Literal

import msgspec

from strongroom.gateways.sandbox_server.answers import Json, encode
from strongroom.gateways.sandbox_server.limits import (
    EVENTS_KEPT_MAX,
    EVENTS_QUEUED_MAX,
    REORDER_HOLD_S,
    WEBHOOK_RETRY_DELAYS_S,
    WEBHOOK_SENDERS,
    WEBHOOK_TIMEOUT_S,
)
from strongroom.gateways.sandbox_server.post import Poster

_log = logging.getLogger("strongroom.sandbox")

_URL: Final = r"\Ahttps?://[!-~]{1,2000}\Z"


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST /control/webhook`: where events go; without a URL none are made."""

    url: Annotated[str, msgspec.Meta(pattern=_URL)] | None
    secret: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    events: Literal["all", "async"] = "all"

    def __repr__(self) -> str:
        return f"Target(url={self.url!r})"


class _Delivery(msgspec.Struct):
    body: bytes
    tries: int = 0


def sign(secret: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header `Sandbox-Signature`."""
    signed = f"{timestamp}.".encode() + body
    digest = hmac.digest(secret.encode(), signed, hashlib.sha256).hex()
    return f"t={timestamp},v1={digest}"


class Webhooks:
    """The queue of events and the tasks that deliver them."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.recent: deque[bytes] = deque(maxlen=EVENTS_KEPT_MAX)
        self._queue: asyncio.Queue[_Delivery] = asyncio.Queue()
        self._senders: list[asyncio.Task[None]] = []
        self._disturbance: str | None = None
        self._held: list[_Delivery] = []
        self._open = 0
        self._counts = {"delivered": 0, "failed_tries": 0, "given_up": 0, "dropped": 0}

    def wanted(self, *, told: bool) -> bool:
        """Return whether an event is sent that the caller was `told` of in an answer."""
        if self.target.url is None:
            return False
        return not told or self.target.events == "all" or self._disturbance is not None

    def publish(self, kind: str, data: Json) -> None:
        """Queue one event; a full queue drops and counts it."""
        event = {
            "id": f"evt_{secrets.token_hex(12)}",
            "object": "event",
            "type": kind,
            "created": int(time.time()),
            "data": data,
        }
        body = encode(event)
        self.recent.append(body)
        if self._disturbance == "reorder_webhook":
            self._held.append(_Delivery(body))
            return
        for _ in range(2 if self._disturbance == "duplicate_webhook" else 1):
            self._put(_Delivery(body))

    @contextmanager
    def disturbed(self, disturbance: str | None) -> Iterator[None]:
        """Send the events of what runs inside twice, or late and in reverse order."""
        self._disturbance = disturbance
        try:
            yield
        finally:
            self._disturbance = None
            if self._held:
                held, self._held = self._held[::-1], []
                asyncio.get_running_loop().call_later(REORDER_HOLD_S, self._put_all, held)

    def view(self) -> Json:
        """Return counts and the newest events, newest first."""
        return {
            **self._counts,
            "open": self._open,
            "events": [msgspec.Raw(body) for body in reversed(self.recent)],
        }

    async def drain(self, timeout_s: float) -> None:
        """Give what is open a moment, then stop the senders."""
        deadline = time.monotonic() + timeout_s
        while self._open and self.target.url and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    def _put_all(self, deliveries: list[_Delivery]) -> None:
        for delivery in deliveries:
            self._put(delivery)

    def _put(self, delivery: _Delivery) -> None:
        if self._open >= EVENTS_QUEUED_MAX:
            self._counts["dropped"] += 1
            return
        self._open += 1
        if len(self._senders) < WEBHOOK_SENDERS:
            self._senders.append(asyncio.get_running_loop().create_task(self._send_forever()))
        self._queue.put_nowait(delivery)

    async def _send_forever(self) -> None:
        poster = Poster(timeout_s=WEBHOOK_TIMEOUT_S)
        try:
            while True:
                await self._send(poster, await self._queue.get())
        finally:
            poster.close()

    async def _send(self, poster: Poster, delivery: _Delivery) -> None:
        target = self.target
        if target.url is None:
            self._open -= 1
            return
        headers = {"Sandbox-Signature": sign(target.secret or "", int(time.time()), delivery.body)}
        status = await poster.post(target.url, delivery.body, headers)
        if 200 <= status < 300:
            self._open -= 1
            self._counts["delivered"] += 1
            return
        self._counts["failed_tries"] += 1
        if delivery.tries >= len(WEBHOOK_RETRY_DELAYS_S):
            self._open -= 1
            self._counts["given_up"] += 1
            _log.warning("a webhook was given up after %d tries", delivery.tries + 1)
            return
        delay_s = WEBHOOK_RETRY_DELAYS_S[delivery.tries]
        delivery.tries += 1
        asyncio.get_running_loop().call_later(delay_s, self._queue.put_nowait, delivery)

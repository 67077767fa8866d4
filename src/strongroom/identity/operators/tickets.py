"""Tickets: what a ceremony's answer must bring back. Made without writing, taken once.

A ticket is its contents under a keyed hash. Nothing is stored when one is made, so a flood of
beginnings costs no row; its first use inserts a row first, so of many uses at once one counts.
The challenge of a ticket is derived from its random part and the purpose it was made for: an
assertion made for one action proves nothing of another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime

import msgspec

from strongroom.identity.operators.context import Context
from strongroom.kernel.edge_limits import CEREMONY_BYTES_MAX, CEREMONY_S
from strongroom.kernel.secret import Secret

_NONCE_BYTES = 32
_MAC_BYTES = 32
_TEXT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_DEVICE_BYTES = 32


class Ticket(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A ceremony that began. `about` is the login, account or session; `extra` sealed bytes."""

    kind: str
    nonce: bytes
    until: int
    about: str
    bound: bytes = b""
    extra: bytes = b""

    def __repr__(self) -> str:
        return f"Ticket({self.kind})"

    @property
    def challenge(self) -> bytes:
        """The 32 bytes that the authenticator signs."""
        parts = (b"strongroom ceremony", self.kind.encode(), self.nonce, self.bound)
        return hashlib.sha256(b"".join(len(p).to_bytes(4, "big") + p for p in parts)).digest()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Ticket, strict=True)


async def issue(
    context: Context, kind: str, *, about: str, purpose: bytes = b"", extra: bytes = b""
) -> tuple[Ticket, Secret[str]]:
    """Return a fresh ticket and its text."""
    ticket = Ticket(
        kind=kind,
        nonce=secrets.token_bytes(_NONCE_BYTES),
        until=int(context.clock.now().timestamp()) + CEREMONY_S,
        about=about,
        bound=_bound(purpose),
        extra=extra,
    )
    body = _encoder.encode(ticket)
    mac = await context.keyed(b"ticket", body)
    return ticket, Secret(base64.urlsafe_b64encode(mac + body).rstrip(b"=").decode())


async def redeem(
    context: Context,
    text: Secret[str],
    kind: str,
    *,
    about: str | None = None,
    purpose: bytes = b"",
) -> Ticket | None:
    """Return the ticket and use it up; None when it is forged, over, used or for something else."""
    ticket = await _read(context, text.reveal())
    if ticket is None or ticket.kind != kind or about not in (None, ticket.about):
        return None
    now = context.clock.now()
    if now.timestamp() >= ticket.until or not hmac.compare_digest(ticket.bound, _bound(purpose)):
        return None
    over = datetime.fromtimestamp(ticket.until, UTC)
    first = await context.replays.first_use("operator_ticket", ticket.nonce, expires_at=over)
    return ticket if first else None


async def _read(context: Context, text: str) -> Ticket | None:
    """Return a ticket of ours from its one canonical spelling."""
    if len(text) > CEREMONY_BYTES_MAX or not _TEXT.fullmatch(text):
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        return None
    mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, await context.keyed(b"ticket", body)):
        return None
    return _decoder.decode(body)


def _bound(purpose: bytes) -> bytes:
    return hashlib.sha256(purpose).digest() if purpose else b""


def new_device() -> Secret[str]:
    """Return the secret of a browser that brings none yet; it lives in a cookie of its own."""
    return Secret(secrets.token_urlsafe(_DEVICE_BYTES))


def is_device(device: Secret[str]) -> bool:
    """Return whether a device secret is one that we made: too long to be guessed."""
    text = device.reveal()
    return len(text) == len(secrets.token_urlsafe(_DEVICE_BYTES)) and bool(_TEXT.fullmatch(text))

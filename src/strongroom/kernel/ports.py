"""Protocols that lower rooms need from higher ones; `app.py` hands the implementations in."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """Signs journal checkpoints (Ed25519, RFC 8032)."""

    @property
    def name(self) -> str:
        """The key name that stands in signed notes; no spaces or plus signs."""
        ...

    @property
    def public_key(self) -> bytes:
        """The raw 32-byte public key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature over `data`."""
        ...

"""The types of API keys beyond those that every room sees."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import msgspec

from strongroom.identity.model import KeyView
from strongroom.kernel.secret import Secret


class Hashed(msgspec.Struct, frozen=True, kw_only=True):
    """A key's text as keyed hash under one version of the pepper."""

    pepper_version: int
    digest: bytes

    def __repr__(self) -> str:
        return f"Hashed(v{self.pepper_version})"


Hashes = Callable[[bytes], Sequence[Hashed] | Awaitable[Sequence[Hashed]]]
"""The keyed hashes of a text under every pepper that is in use; new keys are stored under the
first. At once where the peppers are, awaited where they are elsewhere."""


class Rotated(msgspec.Struct, frozen=True, kw_only=True):
    """A key and its successor, both of which work until the former one's `expires_at`."""

    former: KeyView
    successor: KeyView
    secret: Secret[str]


class KeyAge(msgspec.Struct, frozen=True, kw_only=True):
    """How old a living key is, how long it was idle, and what its owner should hear."""

    id: str
    merchant: str | None
    kind: str
    role: str
    owner: str
    hint: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    age_days: int
    idle_days: int
    warnings: tuple[str, ...]


async def hashes_of(hashes: Hashes, text: bytes) -> Sequence[Hashed]:
    """Return the keyed hashes of `text`, the one to store first."""
    found = hashes(text)
    return await found if isinstance(found, Awaitable) else found

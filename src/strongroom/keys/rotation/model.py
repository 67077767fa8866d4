"""A rotation as a row, and what the keys room asks of whoever keeps what its keys sealed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import msgspec

from strongroom.kernel.ids import NIL_UUID

Level = Literal["root", "kek", "dek", "index"]
LEVELS: tuple[Level, ...] = ("root", "kek", "dek", "index")
JobState = Literal["open", "paused", "done", "canceled"]

Report = Callable[[UUID, int, int], Awaitable[bool]]
"""Told the last card of a chunk, how many moved and how many could not; says whether to go on."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One rotation. `owner` is the merchant whose keys rotate, None for all of them."""

    id: UUID
    level: Level
    owner: UUID | None
    state: JobState
    reason: str
    rate: int
    phase: str
    place: bytes | None
    total: int
    done: int
    created_at: datetime
    updated_at: datetime
    problem: str | None
    version: int
    leased: bool = False

    @property
    def target(self) -> str:
        """What rotates; only one job at a time may be open for it."""
        return self.level if self.owner is None else f"{self.level}:{self.owner}"

    @property
    def is_open(self) -> bool:
        """Return whether it still has something to do."""
        return self.state in ("open", "paused")


class Place(msgspec.Struct, frozen=True):
    """How far a job over merchants came: the merchant it is at, and that merchant's last card."""

    merchant: UUID = NIL_UUID
    card: UUID = NIL_UUID

    @classmethod
    def of(cls, data: bytes | None) -> Place:
        """Return the place that `packed` packed; the start when there is none."""
        if data is None:
            return cls()
        return cls(UUID(bytes=data[:16]), UUID(bytes=data[16:]))

    def packed(self) -> bytes:
        """Return the 32 bytes that are stored."""
        return self.merchant.bytes + self.card.bytes


class Cards(Protocol):
    """What is sealed under merchants' keys; the vault has it."""

    async def count(self, level: str, merchant: str | None) -> int:
        """Return how many cards stand under an older key than the newest; of all when None."""
        ...

    async def versions(self, level: str, merchant: str) -> dict[int, int]:
        """Return how many cards of a merchant stand under each version of its key."""
        ...

    async def move(
        self, level: str, merchant: str, *, after: UUID, rate: int, report: Report
    ) -> bool:
        """Move cards after `after` to the newest key; return whether it came to the end."""
        ...

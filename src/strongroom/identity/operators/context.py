"""What every part of operators works with: storage, time, the keyed hash, the keys' narrow side."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from strongroom.identity.operators.model import Refusal, World
from strongroom.identity.refusals import Hasher, Refusals, Refused, hashed
from strongroom.identity.replays import Replays
from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock
from strongroom.kernel.secret import Secret
from strongroom.keys import OneTimeSecret
from strongroom.storage import Change, Committer, Database

_DOMAIN = b"operators\x00"
"""No API key begins so: what is hashed here never equals the hash of a key."""


class OneTimeDesk(Protocol):
    """What is asked of the keys: secrets of one-time codes are made, kept and used there."""

    async def new_one_time_secret(self, operator: str) -> OneTimeSecret:
        """Return a fresh secret: sealed to keep, and in clear to show once."""
        ...

    async def match_one_time_code(
        self, operator: str, sealed: bytes, code: Secret[str]
    ) -> int | None:
        """Return the time step that a code belongs to, or None."""
        ...


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """The surroundings of this package in one process."""

    database: Database
    committer: Committer
    hasher: Hasher
    refusals: Refusals
    replays: Replays
    desk: OneTimeDesk
    clock: Clock
    world: World

    async def keyed(self, domain: bytes, data: bytes) -> bytes:
        """Return a keyed hash of `data`; domains never share values."""
        return await hashed(self.hasher, _DOMAIN + domain + b"\x00" + data)

    def refuse(self, refusal: Refusal, *, subject: str = "none", source: str = "") -> str:
        """Count a refusal for the journal; return its reason for the error's detail."""
        self.refusals.note(
            Refused(
                action="identity:operator:reject",
                reason=refusal.value,
                subject=subject,
                source=source,
            )
        )
        return refusal.value


def note(
    change: Change,
    verb: str,
    subject: str,
    *,
    outcome: str,
    actor: str,
    at: datetime,
    reason: str | None = None,
    facts: Mapping[str, str | int | bool] | None = None,
) -> None:
    """Add the journal entry of a change; it names the person by account only."""
    entry = Entry(
        action=f"identity:operator:{verb}",
        subject=subject,
        outcome=outcome,
        reason=reason,
        facts=dict(facts or {}),
        merchant=None,
        actor=actor,
    )
    record(change, entry, at=at)

"""Journals the head of the ceremonies' transcript, so that its end cannot be cut off unseen."""

from __future__ import annotations

from strongroom.app.compose import House, Role
from strongroom.app.settings import Settings
from strongroom.app.unsealing import TRANSCRIPT, shares_roots
from strongroom.journal import Entry, record
from strongroom.keys.ceremony import head_of
from strongroom.storage import Change


async def record_ceremonies(settings: Settings, *, role: Role = "all") -> None:
    """Journal the head of the transcript of an installation whose root is shared out."""
    roots = shares_roots(settings)
    if not roots:
        return
    async with House(settings, role=role) as house:
        change = Change()
        entry = Entry(
            action="keys:ceremony:record",
            subject=roots[0].root,
            outcome="success",
            merchant=None,
            actor="strongroom",
            facts={
                "transcript_head": head_of(settings.path(TRANSCRIPT)),
                "set": roots[0].shares.set_id,
                "threshold": roots[0].shares.threshold,
                "total": roots[0].shares.total,
            },
        )
        record(change, entry, at=house.clock.now())
        await house.vault_committer.submit(change)

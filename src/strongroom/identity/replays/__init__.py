"""What may be used once: nonces, ids of tokens and proofs, one-time codes.

The first to insert has used it: there is no look before the insert that two could pass together.
A use is durable before anything is done because of it, so a crash can waste a nonce and never
repeat one. Only a SHA-256 of the value is kept, until it has expired; its owner must refuse the
value from that moment on by itself.
"""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from typing import TYPE_CHECKING

from strongroom.identity.replays import records
from strongroom.kernel.edge_limits import (
    REPLAY_KEPT_AFTER_S,
    REPLAY_LIFETIME_MAX_S,
    REPLAY_PURGE_MAX,
    REPLAY_VALUE_MAX_BYTES,
)
from strongroom.storage import Change, Committer, Database, Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from strongroom.kernel.clock import Clock

_KIND = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)


class Replays:
    """Tells the first use of a value from every later one, across all processes.

    Args:
        database: role `strongroom_pay`, for deleting what expired.
        committer: the same role; uses of many requests share a transaction.
        clock: time.
    """

    def __init__(self, database: Database, committer: Committer, clock: Clock) -> None:
        self._database = database
        self._committer = committer
        self._clock = clock

    async def first_use(self, kind: str, value: bytes, *, expires_at: datetime) -> bool:
        """Use a value; return whether nobody has before.

        False, too, for what no honest caller sends: a value without content or too long, one that
        has expired, one that would have to be remembered for longer than a week.

        Args:
            kind: what it is, such as `signature_nonce`: values of different kinds never meet.
            value: what makes it unique, its owner included where two owners may choose the same.
            expires_at: from when on the caller refuses the value without asking here.

        Raises:
            ValueError: `kind` is no name, which is a fault of the program.
            StrongroomError: `storage_unavailable` or `overloaded`; the value must then be refused,
                and may have been used up.
        """
        if not _KIND.fullmatch(kind):
            raise ValueError("a kind of replay is a name in small letters")
        lasts = expires_at - self._clock.now()
        if not timedelta() < lasts <= timedelta(seconds=REPLAY_LIFETIME_MAX_S):
            return False
        if not 0 < len(value) <= REPLAY_VALUE_MAX_BYTES:
            return False
        digest = hashlib.sha256(kind.encode() + b"\x00" + value).digest()
        change = Change()
        records.add_use(change, digest, kind=kind, expires_at=expires_at)
        return await self._committer.submit(change) is Verdict.COMMITTED

    async def purge(self) -> int:
        """Delete what expired a while ago, a bounded number at a time; return how many."""
        before = self._clock.now() - timedelta(seconds=REPLAY_KEPT_AFTER_S)
        return await records.purge(self._database, before=before, at_most=REPLAY_PURGE_MAX)

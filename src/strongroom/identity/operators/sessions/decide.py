"""Pure decisions of sessions: does one count now, from this device?"""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta

from strongroom.identity.operators.model import Refusal, SessionRecord
from strongroom.kernel.edge_limits import SESSION_HOURS, SESSION_IDLE_MINUTES

IDLE = timedelta(minutes=SESSION_IDLE_MINUTES)
LIFETIME = timedelta(hours=SESSION_HOURS)


def refusal_of(
    session: SessionRecord | None, *, device: bytes, seen_at: datetime | None, now: datetime
) -> Refusal | None:
    """Return why a session does not count at `now`, or None when it does.

    Args:
        session: as stored.
        device: the keyed hash of what the browser brings.
        seen_at: a use that this process knows of and may not have written yet.
        now: the time.
    """
    if session is None:
        return Refusal.NO_SESSION
    if not hmac.compare_digest(session.device, device):
        return Refusal.OTHER_DEVICE
    if session.status != "active":
        return Refusal.NOT_ACTIVE
    if session.ended_at is not None or session.started_at <= session.sessions_from:
        return Refusal.ENDED
    if now - session.started_at >= LIFETIME:
        return Refusal.TOO_OLD
    if now - max(session.seen_at, seen_at or session.seen_at) >= IDLE:
        return Refusal.IDLE
    return None

"""The life of a key: its states, which may follow which, and what each may still be used for.

The database says the same (keys/schema/0002_lifecycle.sql); a test compares the two. No I/O.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from strongroom.kernel import limits
from strongroom.keys.model import State

STATES: tuple[State, ...] = ("pre_active", "active", "decrypt_only", "compromised", "destroyed")

NEXT: dict[State, frozenset[State]] = {
    "pre_active": frozenset({"active", "compromised", "destroyed"}),
    "active": frozenset({"decrypt_only", "compromised"}),
    "decrypt_only": frozenset({"compromised", "destroyed"}),
    "compromised": frozenset({"destroyed"}),
    "destroyed": frozenset(),
}
"""State → what it may become. An active key is replaced before it is destroyed; nothing returns."""

_SEALS = frozenset({"active"})
_OPENS = frozenset({"active", "decrypt_only"})
_ROTATES = frozenset({"active", "decrypt_only", "compromised"})


def may_become(state: State, after: State) -> bool:
    """Return whether a key in `state` may become `after`."""
    return after in NEXT[state]


def may_seal(state: str) -> bool:
    """Return whether new data may be sealed, hashed or signed under a key in this state."""
    return state in _SEALS


def may_open(state: str, *, rotating: bool = False) -> bool:
    """Return whether a key in this state opens what it sealed; a compromised one to rotate only."""
    return state in (_ROTATES if rotating else _OPENS)


def period(kind: str, purpose: str) -> timedelta | None:
    """Return the cryptoperiod: how long a key of this kind may be active (SP 800-57pt1r5)."""
    named = purpose if kind in ("service", "record") else kind
    days = limits.CRYPTOPERIOD_DAYS.get(named)
    return None if days is None else timedelta(days=days)


def days_left(kind: str, purpose: str, created_at: datetime, now: datetime) -> int | None:
    """Return how many whole days an active key has left; negative when it is overdue."""
    lasts = period(kind, purpose)
    return None if lasts is None else (created_at + lasts - now) // timedelta(days=1)


def may_destroy(state: State, *, since: datetime, references: int, now: datetime) -> str | None:
    """Return why a key may not be destroyed yet, or None when it may (the retire gate).

    A process may still seal under a key it holds in memory, so a key rests for longer than any
    cache before "nothing refers to it" is believed.
    """
    if not may_become(state, "destroyed"):
        return f"it is {state}"
    if references:
        return f"{references} rows refer to it"
    rest = timedelta(seconds=limits.KEY_CACHE_TTL_S + limits.KEY_REST_S)
    if state != "pre_active" and now < since + rest:
        return f"it rests until {since + rest:%Y-%m-%dT%H:%M:%SZ}"
    return None

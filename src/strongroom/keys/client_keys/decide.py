"""Pure decisions about client keys: which are published, which still open, which are due.

A key is published for 90 days and opens messages for 30 days more. The next one stands beside it a
week before, so that documents which clients keep name it in time. All times follow from what is
signed of a key: when it was made, its state, and since when.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from strongroom.kernel.limits import (
    CLIENT_KEY_AHEAD_S,
    CLIENT_KEY_OVERLAP_S,
    CLIENT_KEY_USE_S,
)
from strongroom.keys.client_keys.model import SUITES, ClientKey
from strongroom.keys.decide import may_open, may_seal
from strongroom.keys.model import StoredKey

_USE = timedelta(seconds=CLIENT_KEY_USE_S)
_OVERLAP = timedelta(seconds=CLIENT_KEY_OVERLAP_S)
_AHEAD = timedelta(seconds=CLIENT_KEY_AHEAD_S)


def with_times(key: StoredKey, kid: str) -> ClientKey:
    """Return a stored key with its times: it ends after 90 days, or earlier when superseded."""
    not_after = key.record.created_at + _USE
    if not may_seal(key.state):
        not_after = min(not_after, key.state_at)
    return ClientKey(key=key, kid=kid, not_after=not_after, retire_after=not_after + _OVERLAP)


def published(keys: Iterable[ClientKey], now: datetime) -> list[ClientKey]:
    """Return the keys that clients may encrypt to: each suite's newest first."""
    usable = [key for key in keys if may_seal(key.key.state) and now < key.not_after]
    return sorted(usable, key=lambda key: (SUITES.index(key.suite), -key.key.record.version))


def opens(key: ClientKey, now: datetime) -> bool:
    """Return whether messages to this key are still taken."""
    return may_open(key.key.state) and now < key.retire_after


def due(keys: Sequence[ClientKey], now: datetime) -> list[tuple[str, int]]:
    """Return suite and version of every key that should be made now."""
    wanted = []
    for suite in SUITES:
        ours = [key for key in keys if key.suite == suite]
        current = published(ours, now)
        if not current or current[0].not_after - now <= _AHEAD:
            wanted.append((suite, next_version(ours, suite)))
    return wanted


def next_version(keys: Iterable[ClientKey], suite: str) -> int:
    """Return the version after the newest of a suite."""
    return 1 + max((key.key.record.version for key in keys if key.suite == suite), default=0)


def ended(keys: Iterable[ClientKey], now: datetime) -> list[ClientKey]:
    """Return the keys that are published no longer and still say that they are active."""
    return [key for key in keys if may_seal(key.key.state) and key.not_after <= now]


def over(keys: Iterable[ClientKey], now: datetime) -> list[ClientKey]:
    """Return the keys whose seed must go: retired or compromised, and not erased yet."""
    return [
        key
        for key in keys
        if key.key.state == "compromised"
        or (key.key.state == "decrypt_only" and key.retire_after <= now)
    ]

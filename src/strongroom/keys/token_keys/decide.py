"""Pure decisions about token keys: which one signs, which verify, what is an access token at all.

The vault's process signs for others. It believes nothing of what they ask: a claim that no access
token of ours has is refused, whoever asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from strongroom.kernel.edge_limits import (
    OAUTH_CLOCK_SKEW_S,
    OAUTH_TOKEN_LIFETIME_S,
    TOKEN_KEY_AHEAD_S,
    TOKEN_KEY_KEPT_S,
    TOKEN_KEY_OVERLAP_S,
    TOKEN_KEY_USE_S,
)
from strongroom.keys.decide import may_open, may_seal
from strongroom.keys.model import StoredKey
from strongroom.keys.token_keys.model import PURPOSE, AccessToken

_ID = "[0-7][0-9a-hjkmnp-tv-z]{25}"
_TOKEN = re.compile(f"oat_{_ID}", re.ASCII)
_CLIENT = re.compile(f"ocl_{_ID}", re.ASCII)
_MERCHANT = re.compile(f"mer_{_ID}", re.ASCII)
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]_~/-]{1,200}", re.ASCII)
_SCOPE = re.compile(r"[a-z_]{1,40}:[a-z_]{1,40}(?: [a-z_]{1,40}:[a-z_]{1,40}){0,99}", re.ASCII)
_THUMBPRINT = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

_USE = timedelta(seconds=TOKEN_KEY_USE_S)
_AHEAD = timedelta(seconds=TOKEN_KEY_AHEAD_S)
_OVERLAP = timedelta(seconds=TOKEN_KEY_OVERLAP_S)
_KEPT = timedelta(seconds=TOKEN_KEY_KEPT_S)


def ours(keys: Iterable[StoredKey]) -> list[StoredKey]:
    """Return the keys that sign access tokens, the newest first."""
    found = [k for k in keys if k.record.kind == "service" and k.record.purpose == PURPOSE]
    return sorted(found, key=lambda key: -key.record.version)


def signing(keys: Sequence[StoredKey]) -> StoredKey | None:
    """Return the key that signs now."""
    return next((key for key in keys if may_seal(key.state)), None)


def until(key: StoredKey) -> datetime:
    """Return when the last token that a key signed is over."""
    end = key.record.created_at + _USE if may_seal(key.state) else key.state_at
    return end + _OVERLAP


def verifying(keys: Iterable[StoredKey], now: datetime) -> list[StoredKey]:
    """Return the keys whose tokens are still taken."""
    return [key for key in keys if may_open(key.state) and now < until(key)]


def is_due(keys: Sequence[StoredKey], now: datetime) -> bool:
    """Return whether a new key must be made."""
    current = signing(keys)
    return current is None or current.record.created_at + _USE - _AHEAD <= now


def over(keys: Iterable[StoredKey], now: datetime) -> list[StoredKey]:
    """Return the keys whose bytes must go: compromised, or replaced a day ago."""
    return [
        key
        for key in keys
        if key.state == "compromised" or (key.state == "decrypt_only" and now >= until(key) + _KEPT)
    ]


def fault(token: AccessToken, now: datetime) -> str | None:
    """Return what keeps something from being an access token, or None when it is one."""
    seconds = int(now.timestamp())
    bound = (token.key_thumbprint, token.certificate_thumbprint)
    given = [thumbprint for thumbprint in bound if thumbprint is not None]
    if len(given) != 1 or not _THUMBPRINT.fullmatch(given[0]):
        return "binding"
    if not (_URL.fullmatch(token.issuer) and token.audience == f"{token.issuer}/v1"):
        return "issuer"
    names = (_TOKEN, token.id), (_CLIENT, token.client), (_MERCHANT, token.merchant)
    if not all(pattern.fullmatch(name) for pattern, name in names):
        return "name"
    if not _SCOPE.fullmatch(token.scope):
        return "scope"
    if abs(token.issued_at - seconds) > OAUTH_CLOCK_SKEW_S:
        return "time"
    return None if token.expires_at == token.issued_at + OAUTH_TOKEN_LIFETIME_S else "lifetime"

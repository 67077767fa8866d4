"""Invitations: a code of 256 bits, kept as a keyed hash, taken once and within its time."""

from __future__ import annotations

import secrets
from datetime import datetime

from strongroom.identity.operators import records
from strongroom.identity.operators.context import Context
from strongroom.identity.operators.model import Account
from strongroom.kernel.secret import Secret

_PREFIX = "sri_"
_CODE_BYTES = 32
_CODE_CHARS = len(_PREFIX) + 43


def new_code() -> Secret[str]:
    """Return a fresh code; it is shown once."""
    return Secret(_PREFIX + secrets.token_urlsafe(_CODE_BYTES))


async def hash_of(context: Context, code: Secret[str]) -> bytes:
    """Return the keyed hash that a code is found by."""
    return await context.keyed(b"invitation", code.reveal().encode())


async def invited(context: Context, code: Secret[str], *, now: datetime) -> Account | None:
    """Return the account that a code is for while it is good; None for every cause alike."""
    if len(code.reveal()) != _CODE_CHARS:
        return None
    account = await records.account_by_invitation(context.database, await hash_of(context, code))
    return account if is_waiting(account, now=now) else None


def is_waiting(account: Account | None, *, now: datetime) -> bool:
    """Return whether an account waits for its person with an invitation that is good."""
    if account is None or account.invite_until is None or now >= account.invite_until:
        return False
    return account.view.status in ("invited", "recovering")

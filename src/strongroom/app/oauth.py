"""Opens OAuth over the rooms of one process, from the settings' `[oauth]` table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Literal

import msgspec

from strongroom.access import ACTIONS
from strongroom.identity import Identity
from strongroom.identity.oauth import OAuth
from strongroom.identity.replays import Replays

if TYPE_CHECKING:
    from strongroom.app.compose import House
    from strongroom.app.settings import Settings


class OAuthSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How clients ask for tokens; `dpop_nonce` says whether proofs must hold a nonce of ours."""

    dpop_nonce: Literal["optional", "required"] = "optional"


def open_oauth(
    house: House,
    identity: Identity,
    replays: Replays,
    hasher: Callable[[bytes], bytes | Awaitable[bytes]],
    stack: AsyncExitStack,
) -> OAuth:
    """Open the authorization server of this process; `stack` closes it."""
    settings = house.settings
    oauth = OAuth(
        house.database,
        house.committer,
        desk=house.desk,
        replays=replays,
        refusals=identity.refusals,
        hasher=hasher,
        issuer=issuer_of(settings),
        mode=settings.mode,
        find_merchant=identity.find_merchant,
        is_revoked=house.trust.is_revoked,
        known_scopes=ACTIONS,
        nonce_required=settings.oauth.dpop_nonce == "required",
        clock=house.clock,
    )
    stack.push_async_callback(oauth.close)
    return oauth


def issuer_of(settings: Settings) -> str | None:
    """Return our identifier: the public address with TLS; in test mode a clear one will do."""
    address = settings.public_url.rstrip("/")
    clear = settings.mode == "test" and address.startswith("http://")
    return address if address.startswith("https://") or clear else None

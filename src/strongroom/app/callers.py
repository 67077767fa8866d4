"""Opens what proves who calls: every kind of credential that this process takes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec

from strongroom.access import ACTIONS
from strongroom.app.elsewhere import RemoteHasher
from strongroom.identity import Callers, Identity
from strongroom.identity.operators import Operators, RelyingParty
from strongroom.identity.replays import Replays

if TYPE_CHECKING:
    from strongroom.app.compose import House


class OpenedCallers(msgspec.Struct, frozen=True, kw_only=True):
    """The doors of identity in this process."""

    identity: Identity
    callers: Callers
    replays: Replays
    operators: Operators


async def open_callers(house: House, stack: AsyncExitStack) -> OpenedCallers:
    """Open identity over the house's storage and keys; `stack` closes it."""
    hasher = (
        house.keyring.api_key_hasher()
        if house.has_keys
        else RemoteHasher(house.desk, clock=house.clock)
    )
    identity = Identity(
        house.database,
        house.committer,
        mode=house.settings.mode,
        hasher=hasher,
        known_scopes=ACTIONS,
        clock=house.clock,
    )
    stack.push_async_callback(identity.close)
    replays = Replays(house.database, house.committer, house.clock)
    operators = Operators(
        house.database,
        house.committer,
        mode=house.settings.mode,
        party=RelyingParty.from_url(house.settings.public_url),
        hasher=hasher,
        refusals=identity.refusals,
        replays=replays,
        desk=house.desk,
        clock=house.clock,
    )
    stack.push_async_callback(operators.close)
    return OpenedCallers(
        identity=identity, callers=Callers(identity), replays=replays, operators=operators
    )

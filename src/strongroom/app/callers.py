"""Opens what proves who calls: every kind of credential that this process takes."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from strongroom.access import ACTIONS
from strongroom.app.elsewhere import RemoteHasher, RemoteHashes, hashed
from strongroom.app.oauth import open_oauth
from strongroom.app.origin import console_origin
from strongroom.identity import Callers, Identity
from strongroom.identity.api_keys import Hashes, Leaks, partner_keys
from strongroom.identity.oauth import OAuth
from strongroom.identity.operators import Operators, RelyingParty
from strongroom.identity.replays import Replays
from strongroom.identity.signatures import SignedRequests
from strongroom.identity.workloads import Workloads
from strongroom.kernel.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.app.compose import House


class OpenedCallers(msgspec.Struct, frozen=True, kw_only=True):
    """The doors of identity in this process."""

    identity: Identity
    callers: Callers
    replays: Replays
    operators: Operators
    signed: SignedRequests
    leaks: Leaks
    oauth: OAuth
    workloads: Workloads


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
        hashes=_hashes(house),
        known_scopes=ACTIONS,
        clock=house.clock,
    )
    stack.push_async_callback(identity.close)
    replays = Replays(house.database, house.committer, house.clock)
    operators = Operators(
        house.database,
        house.committer,
        mode=house.settings.mode,
        party=RelyingParty.from_url(console_origin(house.settings)),
        hasher=hasher,
        refusals=identity.refusals,
        replays=replays,
        desk=house.desk,
        clock=house.clock,
    )
    stack.push_async_callback(operators.close)
    signed = SignedRequests(
        house.database,
        house.committer,
        mode=house.settings.mode,
        known_scopes=ACTIONS,
        require_merchant=identity.find_merchant,
        replays=replays,
        refusals=identity.refusals,
        usage=identity.usage,
        clock=house.clock,
    )
    workloads = Workloads(
        house.database,
        house.committer,
        identity=identity,
        mode=house.settings.mode,
        trust_domain=house.settings.trust_domain,
        is_revoked=house.trust.is_revoked,
        known_scopes=ACTIONS,
        clock=house.clock,
    )
    stack.push_async_callback(workloads.close)
    stack.push_async_callback(signed.close)
    oauth = open_oauth(house, identity, replays, hasher, stack)
    return OpenedCallers(
        identity=identity,
        callers=Callers(identity, signed, oauth.tokens, workloads),
        replays=replays,
        operators=operators,
        signed=signed,
        oauth=oauth,
        workloads=workloads,
        leaks=_leaks(house, identity),
    )


def _leaks(house: House, identity: Identity) -> Leaks:
    file = house.settings.leak_reports.github_keys_file
    return Leaks(
        identity.keys,
        identity.proof,
        mode=house.settings.mode,
        hashes=_hashes(house),
        partners={} if file is None else partner_keys(_text_of(house.settings.path(file))),
        refusals=identity.refusals,
    )


def _text_of(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        raise StrongroomError("settings_invalid", f"{path} cannot be read.") from None


def _hashes(house: House) -> Hashes:
    if not house.has_keys:
        return RemoteHashes(house.desk, clock=house.clock)
    peppers = house.keyring.api_key_hasher()
    return lambda text: hashed(peppers.hashes(text))

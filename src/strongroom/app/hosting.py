"""The vault's face to other processes: listens over mutual TLS, puts refusals into the journal."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from strongroom.app.compose import House
from strongroom.app.settings import VaultListener
from strongroom.identity import Refusals, Refused
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import DRAIN_TIMEOUT_S
from strongroom.keys.certificates import trust_domain
from strongroom.vault.remote import Files, Host, Listener

_FLUSH_S = 1.0
_log = logging.getLogger("strongroom.vault")


@asynccontextmanager
async def serving_vault(
    house: House, listening: socket.socket, *, may_reveal: Collection[str] = ()
) -> AsyncIterator[asyncio.Future[None]]:
    """Answer other processes for the block; yields what never ends by itself.

    Raises:
        StrongroomError: `certificate_unusable`.
    """
    settings = house.settings
    given = settings.vault_listener or VaultListener()
    refusals = Refusals(
        house.vault_committer, clock=house.clock, hasher=house.keyring.api_key_hasher()
    )
    host = Host(
        {"vault": house.vault, "keys": house.desk},
        trust_domain=trust_domain(settings.installation, settings.mode),
        may_reveal={*given.may_reveal, *may_reveal},
        refuse=lambda peer, reason, address: _note(refusals, peer, reason, address),
    )
    files = Files(
        settings.path(given.authority), settings.path(given.certificate), settings.path(given.key)
    )
    listener = await Listener(host, listening, files=files).start()
    flushing = asyncio.create_task(_flush(refusals))
    try:
        yield asyncio.get_running_loop().create_future()
    finally:
        await listener.stop(drain_s=DRAIN_TIMEOUT_S)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
        try:
            await refusals.flush(final=True)
        except StrongroomError as error:
            _log.warning("refused peers are not in the journal: %s", error.code)


def _note(refusals: Refusals, peer: str, reason: str, address: str) -> None:
    refusals.note(Refused(action="vault:peer:refuse", reason=reason, subject=peer, source=address))


async def _flush(refusals: Refusals) -> None:
    while True:
        await asyncio.sleep(_FLUSH_S)
        try:
            await refusals.flush()
        except StrongroomError as error:
            _log.warning("refused peers are not in the journal yet: %s", error.code)

"""The vault's faces to other processes: calls over mutual TLS, and certificates for services.

Whoever is refused, by TLS or after it, is counted into the journal.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager

from strongroom.app.certified import Certified, Here, listener_files
from strongroom.app.compose import House
from strongroom.app.settings import VaultListener
from strongroom.app.workload_settings import Workload, joining_socket
from strongroom.identity import Refusals, Refused
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import DRAIN_TIMEOUT_S
from strongroom.keys.certificates import Joining
from strongroom.vault.remote import Files, Host, JoinHost, Listener, joining_server_context

_FLUSH_S = 1.0
_REVOKED_EVERY_S = 0.2
_log = logging.getLogger("strongroom.vault")


@asynccontextmanager
async def serving_vault(
    house: House,
    listening: socket.socket,
    *,
    joining: socket.socket | None = None,
    may_reveal: Collection[str] = (),
) -> AsyncIterator[asyncio.Future[None]]:
    """Answer other processes for the block; yields what never ends by itself.

    Args:
        joining: where certificates are given; else `[workload] listen` says it, else nowhere.

    Raises:
        StrongroomError: `certificate_unusable`, `start_failed`.
    """
    given = house.settings.vault_listener or VaultListener()
    refusals = Refusals(
        house.vault_committer, clock=house.clock, hasher=house.keyring.api_key_hasher()
    )
    host = Host(
        {"vault": house.vault, "keys": house.desk},
        trust_domain=house.settings.trust_domain,
        may_reveal={*given.may_reveal, *may_reveal},
        refuse=lambda peer, reason, address: _note(refusals, peer, reason, address),
    )
    files = listener_files(house.settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(_last_flush, refusals)
        await _own_certificate(house, files, stack)
        host.end_revoked((await house.trust.now()).revoked)
        listener = await Listener(host, listening, files=files).start()
        stack.push_async_callback(listener.stop, drain_s=DRAIN_TIMEOUT_S)
        await _give_certificates(house, files, joining, refusals, stack)
        _in_background(stack, _flush(refusals))
        _in_background(stack, _follow_revocations(house, host))
        yield asyncio.get_running_loop().create_future()


@asynccontextmanager
async def giving_certificates(house: House) -> AsyncIterator[None]:
    """Give certificates beside the HTTP face for the block, where one process is everything.

    Of several such processes the first one does; the port is its.
    """
    workload = house.settings.workload
    if house.role != "all" or workload is None or workload.listen is None:
        yield
        return
    async with AsyncExitStack() as stack:
        try:
            listening = joining_socket(workload.listen)
        except StrongroomError as error:
            _log.warning("%s", error.public)
            yield
            return
        files = listener_files(house.settings)
        await _own_certificate(house, files, stack)
        await _give_certificates(house, files, listening, house.identity.refusals, stack)
        yield


async def _own_certificate(house: House, files: Files, stack: AsyncExitStack) -> None:
    """Have a good certificate, and keep it good; one that somebody issued for days stays."""
    workload = house.settings.workload or Workload()
    if workload.source == "spire":
        from strongroom.app.spire import following

        await stack.enter_async_context(following(house.settings, files))
        return
    certificates = house.keyring.certificates()
    own = Certified(
        "vault",
        files,
        Here(certificates, service="vault", life_s=workload.life_s),
        trust=certificates.trust,
        clock=house.clock,
    )
    await own.ensure()
    _in_background(stack, own.run())


async def _give_certificates(
    house: House,
    files: Files,
    listening: socket.socket | None,
    refusals: Refusals,
    stack: AsyncExitStack,
) -> None:
    """Give services their certificates where the settings say so."""
    workload = house.settings.workload or Workload()
    if listening is None and workload.listen is not None and workload.source == "embedded":
        listening = joining_socket(workload.listen)
    if listening is None:
        return
    certificates = house.keyring.certificates()
    face = JoinHost(
        Joining(
            certificates,
            house.vault_database,
            house.vault_committer,
            life_s=workload.life_s,
            clock=house.clock,
        ),
        house.trust.now,
        trust_domain=house.settings.trust_domain,
        refuse=lambda peer, reason, address: _note(
            refusals, peer, reason, address, action="vault:join:refuse"
        ),
    )
    listener = Listener(face, listening, files=files, context=joining_server_context)
    await listener.start()
    stack.push_async_callback(listener.stop)


def _in_background(stack: AsyncExitStack, work: Coroutine[object, object, None]) -> None:
    task = asyncio.create_task(work)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


async def _last_flush(refusals: Refusals) -> None:
    try:
        await refusals.flush(final=True)
    except StrongroomError as error:
        _log.warning("refused peers are not in the journal: %s", error.code)


def _note(
    refusals: Refusals, peer: str, reason: str, address: str, *, action: str = "vault:peer:refuse"
) -> None:
    refusals.note(Refused(action=action, reason=reason, subject=peer, source=address))


async def _follow_revocations(house: House, host: Host) -> None:
    """End the connections of peers whose certificates were revoked; let nobody in unasked."""
    while True:
        try:
            host.end_revoked((await house.trust.now()).revoked)
        except StrongroomError as error:
            host.blind = True
            _log.warning("revocations cannot be read: %s", error.code)
        await asyncio.sleep(_REVOKED_EVERY_S)


async def _flush(refusals: Refusals) -> None:
    while True:
        await asyncio.sleep(_FLUSH_S)
        try:
            await refusals.flush()
        except StrongroomError as error:
            _log.warning("refused peers are not in the journal yet: %s", error.code)

"""A SPIFFE Workload API (SPIRE) in place of the embedded authority: follows it into files.

Bounded: it gives this process its certificate, key and trusted authorities, and nothing else is
asked of it. The first SVID must be of the settings' trust domain. Needs the extra
`strongroom[spire]`. Revocation stays ours besides SPIRE's short lives.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from strongroom.app.certified import write_files
from strongroom.app.settings import Settings
from strongroom.app.workload_settings import Workload
from strongroom.kernel.errors import StrongroomError
from strongroom.keys.certificates import files_of, service_of
from strongroom.vault.remote import Files

if TYPE_CHECKING:
    from spiffe import WorkloadApiClient
    from spiffe.workloadapi.x509_context import X509Context

FIRST_S = 10.0
_AGAIN_S = 1.0
_log = logging.getLogger("strongroom.certificates")


@asynccontextmanager
async def following(settings: Settings, files: Files) -> AsyncIterator[None]:
    """Keep the files as the Workload API says, for the block; they are there when it begins.

    Raises:
        StrongroomError: `workload_api_unusable`.
    """
    workload = settings.workload or Workload()
    client = _client(workload.spire_socket)
    try:
        found = await asyncio.to_thread(_first, client)
        _write(found, settings.trust_domain, files)
        following = asyncio.create_task(_follow(client, settings.trust_domain, files))
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    finally:
        await asyncio.to_thread(client.close)


def _client(socket: str) -> WorkloadApiClient:
    try:
        from spiffe import WorkloadApiClient
    except ImportError:
        raise _unusable("needs the extra: pip install strongroom[spire]") from None
    try:
        return WorkloadApiClient(socket)
    except Exception as error:  # noqa: BLE001 (the library has one for each way to be wrong)
        raise _unusable(f"cannot be used: {type(error).__name__}") from None


def _first(client: WorkloadApiClient) -> X509Context:
    try:
        return client.fetch_x509_context(timeout=FIRST_S)
    except Exception as error:  # noqa: BLE001 (as above)
        raise _unusable(f"gives no certificate: {type(error).__name__}") from None


async def _follow(client: WorkloadApiClient, trust_domain: str, files: Files) -> None:
    """Write each update; the library reconnects by itself, and old files stay until then."""
    loop = asyncio.get_running_loop()
    updates: asyncio.Queue[X509Context] = asyncio.Queue(maxsize=8)

    def put(found: X509Context) -> None:
        with suppress(asyncio.QueueFull):
            updates.put_nowait(found)

    def came(found: X509Context) -> None:
        loop.call_soon_threadsafe(put, found)

    def failed(error: Exception) -> None:
        _log.warning("the Workload API: %s", type(error).__name__)

    stream = client.stream_x509_contexts(came, on_error=failed)
    try:
        while True:
            found = await updates.get()
            try:
                _write(found, trust_domain, files)
            except StrongroomError as error:
                _log.error("not taken: %s", error.public)
    finally:
        stream.cancel()


def _write(found: X509Context, trust_domain: str, files: Files) -> None:
    svid = found.default_svid
    name = str(svid.spiffe_id)
    if service_of(name, trust_domain) is None:
        raise _unusable(f"gives {name[:200]}, which is no service of {trust_domain}")
    bundle = found.x509_bundle_set.get_bundle_for_trust_domain(svid.spiffe_id.trust_domain)
    if bundle is None or not bundle.x509_authorities:
        raise _unusable("gives no authorities")
    made = files_of(svid.cert_chain, bundle.x509_authorities, svid.private_key)
    write_files(files, made.certificate, made.key, authorities=made.authorities)


def _unusable(problem: str) -> StrongroomError:
    return StrongroomError("workload_api_unusable", f"The Workload API {problem}.")

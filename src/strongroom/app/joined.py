"""Certificates of services that are not ours, on any host: joined and renewed by command."""

from __future__ import annotations

import asyncio
from pathlib import Path

from strongroom.app.certified import Certified, There, write_signed
from strongroom.app.settings import address_of
from strongroom.kernel.clock import SystemClock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret
from strongroom.keys.certificates import Own, make_request, read_own
from strongroom.vault.remote import Files, join

TICK_S = 15.0
"""Services on other hosts look this often: well within the overlap of two authorities."""


def join_by_hand(authority: str, token: Secret[str], directory: Path) -> Own:
    """Exchange a join token for the files of a service on any host.

    Raises:
        StrongroomError: `join_refused`, `join_token_unreadable`, `not_the_vault`,
            `vault_unavailable`.
    """
    files = files_in(directory)
    key, request = make_request("service")
    made = asyncio.run(
        join(*address_of(authority), token=token, trust_domain=None, request=request)
    )
    write_signed(files, made, key)
    return read_own(files.certificate.read_text("utf-8"))


def keep_by_hand(authority: str, directory: Path, *, keep: bool) -> Own:
    """Renew the files of a service when half their life is over; with `keep`, until stopped.

    Raises:
        StrongroomError: `certificate_unusable`, `join_refused`, `vault_unavailable`.
    """
    files = files_in(directory)
    try:
        own = read_own(files.certificate.read_text("utf-8"))
    except (OSError, ValueError):
        raise StrongroomError(
            "certificate_unusable",
            f"There is no certificate in {directory}. Run: strongroom workload join",
        ) from None
    domain = own.spiffe_id.removeprefix("spiffe://").split("/")[0]
    source = There(
        address_of(authority),
        files=files,
        token_file=directory / "join.token",
        trust_domain=domain,
    )
    service = own.spiffe_id.rpartition("/")[2]
    held = Certified(service, files, source, trust=source.trust, clock=SystemClock())
    if keep:
        asyncio.run(held.run(tick_s=TICK_S))
    asyncio.run(held.ensure())
    return read_own(files.certificate.read_text("utf-8"))


def files_in(directory: Path) -> Files:
    """Return the files of a service: `ca.pem`, and certificate with key in `service.pem`."""
    own = directory / "service.pem"
    return Files(directory / "ca.pem", own, own)

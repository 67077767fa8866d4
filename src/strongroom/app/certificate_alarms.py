"""When certificates end: the metrics that are watched, and what `doctor` says."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from strongroom.app.certified import caller_files, is_late, listener_files
from strongroom.kernel.edge_limits import AUTHORITY_WARN_DAYS
from strongroom.keys.certificates import Certificates, Own, read_own
from strongroom.vault.remote import Files

if TYPE_CHECKING:
    from strongroom.app.compose import House

_LASTING = timedelta(days=1, minutes=10)
_LASTING_WARN = timedelta(days=14)
_AUTHORITY_WARN = timedelta(days=AUTHORITY_WARN_DAYS)


class CertificateAlarm(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a certificate, and how to mend it."""

    status: Literal["warn", "fail"]
    told: str
    mend: str


def watch_certificates(house: House) -> None:
    """Show how long certificates are still good among the metrics of this process."""
    watch = house.metrics.watch
    if house.certified is not None:
        watch(
            "certificate_seconds_left",
            "How long this process's own certificate is still good.",
            house.certified.seconds_left,
        )
    if house.has_keys:
        certificates = house.keyring.certificates()

        async def days_left() -> float:
            end = (await certificates.authority()).not_valid_after_utc
            return (end - house.clock.now()) / timedelta(days=1)

        watch("authority_days_left", "Days until the authority's certificate ends.", days_left)


async def certificate_alarms(house: House) -> tuple[str, list[CertificateAlarm]]:
    """Return how many certificates are good, in words, and what is wrong."""
    now = house.clock.now()
    alarms = _own_alarms(house, now)
    if not house.has_keys:
        return "this process's own certificate is good", alarms
    certificates = house.keyring.certificates()
    told, more = await _listed_alarms(certificates, now)
    return told, [*alarms, *more]


async def _listed_alarms(
    certificates: Certificates, now: datetime
) -> tuple[str, list[CertificateAlarm]]:
    end = (await certificates.authority()).not_valid_after_utc
    good = await certificates.inventory()
    alarms = []
    if end - now < _AUTHORITY_WARN:
        alarms.append(
            CertificateAlarm(
                status="warn",
                told=f"the authority's certificate ends on {end:%Y-%m-%d}",
                mend="Run: strongroom certificates rotate-authority",
            )
        )
    for one in good:
        if one.role != "authority" and one.life > _LASTING and one.expires_at - now < _LASTING_WARN:
            alarms.append(
                CertificateAlarm(
                    status="warn",
                    told=f"{one.spiffe_id} ends on {one.expires_at:%Y-%m-%d}, by hand renewed",
                    mend="Issue it anew, or let it join: docs/operations/workload-identity.md.",
                )
            )
    services = {one.role for one in good} - {"authority"}
    return f"{len(good)} good, of {len(services)} services; authority until {end:%Y-%m-%d}", alarms


def _own_alarms(house: House, now: datetime) -> list[CertificateAlarm]:
    files = _files(house)
    if files is None:
        return []
    own = _read(files)
    if own is None:
        return []  # not joined yet, or never apart
    left = own.expires_at - now
    mend = "Look whether the vault answers, and into its journal for vault:join:refuse."
    if left <= timedelta(0):
        told = f"{own.spiffe_id} ended at {own.expires_at:%Y-%m-%d %H:%M} UTC"
        return [CertificateAlarm(status="warn", told=told, mend=mend)]
    if is_late(own, house.clock):
        minutes = left / timedelta(minutes=1)
        told = f"{own.spiffe_id} ends in {minutes:.0f} minutes and was not renewed"
        return [CertificateAlarm(status="fail", told=told, mend=mend)]
    return []


def _files(house: House) -> Files | None:
    if house.settings.vault is not None:
        return caller_files(house.settings)
    return listener_files(house.settings)


def _read(files: Files) -> Own | None:
    try:
        return read_own(files.certificate.read_text("utf-8"))
    except (OSError, ValueError):
        return None

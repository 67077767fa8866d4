"""Opens what counts requests: the shared counters, this process's leases, the limiter."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from strongroom.api import Limiter, Limits
from strongroom.app import limit_settings
from strongroom.app.databases import target
from strongroom.app.limit_settings import LimitSettings
from strongroom.storage import Database
from strongroom.storage.counters import Counters, Leases, PostgresCounters

if TYPE_CHECKING:
    from strongroom.app.compose import House

_CONNECTIONS = 1
"""Calls are batched: one at a time is under way."""


async def open_leases(house: House, stack: AsyncExitStack) -> Leases:
    """Open the shared counters and this process's part of them; `stack` closes both."""
    settings, given = house.settings, house.settings.limits
    counters: Counters
    if given.valkey_url_file is not None:
        from strongroom.storage.counters.valkey import ValkeyCounters  # a driver few need

        ca_file = given.valkey_ca_file
        valkey = ValkeyCounters(
            settings.secret(given.valkey_url_file),
            prefix=f"strongroom:{settings.installation}:",
            ca_file=None if ca_file is None else str(settings.path(ca_file)),
        )
        stack.push_async_callback(valkey.close)
        counters = valkey
    else:
        database = Database(target(settings, "strongroom_pay"), size=_CONNECTIONS)
        await database.open()
        stack.push_async_callback(database.close)
        counters = PostgresCounters(database)
    leases = Leases(counters, clock=house.clock)
    stack.push_async_callback(leases.close)
    house.metrics.watch(
        "limits_alone",
        "1 while the shared counters cannot be reached and this process counts by itself.",
        lambda: float(leases.alone),
    )
    return leases


def limiter(house: House, leases: Leases) -> Limiter:
    """Return the limiter of the HTTP face."""
    return Limiter(
        leases,
        limits(house.settings.limits),
        metrics=house.metrics,
        refusals=house.identity.refusals,
    )


def limits(given: LimitSettings) -> Limits:
    """Return the rules in force.

    Raises:
        StrongroomError: `settings_invalid`.
    """
    return Limits(
        key=limit_settings.rule("key", given.key),
        merchant=limit_settings.rule("merchant", given.merchant),
        address=limit_settings.rule("address", given.address),
        events=limit_settings.rule("events", given.events),
        refused=limit_settings.rule("refused", given.refused),
        key_quota=limit_settings.quota("key_per_day", given.key_per_day),
        merchant_quota=limit_settings.quota("merchant_per_day", given.merchant_per_day),
        routes=limit_settings.routes(given.routes),
        merchant_at_once=given.merchant_at_once,
    )

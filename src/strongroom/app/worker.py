"""What a process does besides answering: sequencing, recovery, purging, flushing, each its role's.

Every loop keeps going when a round fails; what failed is logged by its code, never with values.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from strongroom.app.compose import House
from strongroom.app.scanning import EVERY_S, run_apart
from strongroom.kernel import edge_limits, limits
from strongroom.kernel.errors import StrongroomError

_log = logging.getLogger("strongroom.worker")

RECOVERY_S = 0.5
PURGE_S = 300.0
REPLAYS_S = 30.0
OPERATORS_S = 300.0
IDLE_KEYS_S = 600.0
REFUSALS_S = 1.0
USAGE_S = 10.0
ROTATION_S = 1.0
CRYPTOPERIODS_S = 60.0
FOUR_EYES_S = 60.0
SCAN_S = 600.0
"""How often a daily scan is thought of, and how long after a start the first one is."""


class Workers:
    """The background loops of one process."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._tasks: list[asyncio.Task[None]] = []
        self._sequencing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start every loop that is this role's."""
        house = self._house
        self._tasks = [asyncio.create_task(house.readiness.run())]
        if house.has_keys:
            self._sequencing = asyncio.create_task(house.sequencer.run())
            self._tasks += [
                _every(limits.KEY_REFRESH_S, "keys", house.keyring.refresh),
                _every(ROTATION_S, "rotation", house.rotation.work),
                _every(CRYPTOPERIODS_S, "cryptoperiods", house.rotation.start_overdue),
                _every(PURGE_S, "purge_cards", house.vault.purge_expired),
            ]
        if house.certified is not None:
            self._tasks.append(asyncio.create_task(house.certified.run()))
        if house.role != "vault":
            self._tasks.append(_every(REFUSALS_S, "refusals", house.identity.flush_refusals))
        if house.role in ("all", "api"):
            self._tasks += [
                _every(USAGE_S, "usage", house.identity.flush_usage),
                _every(USAGE_S, "sessions", house.operators.flush_usage),
                _every(edge_limits.LEASE_S, "leases", house.leases.give_back),
                _every(PURGE_S, "purge_counters", house.leases.purge),
            ]
        if house.role in ("all", "worker"):
            self._tasks += [
                _every(RECOVERY_S, "recovery", house.payments.recover),
                _every(FOUR_EYES_S, "four_eyes", house.approvals.expire),
                _every(PURGE_S, "purge_payments", house.payments.purge),
                _every(REPLAYS_S, "purge_replays", house.replays.purge),
                _every(OPERATORS_S, "operators", house.operators.work),
                _every(IDLE_KEYS_S, "idle_keys", house.identity.keys.disable_idle),
                _every(IDLE_KEYS_S, "idle_signing_keys", house.signed.keys.disable_idle),
                _every(REPLAYS_S, "purge_tokens", house.oauth.purge),
            ]
        if house.has_keys and house.settings.has_every_login:
            self._tasks.append(_every(SCAN_S, "scan", self._scan, first_s=SCAN_S))

    async def _scan(self) -> None:
        """Hunt for leaks once a day, in a process of its own; one of all processes does it."""
        house = self._house
        if house.role == "vault" or await house.detection.is_due(every_s=EVERY_S):
            await run_apart(house.settings)  # looks itself whether it is due

    async def stop(self) -> None:
        """Stop the loops; the sequencer finishes its step and what is pending is flushed."""
        house = self._house
        if self._sequencing is not None:
            house.sequencer.stop()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        if self._sequencing is not None:
            await asyncio.wait([self._sequencing], timeout=5)
        if house.role == "vault":
            return
        try:
            await house.identity.flush_refusals(final=True)
            await house.identity.flush_usage()
            await house.operators.flush_usage()
        except StrongroomError as error:
            _log.warning("flush failed: %s", error.code)


def _every(
    seconds: float, name: str, work: Callable[[], Awaitable[object]], *, first_s: float = 0.0
) -> asyncio.Task[None]:
    async def loop() -> None:
        await asyncio.sleep(first_s)
        while True:
            try:
                await work()
            except StrongroomError as error:
                _log.warning("%s failed: %s %s", name, error.code, error.detail)
            except Exception as error:  # noqa: BLE001 (a loop outlives any failed round)
                _log.error("%s failed: %s", name, type(error).__name__)
            await asyncio.sleep(seconds)

    return asyncio.create_task(loop())

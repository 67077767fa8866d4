"""A circuit breaker for each gateway: when it cannot be reached, callers are told at once.

Only certain failures count (nothing was sent); an unclear outcome is recovery's business. While the
circuit is open nothing is written and no card is stored. After the pause one failure opens it anew.
"""

from __future__ import annotations

from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError

FAILURES_TO_OPEN = 5
OPEN_S = 2.0


class Breaker:
    """Counts how often in a row each gateway could not be reached by this process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, int] = {}
        self._open_until: dict[str, float] = {}

    def check(self, gateway: str) -> None:
        """Raise `gateway_unavailable` while the circuit of a gateway is open."""
        if self._clock.monotonic() < self._open_until.get(gateway, 0.0):
            raise StrongroomError(
                "gateway_unavailable",
                "The payment gateway cannot be reached right now. Nothing was charged; try again.",
                detail="circuit open",
                retryable=True,
                retry_after_s=2,
            )

    def reached(self, gateway: str) -> None:
        """Note that a gateway was reached, whatever it answered."""
        if gateway in self._failures:
            del self._failures[gateway]

    def failed(self, gateway: str) -> None:
        """Note that a gateway could not be reached."""
        failures = self._failures[gateway] = self._failures.get(gateway, 0) + 1
        if failures >= FAILURES_TO_OPEN:
            self._open_until[gateway] = self._clock.monotonic() + OPEN_S

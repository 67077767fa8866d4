"""Faults that the gateway shows on demand: by card number, request header, or armed beforehand."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from strongroom.gateways.sandbox_server.errors import invalid
from strongroom.gateways.sandbox_server.limits import (
    ARMED_FAULTS_MAX,
    FAULT_MS_MAX,
    HUGE_BYTES,
    HUGE_BYTES_MAX,
)

Operation = Literal["charge", "capture", "void", "release", "refund", "inquiry"]

_VALUES: Final[dict[str, tuple[int, int, int]]] = {
    "slow": (1, 2_000, FAULT_MS_MAX),
    "error": (400, 500, 599),
    "error_after": (400, 500, 599),
    "timeout_after": (1, 60_000, FAULT_MS_MAX),
    "huge": (1, HUGE_BYTES, HUGE_BYTES_MAX),
    "slow_drip": (1, 20, 10_000),
    "reset_before": (0, 0, 0),
    "reset_after": (0, 0, 0),
    "garbage": (0, 0, 0),
    "truncated": (0, 0, 0),
    "wrong_amount": (0, 0, 0),
    "wrong_currency": (0, 0, 0),
    "duplicate_webhook": (0, 0, 0),
    "reorder_webhook": (0, 0, 0),
}
"""Fault → smallest, default and largest value."""


class Fault(msgspec.Struct, frozen=True):
    """One fault with its value (milliseconds, bytes or a status)."""

    name: str
    value: int


class Arming(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`POST /control/faults`."""

    operation: Operation | Literal["any"]
    fault: str
    times: int = 1


def parse(text: str, *, param: str) -> Fault:
    """Read `name` or `name=value`."""
    name, _, value = text.strip().partition("=")
    if name not in _VALUES:
        raise invalid(f"Unknown fault; known are {', '.join(sorted(_VALUES))}.", param=param)
    low, default, high = _VALUES[name]
    if not value:
        return Fault(name, default)
    if not (value.isascii() and value.isdigit() and low <= int(value[:10]) <= high):
        raise invalid(f"The value of {name} must be {low} to {high}.", param=param)
    return Fault(name, int(value))


class ArmedFaults:
    """Faults that wait for the next calls of an operation, first armed first used."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, Fault, int]] = []

    def arm(self, arming: Arming) -> None:
        """Let the next `times` calls of an operation have a fault."""
        fault = parse(arming.fault, param="fault")
        if not 1 <= arming.times <= 1_000_000:
            raise invalid("times must be 1 to 1000000.", param="times")
        if len(self._waiting) >= ARMED_FAULTS_MAX:
            raise invalid(f"At most {ARMED_FAULTS_MAX} faults may wait.")
        self._waiting.append((arming.operation, fault, arming.times))

    def take(self, operation: Operation) -> Fault | None:
        """Return the fault for this call and count it down."""
        for at, (wanted, fault, times) in enumerate(self._waiting):
            if wanted in (operation, "any"):
                self._waiting[at] = (wanted, fault, times - 1)
                if times == 1:
                    del self._waiting[at]
                return fault
        return None

    def clear(self) -> None:
        """Disarm everything."""
        self._waiting.clear()

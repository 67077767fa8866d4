"""Errors of connections that leave the house: refused by our rules, or failed on the way.

Callers read neither the address nor the reason: they could map the network with them.
"""

from __future__ import annotations

from strongroom.kernel.errors import StrongroomError


class EgressRefused(StrongroomError):
    """Our rules do not allow the request; nothing was sent."""

    def __init__(self, detail: str) -> None:
        super().__init__("egress_refused", "The address may not be called.", detail=detail)


class EgressFailed(StrongroomError):
    """The request may be made, but there was no usable answer; it may have arrived."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            "egress_failed",
            "The address gave no usable answer.",
            detail=detail,
            retryable=True,
            retry_after_s=5,
        )


def egress_misconfigured(origin: str, problem: str) -> StrongroomError:
    """Return `egress_misconfigured`: an origin in the settings cannot be used."""
    return StrongroomError("egress_misconfigured", f"The origin {origin} {problem}.")

"""What leaves the house towards a gateway, a request with slots for card data, and its answer.

Connectors build `OutboundRequest`s without ever seeing card data; `Vault.forward` fills the slots,
sends, and hands back a scrubbed `GatewayAnswer`.
"""

from __future__ import annotations

import enum
from pathlib import Path

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret


class Slot(enum.Enum):
    """A place in a request body that the vault fills with card data."""

    NUMBER = "number"
    EXP_MONTH = "exp_month"
    EXP_YEAR = "exp_year"
    CVC = "cvc"
    HOLDER_NAME = "holder_name"


class Encoding(enum.Enum):
    """How slot values are escaped inside the body."""

    JSON = "json"
    FORM = "form"


class OutboundRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One gateway call.

    `body` is text pieces and slots in order. A piece may also be a pair `(prefix, slot)`: prefix
    and value are left out together when the card has no such value (an absent CVC or holder name).
    JSON slots are filled with a complete JSON value (quotes included; month and year are numbers),
    form slots percent-encoded.

    `repeatable` says that the gateway counts this call once however often it arrives: it carries an
    idempotency key that the gateway honors, or it only reads. `forward` sends a repeatable call a
    second time when a kept-alive connection breaks before the first byte of an answer; it never
    sends any other call twice.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str | Secret[str]], ...] = ()
    body: tuple[str | Slot | tuple[str, Slot], ...] = ()
    encoding: Encoding = Encoding.JSON
    timeout_ms: int = 20_000
    repeatable: bool = False


class GatewayAnswer(msgspec.Struct, frozen=True):
    """What the gateway said: status, lower-case headers of interest and the scrubbed body."""

    status: int
    body: bytes
    retry_after_s: int | None = None
    headers: dict[str, str] = {}


class EgressPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Where `forward` may send: origins such as `https://api.stripe.com`, and nothing else.

    `origins` must resolve to public addresses only. `private_origins` may be inside the network or
    on this machine; plain `http` is taken only there, only for loopback, only in test mode.
    `ca_file` replaces the system's certificate authorities.
    """

    origins: tuple[str, ...] = ()
    private_origins: tuple[str, ...] = ()
    ca_file: Path | None = None


class NotSent(StrongroomError):
    """The request certainly did not reach the gateway (refused, no route, TLS, not allowed)."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            "gateway_unavailable",
            "The payment gateway cannot be reached right now.",
            detail=detail,
            retryable=True,
            retry_after_s=5,
        )


class OutcomeUnknown(StrongroomError):
    """The request may have reached the gateway; only an inquiry can tell what became of it."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            "gateway_outcome_unknown",
            "The payment gateway did not answer in time; the outcome is being looked up.",
            detail=detail,
            retryable=True,
            retry_after_s=5,
        )

"""A gateway account as configured: checked when it is made, so that a wrong one never starts."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from strongroom.gateways.signing import begins_with, is_header_safe
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.secret import Secret

_NAME = re.compile(r"\A[a-z][a-z0-9-]{0,31}\Z")
_ORIGIN = re.compile(r"\A(https?)://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?\Z")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_LIVE_KEYS = ("sk_live_", "rk_live_")
_TEST_KEYS = ("sk_test_", "rk_test_")


class GatewayAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One account at one gateway.

    `base_url` is an origin without a path: https, or http on loopback for a test account. `name`
    is stored with every payment and never reused for another account.

    Raises:
        StrongroomError: `gateway_misconfigured`; `param` names the setting.
    """

    name: str
    connector: Literal["sandbox", "stripe"]
    base_url: str
    secret: Secret[str]
    webhook_secrets: tuple[Secret[str], ...] = ()
    live: bool = False

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise _wrong("name", "must be 1 to 32 of a-z, 0-9 and -, beginning with a letter")
        self._check_origin()
        if not is_header_safe(self.secret):
            raise _wrong("secret", "must be visible ASCII and not empty")
        if not all(is_header_safe(secret) for secret in self.webhook_secrets):
            raise _wrong("webhook_secrets", "must be visible ASCII and not empty")
        if self.live and self.connector == "sandbox":
            raise _wrong("live", "must be false: the sandbox takes test cards only")
        keys = _LIVE_KEYS if self.live else _TEST_KEYS
        if self.connector == "stripe" and not begins_with(self.secret, keys):
            raise _wrong("secret", "must be a key of the account's mode")

    def _check_origin(self) -> None:
        if not _ORIGIN.match(self.base_url):
            raise _wrong("base_url", "must be an origin such as https://api.stripe.com")
        parts = urlsplit(self.base_url)
        plain = parts.scheme == "http"
        if plain and (self.live or parts.hostname not in _LOOPBACK):
            raise _wrong("base_url", "must be https (http only on loopback, in test mode)")


def _wrong(setting: str, rule: str) -> StrongroomError:
    return StrongroomError(
        "gateway_misconfigured", f"The gateway setting '{setting}' {rule}.", param=setting
    )

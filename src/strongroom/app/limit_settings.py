"""The `[limits]` table of the settings: how often callers may call."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from strongroom.kernel.errors import StrongroomError
from strongroom.storage.counters import Rule

_RATE = re.compile(r"([1-9][0-9]{0,8})/(s|min|h|day)(?: burst ([1-9][0-9]{0,8}))?", re.ASCII)
_SECONDS = {"s": 1, "min": 60, "h": 3_600, "day": 86_400}
_DAY_S = 86_400
_ROUTE = re.compile(r"(?:GET|POST|DELETE|PUT|PATCH) /[A-Za-z0-9_{}/.-]{1,200}", re.ASCII)


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates are `100/s`, `600/min burst 50`, `5/h` or `1000/day`; without a burst it is the units.

    `key` and `merchant` hold whoever proved who they are, `address` those who did not and
    publishable keys, `events` the gateways, `refused` addresses whose credentials are refused.
    Quotas count a UTC day; 0 is none.
    """

    key: str = "2000/s burst 4000"
    merchant: str = "5000/s burst 10000"
    address: str = "50/s burst 500"
    events: str = "5000/s"
    refused: str = "100/s burst 1000"
    key_per_day: int = 0
    merchant_per_day: int = 0
    merchant_at_once: int = 512
    routes: Mapping[str, str] = {}
    valkey_url_file: str | None = None
    valkey_ca_file: str | None = None


def rule(name: str, text: str) -> Rule:
    """Return the rule that a rate is written as.

    Raises:
        StrongroomError: `settings_invalid`.
    """
    found = _RATE.fullmatch(text)
    if found is None:
        raise _invalid(f"{name} must be a rate such as '100/s burst 200'")
    units = int(found[1])
    return Rule(name=name, units=units, per_s=_SECONDS[found[2]], burst=int(found[3] or units))


def quota(name: str, units: int) -> Rule | None:
    """Return the rule of a quota a day, None for 0.

    Raises:
        StrongroomError: `settings_invalid`.
    """
    if not 0 <= units <= 2_000_000_000:
        raise _invalid(f"{name} must be 0 to 2000000000")
    return Rule(name=name, units=units, per_s=_DAY_S) if units else None


def routes(given: Mapping[str, str]) -> dict[str, Rule]:
    """Return the rules of single routes, by `METHOD /path`.

    Raises:
        StrongroomError: `settings_invalid`.
    """
    for name in given:
        if _ROUTE.fullmatch(name) is None:
            raise _invalid("routes must be named as 'POST /v1/payments'")
    return {name: rule("route", text) for name, text in given.items()}


def _invalid(what: str) -> StrongroomError:
    return StrongroomError("settings_invalid", f"[limits] {what}.")

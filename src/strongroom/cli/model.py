"""The types of the commands."""

from __future__ import annotations

from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """What `doctor` found: `told` says what is, `mend` what to do when it is not well."""

    check: str
    status: Literal["ok", "warn", "fail"]
    told: str
    mend: str = ""


def ok(check: str, told: str) -> Finding:
    """Return a finding of something well."""
    return Finding(check, "ok", told)


def warn(check: str, told: str, mend: str) -> Finding:
    """Return a finding of something to look after."""
    return Finding(check, "warn", told, mend)


def fail(check: str, told: str, mend: str) -> Finding:
    """Return a finding of something that must be mended."""
    return Finding(check, "fail", told, mend)

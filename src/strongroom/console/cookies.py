"""The two cookies of the console: one names the session, one the browser it is bound to.

Both carry the `__Host-` prefix, so no other host and no other path can set them, and both are
Secure, HttpOnly and SameSite=Strict in every mode: browsers count loopback as a secure place, so
trying the console out on this machine needs no weaker cookies.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from strongroom.console import errors
from strongroom.kernel.secret import Secret

SESSION = "__Host-strongroom-session"
DEVICE = "__Host-strongroom-device"

_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict"
_DEVICE_AGE_S = 34_560_000
"""400 days, the longest that browsers keep a cookie."""

_VALUE = re.compile(r"[A-Za-z0-9_.~-]{1,512}", re.ASCII)
_READ = (SESSION, DEVICE)

Pair = tuple[bytes, bytes]


class Cookies:
    """The values that a request brought. Has no telling `repr`."""

    __slots__ = ("device", "session")

    def __init__(self, session: Secret[str] | None, device: Secret[str] | None) -> None:
        self.session = session
        self.device = device


def read(raw: Iterable[Pair]) -> Cookies:
    """Return the console's cookies of a request.

    Raises:
        StrongroomError: `duplicate_header` when one of them stands twice.
    """
    found: dict[str, Secret[str]] = {}
    for name, value in raw:
        if name != b"cookie":
            continue
        for part in value.decode("latin-1").split(";"):
            key, equals, text = part.strip(" ").partition("=")
            if key not in _READ or not equals:
                continue
            if key in found:
                raise errors.duplicate_cookie()
            if _VALUE.fullmatch(text):
                found[key] = Secret(text)
    return Cookies(found.get(SESSION), found.get(DEVICE))


def session(value: Secret[str]) -> Pair:
    """Return the header that begins a session; the browser forgets it when it closes."""
    return _set(f"{SESSION}={value.reveal()}; {_ATTRIBUTES}")


def device(value: Secret[str]) -> Pair:
    """Return the header that names this browser."""
    return _set(f"{DEVICE}={value.reveal()}; Max-Age={_DEVICE_AGE_S}; {_ATTRIBUTES}")


def ended() -> Pair:
    """Return the header that takes the session away."""
    return _set(f"{SESSION}=; Max-Age=0; {_ATTRIBUTES}")


def _set(text: str) -> Pair:
    return b"set-cookie", text.encode("ascii")

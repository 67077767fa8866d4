"""Where the console is: the one origin that passkeys and single sign-on are bound to."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from strongroom.kernel.errors import StrongroomError

if TYPE_CHECKING:
    from strongroom.app.settings import Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PORTS = {"https": 443, "http": 80}


def console_origin(settings: Settings) -> str:
    """Return the one origin of the console, from `console_url` or `public_url`.

    This machine's address becomes its name, because passkeys are bound to names; browsers count
    `http://localhost` as a secure place, so the console can be tried out without a certificate.

    Raises:
        StrongroomError: `settings_invalid`.
    """
    url = settings.console_url or settings.public_url or "http://localhost:8080"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid("is no URL") from None
    host = parts.hostname or ""
    if parts.scheme not in _PORTS or not host or not host.isascii():
        raise _invalid("must be https://HOST, in ASCII")
    if host in LOOPBACK:
        host = "localhost"
    elif parts.scheme != "https" and settings.console_url:
        raise _invalid("must begin with https://")
    shown = "" if port in (None, _PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def _invalid(what: str) -> StrongroomError:
    return StrongroomError("settings_invalid", f"console_url or public_url {what}")

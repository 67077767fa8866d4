"""Pure decisions at the console's door: is this our host, did our own page send this form?

Three locks, each enough by itself: cookies that only come along from our own site, the browser's
word where a request comes from (Origin, Sec-Fetch-Site), and a token that only our pages know.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from strongroom.console import errors
from strongroom.kernel.secret import Secret

_NAVIGATION = {(b"navigate", b"document"), (b"navigate", b"empty")}
_OWN = (b"same-origin", b"none")
_LOOPBACK = ("127.0.0.1", "[::1]")
_SEEN = frozenset(
    {b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"content-type"}
)


class Seen(msgspec.Struct, frozen=True):
    """What a browser says of where a request comes from; None where it says nothing."""

    host: bytes | None = None
    origin: bytes | None = None
    site: bytes | None = None
    mode: bytes | None = None
    dest: bytes | None = None
    content_type: bytes | None = None


def seen(raw: Iterable[tuple[bytes, bytes]]) -> Seen:
    """Return those headers; one that stands twice counts as a wrong one."""
    found: dict[bytes, bytes] = {}
    for name, value in raw:
        if name in _SEEN:
            found[name] = b"\0" if name in found else value
    return Seen(
        host=found.get(b"host"),
        origin=found.get(b"origin"),
        site=found.get(b"sec-fetch-site"),
        mode=found.get(b"sec-fetch-mode"),
        dest=found.get(b"sec-fetch-dest"),
        content_type=found.get(b"content-type"),
    )


def authority_of(origin: str) -> bytes:
    """Return the Host header of the console's own origin."""
    return urlsplit(origin).netloc.encode("ascii")


def is_loopback_address(host: bytes | None, origin: str) -> bool:
    """Whether the host is this machine's address where the console wants its name.

    Passkeys are bound to a name; `http://127.0.0.1:…` is sent on to `http://localhost:…`.
    """
    own = urlsplit(origin)
    if host is None or own.scheme != "http" or own.hostname != "localhost":
        return False
    name, _, port = host.decode("latin-1").rpartition(":")
    return name in _LOOPBACK and port == str(own.port)


def check_reading(given: Seen) -> None:
    """Refuse what another site loads as anything but a page that a person opens.

    Raises:
        StrongroomError: `console_cross_site`.
    """
    if given.site is None or given.site in _OWN:
        return
    if (given.mode, given.dest) not in _NAVIGATION:
        raise errors.cross_site()


def check_sending(given: Seen, *, origin: str) -> None:
    """Refuse a form unless the browser says that a page of this very origin sent it.

    Raises:
        StrongroomError: `console_cross_site`.
    """
    if given.site is not None and given.site != b"same-origin":
        raise errors.cross_site()
    if given.origin is None and given.site is None:
        raise errors.cross_site()
    if given.origin is not None and given.origin != origin.encode("ascii"):
        raise errors.cross_site()


def form_token(device: Secret[str], session: Secret[str] | None) -> str:
    """Return the token of this browser's forms in this session; it follows from both cookies."""
    named = b"" if session is None else session.reveal().encode()
    digest = hmac.digest(device.reveal().encode(), b"console form\0" + named, hashlib.sha256)
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def check_token(given: str, device: Secret[str], session: Secret[str] | None) -> None:
    """Refuse a form without the token of this session.

    Raises:
        StrongroomError: `console_cross_site`.
    """
    if not hmac.compare_digest(given.encode(), form_token(device, session).encode()):
        raise errors.cross_site()


def purpose_of(*parts: str) -> bytes:
    """Return what a person confirms: a digest of the action and everything it is done with."""
    digest = hashlib.sha256(b"console purpose\0")
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()

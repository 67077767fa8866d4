"""Request headers that mean something here, and the headers every answer carries."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from strongroom.api import errors
from strongroom.kernel.limits import IDEMPOTENCY_KEY_MAX_CHARS

VERSIONS = ("2026-11-23",)
"""Published versions of the API, newest first; a caller pins one with `Strongroom-Version`."""

JSON = b"application/json"
PROBLEM = b"application/problem+json"

API_CSP = b"default-src 'none'; frame-ancestors 'none'"
PAGE_CSP = (
    b"default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'"
)
HSTS = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")

_ALWAYS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"strongroom-version", VERSIONS[0].encode()),
)
SECURITY = [*_ALWAYS, (b"content-security-policy", API_CSP)]
PAGE_SECURITY = [
    *_ALWAYS,
    (b"content-security-policy", PAGE_CSP),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
]


def kept(seconds: int) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer that the caller may keep for so long: mostly not at all."""
    if seconds <= 0:
        return SECURITY
    return [(b"cache-control", b"private, max-age=%d" % seconds), *SECURITY[1:]]


_FIELDS = {
    b"authorization": "authorization",
    b"content-type": "content_type",
    b"content-length": "content_length",
    b"transfer-encoding": "transfer_encoding",
    b"idempotency-key": "idempotency_key",
    b"strongroom-merchant": "merchant",
    b"strongroom-approval": "approval",
    b"strongroom-version": "version",
    b"origin": "origin",
    b"access-control-request-method": "preflight",
    b"client-cert": "client_cert",
}
_VISIBLE = frozenset(chr(code) for code in range(0x21, 0x7F))


class RequestHeaders(msgspec.Struct):
    """The headers that are read, as text. `repr` shows no values: one of them is a credential."""

    authorization: str | None = None
    content_type: str | None = None
    content_length: str | None = None
    transfer_encoding: str | None = None
    idempotency_key: str | None = None
    merchant: str | None = None
    approval: str | None = None
    version: str | None = None
    origin: str | None = None
    preflight: str | None = None
    client_cert: str | None = None

    def __repr__(self) -> str:
        return "RequestHeaders(…)"

    @property
    def has_body(self) -> bool:
        """Whether the request says that it brings a body."""
        return self.content_length not in (None, "0") or self.transfer_encoding is not None


def read(raw: Iterable[tuple[bytes, bytes]]) -> RequestHeaders:
    """Return the headers of a request.

    Raises:
        StrongroomError: `duplicate_header` when one that may stand once stands twice.
    """
    found = RequestHeaders()
    for name, value in raw:
        field = _FIELDS.get(name)
        if field is None:
            continue
        if getattr(found, field) is not None:
            raise errors.duplicate_header(name.decode())
        setattr(found, field, value.decode("latin-1"))
    return found


def check_json(content_type: str | None) -> None:
    """Refuse any media type but JSON, and any charset but UTF-8 (RFC 8259 section 8.1)."""
    if content_type == "application/json":
        return
    media, _, parameters = (content_type or "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if media.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise errors.media_type()


def check_version(version: str | None) -> None:
    """Refuse a version that was never published."""
    if version is not None and version not in VERSIONS:
        raise errors.unsupported_version()


def idempotency_key(value: str | None) -> str:
    """Return the key of an Idempotency-Key header: an RFC 8941 string, or a bare token.

    Raises:
        StrongroomError: `idempotency_key_missing`, `idempotency_key_invalid`.
    """
    if value is None:
        raise errors.key_missing()
    key = _unquoted(value) if value.startswith('"') else value
    if not 1 <= len(key) <= IDEMPOTENCY_KEY_MAX_CHARS or not _VISIBLE.issuperset(key):
        raise errors.key_invalid()
    return key


def _unquoted(value: str) -> str:
    if len(value) < 2 or not value.endswith('"'):
        raise errors.key_invalid()
    text, escaped = "", False
    for char in value[1:-1]:
        if escaped and char not in '"\\':
            raise errors.key_invalid()
        if not escaped and char == '"':
            raise errors.key_invalid()
        escaped = not escaped and char == "\\"
        text += "" if escaped else char
    if escaped:
        raise errors.key_invalid()
    return text

"""The headers of every page: nothing loads, runs, frames or is sent but what this console serves.

`same-origin` as referrer policy is on purpose: under `no-referrer` browsers send `Origin: null`
with our own forms, and the check of the origin would have nothing to check.
"""

from __future__ import annotations

Pair = tuple[bytes, bytes]

CSP = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    b"require-trusted-types-for 'script'; trusted-types 'none'"
)
_PERMISSIONS = (
    b"publickey-credentials-get=(self), publickey-credentials-create=(self), camera=(), "
    b"clipboard-read=(), display-capture=(), geolocation=(), hid=(), microphone=(), payment=(), "
    b"serial=(), usb=()"
)
_ALWAYS: tuple[Pair, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", CSP),
    (b"permissions-policy", _PERMISSIONS),
)
PAGE: tuple[Pair, ...] = (*_ALWAYS, (b"cache-control", b"no-store"))
ASSET: tuple[Pair, ...] = (
    *_ALWAYS,
    (b"cache-control", b"public, max-age=31536000, immutable"),
)
HSTS: Pair = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")
HTML = b"text/html; charset=utf-8"

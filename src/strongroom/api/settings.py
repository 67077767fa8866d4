"""How the HTTP face behaves: what app.py hands in."""

from __future__ import annotations

from typing import Literal

import msgspec

from strongroom.kernel.limits import REQUEST_TIMEOUT_S


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the edge behaves.

    `behind_tls`: callers reach us over TLS, ours or that of a proxy in front. `proxy_networks` are
    trusted to say who calls, in `proxy_header`; `proxy_certificates` says that they verify client
    certificates and hand them on (RFC 9440).
    """

    mode: Literal["test", "live"]
    cors_origins: tuple[str, ...] = ()
    public_url: str = ""
    behind_tls: bool = False
    concurrency_max: int = 1024
    request_timeout_s: float = REQUEST_TIMEOUT_S
    proxy_networks: tuple[str, ...] = ()
    proxy_header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    proxy_certificates: bool = False

"""The types of connections that leave the house: what is allowed, where to, what came back."""

from __future__ import annotations

from pathlib import Path

import msgspec

DEFAULT_PORTS = {"https": 443, "http": 80}


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests may go; by default nowhere.

    `origins` such as `https://api.stripe.com` must resolve to public addresses only.
    `private_origins` may be inside the network or on this machine, and these very origins only.
    `any_public` opens every other https origin with public addresses, at `ports`: for addresses
    that callers set. `plain_loopback` lets a private origin on this machine be plain http, for
    tests. `ca_file` replaces the system's certificate authorities.
    """

    origins: tuple[str, ...] = ()
    private_origins: tuple[str, ...] = ()
    ca_file: Path | None = None
    any_public: bool = False
    ports: frozenset[int] = frozenset({443})
    plain_loopback: bool = False


class Origin(msgspec.Struct, frozen=True):
    """One scheme, host and port that requests may go to."""

    scheme: str
    host: str
    port: int
    private: bool = False

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        default = self.port == DEFAULT_PORTS[self.scheme]
        return self.host if default else f"{self.host}:{self.port}"

    @property
    def name(self) -> str:
        """The host as the resolver and TLS want it: an IPv6 address without its brackets."""
        return self.host.strip("[]")


class Response(msgspec.Struct, frozen=True):
    """An answer: lower-case headers, and the body as it came. A redirect is just an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"

"""What a request shows of its sender, and the ways to prove who that is.

Each kind of credential has one `Authenticator`. A request must bring exactly one kind: two might
name two callers, and whoever checks the weaker one would be fooled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from strongroom.identity.model import Principal

IsRevoked = Callable[[frozenset[bytes]], Awaitable[bool]]
"""Whether a certificate with one of these serial numbers was revoked; raises when it cannot be
known."""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """The client certificate of a TLS connection that was verified, ours or a proxy's word for it.

    `thumbprint` is the SHA-256 of its DER form (RFC 8705 `x5t#S256`); `spiffe_id` is its one URI
    name when it has one and the certificate chains to our authority; `serials` are then the serial
    numbers of the certificate and of that authority, by which both may be revoked.
    """

    thumbprint: bytes
    spiffe_id: str | None = None
    certificate: bytes = b""
    serials: frozenset[bytes] = frozenset()

    def __repr__(self) -> str:
        return f"Peer({self.spiffe_id})"


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A request before anything of its body is read. Its `repr` shows no credential.

    `target` is the absolute URI that the caller asked for (RFC 9421 `@target-uri`), `headers` are
    the names in lower case with their values in order, `source` the caller's address, `merchant`
    the one an operator names, `peer` the client certificate.
    """

    method: str
    target: str
    headers: Sequence[tuple[bytes, bytes]] = ()
    authorization: str | None = None
    merchant: str | None = None
    source: str = ""
    peer: Peer | None = None

    def __repr__(self) -> str:
        return f"Arrival({self.method})"

    def header(self, name: bytes) -> str | None:
        """Return a header's value; None when it is absent or stands more than once."""
        found = [value for given, value in self.headers if given == name]
        return found[0].decode("latin-1") if len(found) == 1 else None


class Authenticated(msgspec.Struct, frozen=True, kw_only=True):
    """A proved caller. `content_digest` is the SHA-256 that the request's body must have."""

    principal: Principal
    content_digest: bytes | None = None


class Authenticator(Protocol):
    """One kind of credential."""

    def claims(self, arrival: Arrival) -> bool:
        """Whether the request brings this kind, good or bad. No I/O."""
        ...

    async def authenticate(self, arrival: Arrival) -> Authenticated:
        """Return who sent it.

        Raises:
            StrongroomError: `unauthenticated` and its kin; `storage_unavailable` or `overloaded`
                when it cannot be known now.
        """
        ...

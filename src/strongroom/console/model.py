"""The types of the console: its settings, the doors it stands on, an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol

import msgspec

from strongroom.access import Authorizer
from strongroom.access.approvals import Approvals
from strongroom.console.headers import HTML
from strongroom.identity import Identity
from strongroom.identity.oidc import Oidc
from strongroom.identity.operators import Operators

Scope = MutableMapping[str, Any]


class Told(msgspec.Struct, frozen=True):
    """An error as a visitor may see it: the HTTP status and one sentence."""

    status: int
    code: str
    public: str
    retry_s: int | None = None


class ConsoleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the console is. `origin` is the only one whose forms and host name it takes."""

    origin: str
    live: bool
    behind_tls: bool = False


class Front(Protocol):
    """What the faces of this process share and `app` hands in."""

    def source_of(self, scope: Scope) -> str:
        """Return the address that a request comes from."""
        ...

    async def admit(self, source: str) -> str:
        """Count a form that somebody unknown sends; raises `rate_limited`.

        Returns whom the address stands for: itself, or its /64 in IPv6.
        """
        ...

    def told(self, error: Exception, *, request: str, route: str) -> Told:
        """Return an error as a visitor may see it; log it when it is our side's fault."""
        ...


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """The doors of the rooms below."""

    identity: Identity
    operators: Operators
    approvals: Approvals
    authorizer: Authorizer
    oidc: Oidc | None


class Reply(msgspec.Struct, frozen=True):
    """An answer to a browser."""

    status: int
    body: bytes = b""
    media: bytes = HTML
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"


def redirect(path: str, *headers: tuple[bytes, bytes]) -> Reply:
    """Return a redirect to a page of ours; a browser always goes there with GET."""
    return Reply(303, headers=((b"location", path.encode("ascii")), *headers))


Values = Mapping[str, Any]
Render = Callable[[str, Values], bytes]

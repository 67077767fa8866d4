"""Puts the console beside the API in one process: one socket, two faces, each its own paths."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from strongroom.api import Api
from strongroom.app.origin import LOOPBACK, console_origin
from strongroom.console import Console, ConsoleSettings, Services, Told
from strongroom.identity.oidc import Oidc, OidcSpec
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import DRAIN_TIMEOUT_S
from strongroom.kernel.networks import network_of
from strongroom.outbound import Client, Policy
from strongroom.storage.counters import Leases, Rule

if TYPE_CHECKING:
    from strongroom.app.compose import House

CONSOLE = "/console"
_STRANGERS = Rule(name="console", units=60, per_s=60, burst=120)
"""Forms of one address before anybody is signed in: an office behind one address signs in at nine,
a guesser gets one try a second before the lock of the account even counts."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def open_oidc(house: House) -> Oidc | None:
    """Open sign-in by the provider of the settings, where there is one."""
    settings, spec = house.settings, house.settings.oidc
    if spec is None:
        return None
    live = settings.mode == "live"
    secret = None if spec.client_secret_file is None else settings.secret(spec.client_secret_file)
    return Oidc(
        spec,
        Client(_policy(spec, settings.path, live=live), clock=house.clock),
        house.database,
        house.committer,
        replays=house.replays,
        refusals=house.identity.refusals,
        redirect_uri=console_origin(settings) + CONSOLE + "/sso/callback",
        secret=secret,
        live=live,
        clock=house.clock,
    )


def _policy(spec: OidcSpec, path: Callable[[str], Path], *, live: bool) -> Policy:
    """Return where sign-in may go: to the provider's origins and nowhere else."""
    parts = urlsplit(spec.issuer)
    origins = (f"{parts.scheme}://{parts.netloc}", *spec.origins)
    near = spec.private_network or (not live and parts.hostname in LOOPBACK)
    return Policy(
        origins=() if near else origins,
        private_origins=origins if near else (),
        ca_file=None if spec.ca_file is None else path(spec.ca_file),
        plain_loopback=not live,
    )


class HouseFront:
    """What the console shares with the API: addresses, error codes, the log, the counters."""

    def __init__(self, api: Api, leases: Leases) -> None:
        self._api = api
        self._leases = leases

    def source_of(self, scope: Scope) -> str:
        """Return the address that a request comes from."""
        return self._api.source_of(scope)

    async def admit(self, source: str) -> str:
        """Count a form that somebody unknown sends; raises `rate_limited`."""
        whom = network_of(source)
        key = blake2b(b"console\0" + whom.encode(), digest_size=16).digest()
        spent = await self._leases.spend([(key, _STRANGERS)])
        if not spent.allowed:
            raise StrongroomError(
                "rate_limited",
                "Too many forms from this address. Wait a little.",
                retryable=True,
                retry_after_s=max(1, int(spent.wait_s)),
            )
        return whom

    def told(self, error: Exception, *, request: str, route: str) -> Told:
        """Return an error as a visitor may see it; log it when it is our side's fault."""
        status, shown = self._api.told(error, request=request, route=route)
        return Told(status, shown.code, shown.public, shown.retry_after_s)


def open_console(house: House, api: Api) -> Console:
    """Return the console over the house's doors."""
    settings = house.settings
    return Console(
        Services(
            identity=house.identity,
            operators=house.operators,
            approvals=house.approvals,
            authorizer=house.authorizer,
            oidc=open_oidc(house),
        ),
        ConsoleSettings(
            origin=console_origin(settings),
            live=settings.mode == "live",
            behind_tls=console_origin(settings).startswith("https:"),
        ),
        HouseFront(api, house.leases),
    )


class Faces:
    """The HTTP faces of one process (ASGI 3): `/console` and below, and the API for the rest."""

    def __init__(self, api: Api, console: Console) -> None:
        self.api = api
        self.console = console

    def trusts(self, address: str) -> bool:
        """Whether connections from this address are a proxy's that the settings trust."""
        return self.api.trusts(address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request to the face whose path it is."""
        path = scope["raw_path"].decode("latin-1") if scope["type"] == "http" else ""
        if (path == CONSOLE or path.startswith(CONSOLE + "/")) and not self.api.draining:
            await self.console(scope, receive, send)
        else:
            await self.api(scope, receive, send)

    async def drain(self, timeout_s: float = DRAIN_TIMEOUT_S) -> bool:
        """Refuse new requests and wait for those under way; True when all of them ended."""
        done = await self.api.drain(timeout_s)
        return await self.console.idle(timeout_s) and done

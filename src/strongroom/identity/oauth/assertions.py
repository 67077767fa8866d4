"""Clients prove themselves by `private_key_jwt` (RFC 7523) and by nothing else.

The assertion is signed by a key that the client was registered with, for us alone, for minutes,
and is used once. What a client sends beside it, a secret or a second way, is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime

from strongroom.identity.arrivals import Arrival
from strongroom.identity.oauth import decide, errors, jose
from strongroom.identity.oauth.clients import Clients
from strongroom.identity.oauth.model import ASSERTION_TYPE, ClientRecord, Form, Known
from strongroom.identity.refusals import Refusals, Refused
from strongroom.identity.replays import Replays
from strongroom.kernel.clock import Clock
from strongroom.kernel.edge_limits import OAUTH_CLOCK_SKEW_S

_MEMBERS = frozenset({"alg", "kid", "typ"})
_TYPES = (None, "JWT", "client-authentication+jwt")
"""What client libraries write; a token, a proof or an ID token of a stranger is something else."""


class Assertions:
    """Checks assertions of clients and uses them up.

    Args:
        clients: whose keys count.
        replays: what may be used once.
        refusals: counts who was refused.
        issuer: our identifier, the one audience that is taken.
        clock: time.
    """

    def __init__(
        self,
        clients: Clients,
        replays: Replays,
        refusals: Refusals,
        *,
        issuer: str,
        clock: Clock,
    ) -> None:
        self._clients = clients
        self._replays = replays
        self._refusals = refusals
        self._issuer = issuer
        self._clock = clock

    async def read(self, form: Form, arrival: Arrival) -> Known:
        """Return the client that a form's assertion proves; use it up with `use`.

        Raises:
            StrongroomError: `invalid_request`, `invalid_client`; `storage_unavailable` or
                `overloaded` when it cannot be known now.
        """
        text = form.client_assertion
        if form.client_secret is not None or arrival.authorization is not None:
            raise errors.invalid_request("Clients prove themselves by client_assertion alone.")
        if text is None or form.client_assertion_type != ASSERTION_TYPE:
            raise errors.invalid_request(
                f"Send client_assertion with the client_assertion_type {ASSERTION_TYPE}."
            )
        client: ClientRecord | None = None
        try:
            jws = jose.read(text, members=_MEMBERS, types=_TYPES)
            now = self._clock.now()
            _refuse(decide.assertion_fault(jws.claims, issuer=self._issuer, now=now))
            if form.client_id not in (None, jws.claims["sub"]):
                raise jose.Refused("client_id")
            client = await self._clients.find(jws.claims["sub"])
            if client is None:
                raise jose.Refused("unknown")
            jose.verify(jws, _key_of(client, jws, now))
            _refuse(decide.client_fault(client, now))
            over = jws.claims["exp"] + OAUTH_CLOCK_SKEW_S
            return Known(
                client=client,
                assertion_id=f"{client.id}.{jws.claims['jti']}".encode("ascii"),
                expires_at=datetime.fromtimestamp(over, UTC),
            )
        except jose.Refused as refused:
            reason = refused.reason
        raise self._refused(reason, client, arrival)

    async def use(self, known: Known, arrival: Arrival) -> None:
        """Use an assertion up.

        Raises:
            StrongroomError: `invalid_client` when it was used before.
        """
        first = await self._replays.first_use(
            "client_assertion", known.assertion_id, expires_at=known.expires_at
        )
        if not first:
            raise self._refused("replayed", known.client, arrival)

    def _refused(self, reason: str, client: ClientRecord | None, arrival: Arrival) -> Exception:
        self._refusals.note(
            Refused(
                action="identity:oauth_client:reject",
                reason=reason,
                subject="none" if client is None else client.id,
                merchant=None if client is None else client.merchant,
                source=arrival.source,
            )
        )
        return errors.invalid_client(reason)


def _refuse(fault: str | None) -> None:
    if fault is not None:
        raise jose.Refused(fault)


def _key_of(client: ClientRecord, jws: jose.Jws, now: datetime) -> jose.PublicKey:
    """Return the client's key that an assertion names; one that names none has one choice."""
    good = {kid: jwk for kid, ends, jwk in client.keys if ends is None or now < ends}
    kid = jws.header.get("kid")
    if kid is None and len(good) == 1:
        kid = next(iter(good))
    if type(kid) is not str or kid not in good:
        raise jose.Refused("key_unknown")
    return jose.public_key(good[kid])

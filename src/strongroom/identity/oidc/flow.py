"""The verbs of sign-in by a provider: depart, arrive, link an identity to an operator, end a link.

An identity is `(iss, sub)` and nothing else; a mail address never decides who somebody is. Nothing
is created by arriving: somebody who has no account here does not get one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta

from strongroom.identity.oidc import decide, errors, records, tokens
from strongroom.identity.oidc.decide import Attempt
from strongroom.identity.oidc.model import (
    Arrived,
    Callback,
    Departure,
    OidcSpec,
    Purpose,
    Refusal,
)
from strongroom.identity.oidc.provider import Directory, Http
from strongroom.identity.oidc.records import Link
from strongroom.identity.refusals import Refusals, Refused
from strongroom.identity.replays import Replays
from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock
from strongroom.kernel.edge_limits import (
    OIDC_CODE_MAX_CHARS,
    OIDC_LINKS_MAX,
    OIDC_LOGIN_S,
    OIDC_SKEW_S,
)
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import new_id, uuid_of
from strongroom.kernel.secret import Secret
from strongroom.storage import Change, Committer, ConstraintViolated, Database, Verdict


class Oidc:
    """Sign-in by the provider of the settings.

    Args:
        spec: the `[oidc]` table.
        http: `strongroom.outbound`'s client, allowed to reach the provider only.
        database: role `strongroom_pay`.
        committer: the same role, with the journal's marker.
        replays: what was used once.
        refusals: where refused sign-ins are counted.
        redirect_uri: where the provider sends browsers back to; registered there.
        secret: the client's, when it has one.
        live: the live world: then every URL is https.

    Raises:
        StrongroomError: `settings_invalid`; the program must not start.
    """

    def __init__(
        self,
        spec: OidcSpec,
        http: Http,
        database: Database,
        committer: Committer,
        *,
        replays: Replays,
        refusals: Refusals,
        redirect_uri: str,
        secret: Secret[str] | None,
        live: bool,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._spec = decide.check_spec(spec, live=live)
        self._directory = Directory(http, spec, live=live, clock=clock)
        self._database = database
        self._committer = committer
        self._replays = replays
        self._refusals = refusals
        self._redirect_uri = redirect_uri
        self._secret = secret
        self._clock = clock
        self._random_bytes = random_bytes

    @property
    def name(self) -> str:
        """What the provider is called on the sign-in page."""
        return self._spec.name

    async def depart(self, device: Secret[bytes], purpose: Purpose) -> Departure:
        """Begin a sign-in in the browser that holds `device`; nothing is stored.

        Raises:
            StrongroomError: `sso_unavailable`.
        """
        provider = await self._directory.provider()
        attempt = decide.started(
            device, purpose, random=self._random_bytes(16), now=self._clock.now()
        )
        return Departure(
            decide.authorization_url(provider, self._spec, attempt, redirect_uri=self._redirect_uri)
        )

    async def arrive(self, device: Secret[bytes], callback: Callback, *, source: str) -> Arrived:
        """Return whom the provider vouches for, once for each departure of the same browser.

        Raises:
            StrongroomError: `sso_refused`; `sso_unavailable`.
        """
        try:
            return await self._arrive(device, callback)
        except StrongroomError as error:
            if error.code == "sso_refused":
                self._refuse(error.detail, source=source)
            raise

    async def _arrive(self, device: Secret[bytes], callback: Callback) -> Arrived:
        now = self._clock.now()
        attempt = decide.resumed(device, callback, now=now)
        ends = attempt.started_at + timedelta(seconds=OIDC_LOGIN_S + OIDC_SKEW_S)
        if not await self._replays.first_use("oidc_state", attempt.state.encode(), expires_at=ends):
            raise errors.refused(Refusal.REPLAYED)
        decide.check_issuer(callback, await self._directory.provider())
        if callback.error or not 1 <= len(callback.code) <= OIDC_CODE_MAX_CHARS:
            raise errors.refused(Refusal.DENIED)
        token = await self._directory.trade(
            callback.code, attempt, redirect_uri=self._redirect_uri, secret=self._secret
        )
        claims = decide.claims_of(
            await self._claims_in(token, attempt),
            self._spec,
            started_at=attempt.started_at,
            now=self._clock.now(),
        )
        link = await records.find(self._database, claims.iss, claims.sub)
        return Arrived(
            purpose=attempt.purpose,
            issuer=claims.iss,
            subject=claims.sub,
            operator=None if link is None else link.operator,
            role=decide.role_of(claims, self._spec),
            aal=decide.aal_of(claims, self._spec),
            at=claims.auth_time,
        )

    async def _claims_in(self, token: str, attempt: Attempt) -> dict[str, object]:
        """Check a token with the keys at hand, and once more with newer ones."""
        for renewed in (False, True):
            try:
                return tokens.claims_in(
                    token,
                    await self._directory.keys(renewed=renewed),
                    algorithms=self._spec.algorithms,
                    issuer=self._spec.issuer,
                    nonce=attempt.nonce,
                    now_s=int(self._clock.now().timestamp()),
                )
            except tokens.UnknownKey:
                continue
        raise errors.refused(Refusal.TOKEN, "no key of the provider fits")

    def unlinked(self, *, source: str) -> StrongroomError:
        """Count somebody whose identity is nobody's here, and return the error to raise."""
        error = errors.refused(Refusal.NOT_LINKED)
        self._refuse(error.detail, source=source)
        return error

    def _refuse(self, reason: str, *, source: str) -> None:
        self._refusals.note(
            Refused(
                action="identity:sso:reject",
                reason=reason,
                subject=self._spec.issuer,
                source=source,
            )
        )

    async def link(self, arrived: Arrived, operator: str, *, request: str | None = None) -> None:
        """Link an identity to the operator who showed both.

        Raises:
            StrongroomError: `sso_already_linked`.
        """
        if arrived.purpose != "link":
            raise errors.refused(Refusal.STATE)
        if arrived.operator is not None or len(await self.links(operator)) >= OIDC_LINKS_MAX:
            raise errors.already_linked()
        now = self._clock.now()
        link = Link(
            id=new_id("lnk"),
            issuer=arrived.issuer,
            subject=arrived.subject,
            operator=operator,
            linked_at=now,
            version=1,
        )
        change = Change()
        records.add(change, link)
        record(change, _entry("link", "linked", link, operator, request), at=now)
        try:
            await self._committer.submit(change)
        except ConstraintViolated:
            raise errors.already_linked() from None

    async def links(self, operator: str) -> list[Link]:
        """Return an operator's links."""
        return await records.of_operator(
            self._database, uuid_of(operator, "opr"), limit=OIDC_LINKS_MAX
        )

    async def unlink(self, link: str, operator: str, *, request: str | None = None) -> None:
        """End a link of an operator; one that is not there, or not theirs, changes nothing."""
        for found in await self.links(operator):
            if found.id == link:
                now = self._clock.now()
                change = Change()
                records.end(change, found, at=now)
                record(change, _entry("unlink", "ended", found, operator, request), at=now)
                if await self._committer.submit(change) is Verdict.COMMITTED:
                    return


def _entry(verb: str, outcome: str, link: Link, operator: str, request: str | None) -> Entry:
    return Entry(
        action=f"identity:sso:{verb}",
        subject=link.id,
        outcome=outcome,
        facts={"issuer": link.issuer},
        merchant=None,
        actor=operator,
        request=request,
    )

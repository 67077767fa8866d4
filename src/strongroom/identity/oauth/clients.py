"""The clients of merchants: registered with their public keys, given new ones, revoked.

A key is what a person hands in; no address of keys is kept and nothing is ever fetched. Every
process sees a change within a second.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta

import msgspec

from strongroom.identity import errors as identity_errors
from strongroom.identity.decide import check_text
from strongroom.identity.lookup import Lookup
from strongroom.identity.model import MerchantView
from strongroom.identity.oauth import decide, errors, jose, records
from strongroom.identity.oauth.model import ClientRecord, ClientSpec, ClientView
from strongroom.journal import Entry, record
from strongroom.kernel.clock import Clock, rfc3339_ms
from strongroom.kernel.edge_limits import (
    OAUTH_CLIENT_KEYS_MAX,
    OAUTH_KEY_OVERLAP_DAYS_MAX,
)
from strongroom.kernel.ids import NIL_UUID, new_id, uuid_of
from strongroom.kernel.limits import PAGE_LIMIT_MAX
from strongroom.storage import Change, Committer, Database, Verdict

_STALE_RETRIES = 5
Turn = Callable[[Change, records.StoredClient, datetime], ClientView | None]
"""Adds to a Change what happens to a client; None when nothing has to."""

_OVERLAP_MAX = timedelta(days=OAUTH_KEY_OVERLAP_DAYS_MAX)


class Clients:
    """OAuth clients of one installation.

    Args:
        database: role `strongroom_pay`, for reading.
        committer: the same role, with the journal's marker.
        find_merchant: refuses what is no merchant.
        known_scopes: the names of all actions.
        clock: time.
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        *,
        find_merchant: Callable[[str], Awaitable[MerchantView]],
        known_scopes: Collection[str],
        clock: Clock,
    ) -> None:
        self._database = database
        self._committer = committer
        self._find_merchant = find_merchant
        self._known_scopes = frozenset(known_scopes)
        self._clock = clock
        self._lookup: Lookup[ClientRecord] = Lookup(self._read, clock=clock)

    async def close(self) -> None:
        """End background reads."""
        await self._lookup.close()

    async def find(self, client: str) -> ClientRecord | None:
        """Return a client by its well-formed id, as it was half a second ago at most.

        Raises:
            StrongroomError: `storage_unavailable` or `overloaded`.
        """
        return await self._lookup.find(uuid_of(client, "ocl").bytes)

    async def add(self, spec: ClientSpec, *, actor: str) -> ClientView:
        """Register a client.

        Raises:
            StrongroomError: `invalid_parameter` for what no client may be, `merchant_not_found`.
        """
        await self._find_merchant(spec.merchant)
        now = self._clock.now()
        expires_at = decide.checked(spec, known_scopes=self._known_scopes, now=now)
        keys = decide.client_keys(spec.jwks)
        client = ClientView(
            id=new_id("ocl"),
            merchant=spec.merchant,
            role=spec.role,
            scopes=tuple(sorted(spec.scopes)),
            binding=spec.binding,
            owner=spec.owner,
            status="active",
            created_at=now,
            created_by=actor,
            expires_at=expires_at,
            revoked_at=None,
            last_token_at=None,
            keys=(),
        )
        change = Change()
        records.add_client(change, client)
        client = _with_keys(change, client, keys, at=now)
        facts: dict[str, str | int | bool] = {
            "role": client.role,
            "scopes": " ".join(client.scopes),
            "binding": client.binding,
            "keys": len(keys),
            "expires_at": rfc3339_ms(expires_at),
        }
        record(change, _entry("create", "created", client, actor=actor, facts=facts), at=now)
        await self._committer.submit(change)
        return client

    async def listed(
        self, merchant: str, *, limit: int = PAGE_LIMIT_MAX, after: str | None = None
    ) -> list[ClientView]:
        """Return a merchant's clients, oldest first."""
        return await records.clients_after(
            self._database,
            merchant,
            after=NIL_UUID if after is None else uuid_of(after, "ocl"),
            limit=min(limit, PAGE_LIMIT_MAX),
            now=self._clock.now(),
        )

    async def show(self, merchant: str, client: str) -> ClientView:
        """Return one client of a merchant.

        Raises:
            StrongroomError: `oauth_client_not_found`.
        """
        return (await self._stored(merchant, client, self._clock.now())).view

    async def rotate_key(
        self, merchant: str, client: str, jwks: bytes, *, overlap: timedelta, actor: str
    ) -> ClientView:
        """Give a client new keys; its former ones end after `overlap`, at once when it is zero.

        Raises:
            StrongroomError: `oauth_client_not_found`; `invalid_parameter` for keys that are not
                taken or were there before, or too long an overlap.
        """
        keys = decide.client_keys(jwks)
        if not timedelta() <= overlap <= _OVERLAP_MAX:
            raise identity_errors.invalid_parameter(
                "overlap", f"Former keys stay good for 0 to {OAUTH_KEY_OVERLAP_DAYS_MAX} days."
            )

        def turn(change: Change, stored: records.StoredClient, now: datetime) -> ClientView:
            _check_keys(stored.view, keys, now)
            records.set_keys_at(change, stored, at=now)
            ends = now + overlap
            for key in stored.view.keys:
                if key.retires_at is None or key.retires_at > ends:
                    _retire(change, stored.view, key.kid, ends)
            return _with_keys(change, stored.view, keys, at=now)

        facts = {"keys": len(keys), "overlap_s": int(overlap.total_seconds())}
        return await self._change(
            merchant, client, turn, verb="rotate_key", outcome="rotated", actor=actor, facts=facts
        )

    async def revoke(self, merchant: str, client: str, *, actor: str, reason: str) -> ClientView:
        """End a client and every token of it. Revoking twice changes nothing.

        Raises:
            StrongroomError: `oauth_client_not_found`.
        """
        check_text("reason", reason)

        def turn(change: Change, stored: records.StoredClient, now: datetime) -> ClientView | None:
            if stored.view.revoked_at is not None:
                return None
            records.set_revoked(change, stored, at=now)
            return msgspec.structs.replace(stored.view, status="revoked", revoked_at=now)

        return await self._change(
            merchant, client, turn, verb="revoke", outcome="revoked", actor=actor, reason=reason
        )

    async def _change(
        self,
        merchant: str,
        client: str,
        turn: Turn,
        *,
        verb: str,
        outcome: str,
        actor: str,
        reason: str | None = None,
        facts: dict[str, int] | None = None,
    ) -> ClientView:
        """Change a client under its version, with an entry; asked again when others were faster."""
        for _ in range(_STALE_RETRIES):
            now = self._clock.now()
            stored = await self._stored(merchant, client, now)
            change = Change()
            after = turn(change, stored, now)
            if after is None:
                return stored.view
            entry = _entry(
                verb, outcome, after, actor=actor, reason=reason, facts={**(facts or {})}
            )
            record(change, entry, at=now)
            verdict = await self._committer.submit(change)
            self._lookup.forget(uuid_of(client, "ocl").bytes)
            if verdict is Verdict.COMMITTED:
                return after
        raise identity_errors.changed_meanwhile()

    async def _stored(self, merchant: str, client: str, now: datetime) -> records.StoredClient:
        found = None
        if decide.CLIENT_ID.fullmatch(client):
            found = await records.find_client(self._database, merchant, client, now=now)
        if found is None:
            raise errors.client_not_found()
        return found

    async def _read(self, ids: Sequence[bytes]) -> list[ClientRecord]:
        return await records.clients_by_id(self._database, ids)


def _check_keys(client: ClientView, keys: Sequence[jose.PublicKey], now: datetime) -> None:
    """Refuse names that were used before, and more keys at once than anybody needs."""
    invalid = identity_errors.invalid_parameter
    former = {key.kid for key in client.keys}
    if any((key.kid or key.thumbprint) in former for key in keys):
        raise invalid("jwks", "A kid names one key for ever: give a new key a new kid.")
    good = [key for key in client.keys if key.retires_at is None or key.retires_at > now]
    if len(good) + len(keys) > OAUTH_CLIENT_KEYS_MAX:
        raise invalid("jwks", f"A client has at most {OAUTH_CLIENT_KEYS_MAX} good keys.")
    if client.status != "active":
        raise invalid("client", f"The client is {client.status}.")


def _retire(change: Change, client: ClientView, kid: str, at: datetime) -> None:
    records.retire_key(change, kid, merchant=client.merchant, client=client.id, at=at)


def _with_keys(
    change: Change, client: ClientView, keys: Sequence[jose.PublicKey], *, at: datetime
) -> ClientView:
    added = [
        records.add_key(change, key, merchant=client.merchant, client=client.id, at=at)
        for key in keys
    ]
    return msgspec.structs.replace(client, keys=(*client.keys, *added))


def _entry(
    verb: str,
    outcome: str,
    client: ClientView,
    *,
    actor: str,
    facts: dict[str, str | int | bool],
    reason: str | None = None,
) -> Entry:
    """Return the entry of what happened to a client; its owner's name stays out."""
    return Entry(
        action=f"identity:oauth_client:{verb}",
        subject=client.id,
        outcome=outcome,
        reason=reason,
        facts=facts,
        merchant=client.merchant,
        actor=actor,
    )

"""What a review of access looks at: every person and machine; and how a right is taken away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from strongroom.access.reviews import Kind, Line
from strongroom.app.people import HousePeople
from strongroom.identity import Identity
from strongroom.identity.oauth import Clients
from strongroom.identity.operators import Operators
from strongroom.identity.signatures import SigningKeys
from strongroom.identity.workloads import Workloads
from strongroom.kernel.clock import rfc3339_ms

_PAGE = 100


class Rights:
    """The rights of this installation."""

    def __init__(
        self,
        identity: Identity,
        operators: Operators,
        people: HousePeople,
        *,
        signing_keys: SigningKeys,
        clients: Clients,
        workloads: Workloads,
    ) -> None:
        self._identity = identity
        self._operators = operators
        self._people = people
        self._signing_keys = signing_keys
        self._clients = clients
        self._workloads = workloads

    async def listing(self) -> Sequence[Line]:
        """Return every account that is not gone, every living key, client and service."""
        lines = [
            Line(
                kind="operator",
                subject=view.id,
                role=view.role,
                owner=view.login,
                person=view.id,
                last_used_at=None if view.seen_at is None else rfc3339_ms(view.seen_at),
            )
            for view in await _every(self._operators.accounts.list_all)
            if view.status != "left"
        ]
        merchants = [m.id for m in await _every(self._identity.list_merchants)]
        for merchant in (None, *merchants):
            lines += await self._keys(merchant)
        for merchant in merchants:
            for key in await _every(partial(self._signing_keys.listed, merchant)):
                lines += _machine("signing_key", key, key.last_used_at)
            for client in await _every(partial(self._clients.listed, merchant)):
                lines += _machine("oauth_client", client, client.last_token_at)
        for service in await _every(self._workloads.list_workloads):
            lines += _machine("workload", service, None)
        return lines

    async def revoke(self, line: Line, actor: str, reason: str) -> None:
        """Take a right away; one that is gone already stays gone."""
        if line.kind == "operator":
            view = await self._operators.accounts.show(line.subject)
            if view.status != "left":
                await self._operators.accounts.leave(line.subject, actor=actor, reason=reason)
            return
        if line.kind == "workload":
            await self._workloads.revoke(line.subject, actor=actor, reason=reason)
            return
        doors: dict[str, Callable[..., Awaitable[Any]]] = {
            "api_key": self._identity.revoke_key,
            "signing_key": self._signing_keys.revoke,
            "oauth_client": self._clients.revoke,
        }
        await doors[line.kind](line.merchant, line.subject, actor=actor, reason=reason)

    async def _keys(self, merchant: str | None) -> list[Line]:
        async def page(*, limit: int, after: str | None = None) -> Sequence[Any]:
            return await self._identity.list_keys(merchant, limit=limit, after=after)

        return [
            Line(
                kind="api_key",
                subject=key.id,
                merchant=merchant,
                role=key.role,
                scopes=key.scopes,
                owner=key.owner,
                person=await self._people.owner_of(key) if merchant is None else None,
                last_used_at=None if key.last_used_at is None else rfc3339_ms(key.last_used_at),
            )
            for key in await _every(page)
            if key.status == "active"
        ]


def _machine(kind: Kind, found: Any, used_at: datetime | None) -> list[Line]:
    """Return the line of a machine's right while it lives."""
    if found.status != "active":
        return []
    return [
        Line(
            kind=kind,
            subject=found.id,
            merchant=found.merchant,
            role=found.role,
            scopes=found.scopes,
            owner=found.owner,
            last_used_at=None if used_at is None else rfc3339_ms(used_at),
        )
    ]


async def _every(page: Callable[..., Awaitable[Sequence[Any]]]) -> list[Any]:
    found: list[Any] = []
    part = await page(limit=_PAGE)
    while part:
        found += part
        part = await page(limit=_PAGE, after=part[-1].id) if len(part) == _PAGE else []
    return found

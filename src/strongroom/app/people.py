"""Who stands behind a credential: an operator's sessions, keys and shell are one person.

A key belongs to the person whose login or account id is its owner; a shell to the account of the
same name. What nobody's account claims is nobody's, and others then make up for it.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from strongroom.identity import Identity, KeyView, Principal, PrincipalKind
from strongroom.identity.operators import Operators, OperatorView
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, uuid_of

_ADMIN = "operator-admin"
_LOCAL = "local:"
_OPERATOR = "opr_"
_KEY = "key_"


class HousePeople:
    """People by the accounts of this installation."""

    def __init__(self, identity: Identity, operators: Operators) -> None:
        self._identity = identity
        self._operators = operators

    async def person_of(self, principal: Principal) -> str | None:
        """Return the account behind a credential; a merchant's caller stands for itself."""
        if principal.kind is PrincipalKind.MERCHANT:
            return principal.id
        return await self.person(principal.id)

    async def person(self, actor: str) -> str | None:
        """Return the account behind an actor as journal entries name it; None for nobody's."""
        if actor.startswith(_OPERATOR):
            return actor
        if actor.startswith(_LOCAL):
            return await self.account(actor.removeprefix(_LOCAL))
        return await self._owner(actor) if actor.startswith(_KEY) else None

    async def owner_of(self, key: KeyView) -> str | None:
        """Return the account that a key belongs to.

        A key that one account made in another's name could be either's: it is nobody's.
        """
        owner = await self.account(key.owner)
        maker = await self.person(key.created_by) if not key.created_by.startswith(_KEY) else None
        return owner if maker in (None, owner) else None

    async def account(self, name: str) -> str | None:
        """Return the id of the account with this login or id."""
        found = await self._shown(name)
        return None if found is None else found.id

    async def administrators(self, people: Collection[str]) -> frozenset[str]:
        """Return those of these accounts that are active administrators now."""
        shown = [await self._shown(person) for person in sorted(set(people))]
        return frozenset(
            view.id
            for view in shown
            if view is not None and view.status == "active" and view.role == _ADMIN
        )

    async def _owner(self, key_id: str) -> str | None:
        """Return the account that an operator's key belongs to."""
        before = id_from("key", UUID(int=uuid_of(key_id, "key").int - 1))
        for key in await self._identity.list_keys(None, limit=1, after=before):
            if key.id == key_id:
                return await self.owner_of(key)
        return None

    async def _shown(self, name: str) -> OperatorView | None:
        try:
            return await self._operators.accounts.show(name)
        except StrongroomError as error:
            if error.retryable:
                raise
            return None

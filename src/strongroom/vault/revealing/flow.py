"""The verbs of reveal. Order matters: purpose, budget, policy, entry and budget committed, decrypt.

The budget is spent in the transaction of the journal entry, under the table's own limits: no
process and no pair of processes shows one number more. Refusals are entries too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from uuid import UUID

from strongroom.journal import record
from strongroom.kernel import limits
from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.kernel.secret import Pan
from strongroom.keys import Keyring
from strongroom.storage import Change, Committer, ConstraintViolated, Database
from strongroom.vault import errors
from strongroom.vault.model import Authorize, Caller, Revealed
from strongroom.vault.records import StoredCard
from strongroom.vault.revealing import records
from strongroom.vault.revealing.decide import (
    Ask,
    check_hour,
    check_purpose,
    entries_of,
    hour_of,
    refusal_entry,
)
from strongroom.vault.tokens import merchant_uuid, open_card, open_numbers

_TRIES = 5
"""Budgets that others emptied between look and commit are looked at again this often."""


class Reveals:
    """Shows card numbers, each one allowed, paid for and journaled before it is opened."""

    def __init__(
        self, database: Database, committer: Committer, keyring: Keyring, *, clock: Clock
    ) -> None:
        self._database = database
        self._committer = committer
        self._keyring = keyring
        self._clock = clock

    async def one(self, ask: Ask, *, principal: Caller, authorize: Authorize) -> Pan:
        """Return one card number."""
        stored = (await self._admit(ask, principal, authorize, _only))[ask.tokens[0]]
        return (await open_card(self._keyring, ask.merchant, ask.tokens[0], stored)).number

    async def many(self, ask: Ask, *, principal: Caller, authorize: Authorize) -> list[Revealed]:
        """Return the number of each token, or why it has none, in order."""
        if not 1 <= len(ask.tokens) <= limits.BATCH_REVEAL_MAX:
            raise errors.batch_too_large(limits.BATCH_REVEAL_MAX, what="tokens")
        shown = await self._admit(ask, principal, authorize, _some)
        found = await open_numbers(self._keyring, ask.merchant, shown)
        return [_revealed(token, found.get(token, "token_not_found")) for token in ask.tokens]

    async def forget(self) -> None:
        """Drop the counts of hours that are over."""
        await records.drop_hours(self._database, hour_of(self._clock.now()))

    # --- within ---

    async def _admit(
        self,
        ask: Ask,
        principal: Caller,
        authorize: Authorize,
        choose: Callable[[Sequence[str], dict[UUID, StoredCard]], dict[str, StoredCard]],
    ) -> dict[str, StoredCard]:
        """Return the cards that may be opened now: decided, paid and recorded."""
        try:
            check_purpose(ask.purpose)
            for _ in range(_TRIES):
                facts = await self._facts(ask)
                check_hour(grant=facts.grant, seen=facts.seen, count=len(ask.tokens))
                await _allowed(ask, principal, authorize)
                shown = choose(ask.tokens, facts.cards)
                if await self._committed(ask, shown, facts.grant):
                    return shown
            raise errors.reveal_limit()
        except StrongroomError as refusal:
            change = Change()
            record(change, refusal_entry(ask, refusal), at=self._clock.now())
            await self._committer.submit(change)
            raise

    async def _facts(self, ask: Ask) -> records.Facts:
        now = self._clock.now()
        return await records.facts(
            self._database,
            merchant_uuid(ask.merchant),
            [uuid_of(token, "tok") for token in ask.tokens],
            caller=ask.actor,
            purpose=ask.purpose,
            now=now,
            hour=hour_of(now),
        )

    async def _committed(self, ask: Ask, shown: dict[str, StoredCard], grant: UUID | None) -> bool:
        """Write the entries together with what they cost; False when the budget was gone."""
        now, change = self._clock.now(), Change()
        name = None if grant is None else id_from("grant", grant)
        for entry in entries_of(ask, list(shown), grant=name):
            record(change, entry, at=now)
        if grant is None:
            records.spend_hour(change, ask.actor, hour_of(now), len(shown))
        else:
            records.spend_grant(change, merchant_uuid(ask.merchant), grant, len(shown))
        try:
            await self._committer.submit(change)
        except ConstraintViolated as violated:
            if violated.constraint in records.EXHAUSTED:
                return False
            raise
        return True


def _revealed(token: str, found: Pan | str) -> Revealed:
    if isinstance(found, Pan):
        return Revealed(token=token, number=found)
    return Revealed(token=token, problem=found)


async def _allowed(ask: Ask, principal: Caller, authorize: Authorize) -> None:
    allowed = authorize(
        principal, action=ask.action, merchant=ask.merchant, context={"purpose": ask.purpose}
    )
    if inspect.isawaitable(allowed):
        await allowed


def _only(tokens: Sequence[str], cards: dict[UUID, StoredCard]) -> dict[str, StoredCard]:
    """Return the one card, or raise because it is not there."""
    stored = cards.get(uuid_of(tokens[0], "tok"))
    if stored is None or stored.ended == "deleted":
        raise errors.token_not_found()
    if stored.ended is not None:
        raise errors.token_expired()
    return {tokens[0]: stored}


def _some(tokens: Sequence[str], cards: dict[UUID, StoredCard]) -> dict[str, StoredCard]:
    """Return the cards that are there; a call that finds none is refused as a whole."""
    found = {token: cards.get(uuid_of(token, "tok")) for token in tokens}
    shown = {token: card for token, card in found.items() if card is not None and not card.ended}
    if not shown:
        raise errors.token_not_found()
    return shown

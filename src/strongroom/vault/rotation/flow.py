"""Moves cards from an old key to the new one while the vault works on: read, re-seal, write.

While the database writes one chunk, the next is sealed here and the one after is being read. A card
is written back only if nobody changed it meanwhile; one that was removed stays removed. What can
not be opened is left as it is and counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from itertools import groupby
from operator import itemgetter
from uuid import UUID

from strongroom.kernel import limits
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import NIL_UUID, id_from
from strongroom.keys import Context, DataKey, IndexKey, Keyring
from strongroom.storage import Database, Session
from strongroom.vault import decide
from strongroom.vault.model import CardInput
from strongroom.vault.rotation import records
from strongroom.vault.rotation.records import Moving
from strongroom.vault.tokens import CARD_FIELD, DISPLAY_FIELD, SUBJECT, merchant_uuid, visible

SEALS_PER_CARD = 2
_SLICE = 100
_SAME_CARD_MAX = 100
_UNOPENED = ("record_not_opened", "key_missing")
"""A person may have been erased since the page was read; cards of a lost key are counted."""
_LONG_STATEMENTS = "SET statement_timeout = '10min'"
_LIKE = id_from("tok", NIL_UUID)

Report = Callable[[UUID, int, int], Awaitable[bool]]
"""Told the last card of a chunk, how many moved and how many could not; says whether to go on."""


class CardRotation:
    """Moves the cards of one merchant at a time.

    Args:
        database: the vault's database role; two connections are taken from outside its pool.
        keyring: opens, seals and fingerprints.
    """

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    async def count(self, level: str, merchant: str | None) -> int:
        """Return how many cards stand under an older key than the newest; all cards when None."""
        async with AsyncExitStack() as stack:
            session = await _connection(self._database, stack)
            if merchant is None:
                return await records.count_cards(session)
            version = await self._version(level, merchant)
            return await records.count_behind(session, level, merchant_uuid(merchant), version)

    async def versions(self, level: str, merchant: str) -> dict[int, int]:
        """Return how many cards of a merchant stand under each version of its key."""
        async with AsyncExitStack() as stack:
            session = await _connection(self._database, stack)
            return await records.count_under(session, level, merchant_uuid(merchant))

    async def move(
        self,
        level: str,
        merchant: str,
        *,
        after: UUID = NIL_UUID,
        rate: int = 0,
        report: Report,
    ) -> bool:
        """Move every card to the merchant's newest key; return whether it came to the end.

        Args:
            level: `dek` seals them anew, `index` makes their fingerprints anew.
            merchant: whose cards.
            after: where to go on.
            rate: cards per second, 0 for as fast as it goes.
            report: is told of every chunk that was written.
        """
        version, owner = await self._version(level, merchant), merchant_uuid(merchant)
        chunk = _chunk(rate)
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            reader = await _connection(self._database, stack)
            writer = await _connection(self._database, stack)

            async def page_after(last: UUID) -> list[Moving]:
                return await records.behind(reader, level, owner, version, after=last, limit=chunk)

            async def write(cards: list[Moving], last: UUID, failed: int) -> bool:
                moved = 0
                if cards:
                    moved = await records.move(writer, level, owner, version, cards)
                return await report(last, moved, failed)

            page = await page_after(after)
            writing = asyncio.create_task(write([], after, 0))
            coming = asyncio.create_task(_nothing())
            try:
                while page:
                    started, last = loop.time(), page[-1].id
                    coming = asyncio.create_task(page_after(last))
                    cards = await self._moved(level, merchant, page)
                    if not await writing:
                        return False
                    writing = asyncio.create_task(write(cards, last, len(page) - len(cards)))
                    page = await coming
                    if rate:
                        await asyncio.sleep(pause_after(loop.time() - started, chunk / rate))
                return await writing
            finally:
                coming.cancel()
                await asyncio.gather(coming, writing, return_exceptions=True)

    async def tokens_of(self, merchant: str, card: CardInput) -> list[str]:
        """Return the saved tokens of a card number, whichever index key they are found under.

        At most 100; while an index key rotates, fingerprints under both versions are searched.
        """
        keys = await self._keyring.index_keys(merchant)
        prints = [key.mac(b"pan", decide.number_bytes(card)) for key in keys]
        found = await records.with_fingerprint(
            self._database, merchant_uuid(merchant), prints, limit=_SAME_CARD_MAX
        )
        return [id_from("tok", card_id) for card_id in found]

    async def _version(self, level: str, merchant: str) -> int:
        if level == "dek":
            return (await self._keyring.data_key(merchant, uses=0)).version
        return (await self._keyring.index_key(merchant)).version

    async def _moved(self, level: str, merchant: str, page: Sequence[Moving]) -> list[Moving]:
        """Return cards as they are under the new key, giving way to others every few."""
        moved: list[Moving] = []
        for (old_version, subject), group in groupby(page, key=itemgetter(1, 7)):
            cards = list(group)
            person = "" if subject is None else id_from(SUBJECT, subject)
            try:
                old = await self._old(merchant, person, old_version, cards[0])
            except StrongroomError as error:
                if error.code not in _UNOPENED:
                    raise
                continue
            for start in range(0, len(cards), _SLICE):
                part = cards[start : start + _SLICE]
                if level == "dek":
                    new = await self._keyring.data_key(merchant, uses=SEALS_PER_CARD * len(part))
                    moved += _reseal(merchant, part, old, new)
                else:
                    moved += await self._fingerprinted(merchant, person, part, old)
                await asyncio.sleep(0)
        return moved

    async def _old(self, merchant: str, person: str, version: int, card: Moving) -> DataKey:
        if person:
            return await self._keyring.subjects.key_of(merchant, person, card.sealed_card)
        return await self._keyring.old_key(merchant, version)

    async def _fingerprinted(
        self, merchant: str, person: str, cards: Sequence[Moving], old: DataKey
    ) -> list[Moving]:
        """Return cards with their fingerprints under the newest index key.

        What callers see of a fingerprint stays, unless its own key was replaced: then both values
        are sealed anew.
        """
        index = await self._keyring.index_key(merchant)
        kept, changed = _fingerprints(merchant, person, cards, old, index)
        if not changed:
            return kept
        uses = SEALS_PER_CARD * len(changed)
        if person:
            new = await self._keyring.subjects.data_key(merchant, person, uses=uses)
        else:
            new = await self._keyring.data_key(merchant, uses=uses)
        return sorted([*kept, *_sealed(merchant, person, changed, new)], key=itemgetter(0))


async def _connection(database: Database, stack: AsyncExitStack) -> Session:
    session, close = await database.dedicated()
    stack.push_async_callback(close)
    await session.execute(_LONG_STATEMENTS)
    return session


async def _nothing() -> list[Moving]:
    return []


def _chunk(rate: int) -> int:
    """Return how many cards move at once: a quarter of a second's worth where a rate is set."""
    most = limits.ROTATION_CHUNK
    return most if not rate else max(1, min(most, rate // 4))


def pause_after(worked_s: float, per_chunk_s: float) -> float:
    """Return how long to rest after a chunk, in seconds.

    A busy machine stretches the work itself, so resting in proportion gives way to payments there:
    the rate is then not reached.
    """
    return max(per_chunk_s - worked_s, worked_s * limits.ROTATION_REST)


Opened = tuple[Moving, str, bytes, bytes]
"""A card, its token, its card data and what may be shown of it."""


def _opened(merchant: str, person: str, cards: Sequence[Moving], old: DataKey) -> list[Opened]:
    """Return the cards that open."""
    tokens = [id_from("tok", card.id) for card in cards]
    sealed = zip(tokens, (card.sealed_card for card in cards), strict=True)
    shown = zip(tokens, (card.sealed_display for card in cards), strict=True)
    numbers = old.open_many(Context(merchant, _LIKE, CARD_FIELD, person), list(sealed))
    views = old.open_many(Context(merchant, _LIKE, DISPLAY_FIELD, person), list(shown))
    return [
        (card, token, number, view)
        for card, token, number, view in zip(cards, tokens, numbers, views, strict=True)
        if number is not None and view is not None
    ]


def _sealed(merchant: str, person: str, whole: Sequence[Opened], new: DataKey) -> list[Moving]:
    numbers = [(token, number) for _, token, number, _ in whole]
    views = [(token, view) for _, token, _, view in whole]
    cards = new.seal_many(Context(merchant, _LIKE, CARD_FIELD, person), numbers)
    shown = new.seal_many(Context(merchant, _LIKE, DISPLAY_FIELD, person), views)
    return [
        Moving(old[0], old[1], old[2], card, view, new.version, old[6], old[7])
        for (old, *_), card, view in zip(whole, cards, shown, strict=True)
    ]


def _reseal(merchant: str, cards: Sequence[Moving], old: DataKey, new: DataKey) -> list[Moving]:
    return _sealed(merchant, "", _opened(merchant, "", cards, old), new)


def _fingerprints(
    merchant: str, person: str, cards: Sequence[Moving], old: DataKey, index: IndexKey
) -> tuple[list[Moving], list[Opened]]:
    """Return the cards that stay sealed as they are, and those whose visible one changed."""
    kept: list[Moving] = []
    changed: list[Opened] = []
    for card, token, number, view in _opened(merchant, person, cards, old):
        clear, shown = decide.unpack_card(number), decide.unpack_shown(view)
        stored = index.mac(b"pan", decide.number_bytes(clear))
        seen = visible(index, clear, stored)
        moved = card._replace(fingerprint=stored)
        if seen == shown.fingerprint:
            kept.append(moved)
        else:
            anew = decide.pack_shown(decide.with_fingerprint(shown, seen))
            changed.append((moved, token, number, anew))
    return kept, changed

"""Cards of data subjects: which key a card is sealed under, and who a person is inside.

A card without a data subject is its merchant's. A person's key that was destroyed while a card was
under way is noticed by the database; the card is sealed again under the person's next key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from strongroom.kernel.clock import Clock
from strongroom.kernel.ids import id_from, uuid_of
from strongroom.kernel.limits import ALIAS_TRIES, DATA_SUBJECT_CARDS_MAX, DATA_SUBJECT_MAX_CHARS
from strongroom.kernel.secret import Secret
from strongroom.keys import DataKey, Keyring, Shredded, ShredLedger
from strongroom.storage import Change, Committer, ConstraintViolated, Database
from strongroom.vault import decide, errors, formats, records
from strongroom.vault.model import CardInput, TokenKind, TokenView
from strongroom.vault.records import Sealed
from strongroom.vault.tokens import SEALS_PER_CARD, SUBJECT, merchant_uuid, seal_cards

KEY_DESTROYED = "card_subject_key"
"""The database's name for a card whose key is destroyed (vault/schema/0004_subjects.sql)."""

_REFERENCE = re.compile(rf"[A-Za-z0-9._:@|+=/-]{{1,{DATA_SUBJECT_MAX_CHARS}}}\Z", re.ASCII)

Add = Callable[[Change, Sealed, list[TokenView]], None]


class Cards(msgspec.Struct, frozen=True, kw_only=True):
    """Checked cards of one call, with what their tokens are to be."""

    merchant: str
    cards: Sequence[CardInput]
    brands: Sequence[str]
    saved: bool
    kind: TokenKind


async def put_cards(
    keyring: Keyring, committer: Committer, given: Cards, add: Add, *, clock: Clock
) -> list[tuple[Sealed, TokenView]]:
    """Seal cards under their keys and commit what `add` makes of each key's, all or none.

    It is done again when an alias is taken, or when a person was erased meanwhile.

    Raises:
        StrongroomError: `invalid_data_subject`, or what keeps a key or the store from being used.
    """
    index = await keyring.index_key(given.merchant)
    places: dict[str, list[int]] = {}
    for at, card in enumerate(given.cards):
        places.setdefault(_name(keyring, given.merchant, card), []).append(at)
    for _ in range(ALIAS_TRIES):
        keys = await _keys(keyring, given.merchant, {name: len(places[name]) for name in places})
        now, change = clock.now(), Change()
        made: dict[int, tuple[Sealed, TokenView]] = {}
        for name, spots in places.items():
            sealed, views = seal_cards(
                given.merchant,
                given.cards if len(places) == 1 else [given.cards[at] for at in spots],
                given.brands if len(places) == 1 else [given.brands[at] for at in spots],
                key=keys[name],
                index=index,
                saved=given.saved,
                kind=given.kind,
                now=now,
                subject=name,
            )
            add(change, sealed, views)
            made.update((at, (sealed, view)) for at, view in zip(spots, views, strict=True))
        try:
            await committer.submit(change)
            return [made[at] for at in range(len(given.cards))]
        except ConstraintViolated as refusal:
            if refusal.constraint not in (KEY_DESTROYED, formats.TAKEN):
                raise
        for name in filter(None, places):
            keyring.subjects.drop(given.merchant, name)
    raise errors.contended()


async def _keys(keyring: Keyring, merchant: str, counts: dict[str, int]) -> dict[str, DataKey]:
    """Return each person's key with its uses set aside; the merchant's own stands under ''."""
    for _ in range(ALIAS_TRIES):
        keys = {
            name: await (
                keyring.subjects.data_key(merchant, name, uses=SEALS_PER_CARD * cards)
                if name
                else keyring.data_key(merchant, uses=SEALS_PER_CARD * cards)
            )
            for name, cards in counts.items()
        }
        if all(keys[name].left >= SEALS_PER_CARD * cards for name, cards in counts.items()):
            return keys
    raise errors.contended()


class SubjectVerbs:
    """The verbs of the vault on a person. `CardVault` has them."""

    def __init__(self, database: Database, keyring: Keyring, ledger: ShredLedger | None) -> None:
        self._database = database
        self._keyring = keyring
        self._ledger = ledger

    async def subject_tokens(self, merchant: str, data_subject: Secret[str]) -> list[str]:
        """Return the tokens of a person's cards."""
        name = subject_name(self._keyring, merchant, data_subject)
        return await tokens_of(self._database, merchant, name)

    async def erase_subject(
        self,
        merchant: str,
        data_subject: Secret[str],
        *,
        reason: str,
        actor: str,
        request_id: str | None = None,
    ) -> Shredded:
        """Destroy a person's keys and cards and return the signed receipt."""
        return await self._keyring.subjects.shred(
            merchant,
            subject_name(self._keyring, merchant, data_subject),
            reason=reason,
            actor=actor,
            ledger=self._shred_ledger(),
            request_id=request_id,
        )

    async def replay_shreds(self) -> int:
        """Shred again what a restored backup revived."""
        return await self._keyring.subjects.replay(self._shred_ledger())

    def _shred_ledger(self) -> ShredLedger:
        if self._ledger is None:
            raise errors.shred_ledger_missing()
        return self._ledger


def subject_name(keyring: Keyring, merchant: str, reference: Secret[str]) -> str:
    """Return the inside name of a data subject.

    Raises:
        StrongroomError: `invalid_data_subject`.
    """
    data = decide.reference_bytes(reference)
    if _REFERENCE.match(data.decode("utf-8", "replace")) is None:
        raise errors.invalid_data_subject(DATA_SUBJECT_MAX_CHARS)
    return keyring.subjects.name(merchant, data)


async def tokens_of(database: Database, merchant: str, subject: str) -> list[str]:
    """Return a person's tokens, at most `DATA_SUBJECT_CARDS_MAX` of them."""
    found = await records.of_subject(
        database,
        merchant_uuid(merchant),
        uuid_of(subject, SUBJECT),
        limit=DATA_SUBJECT_CARDS_MAX,
    )
    return [id_from("tok", card) for card in found]


def _name(keyring: Keyring, merchant: str, card: CardInput) -> str:
    if card.data_subject is None:
        return ""
    return subject_name(keyring, merchant, card.data_subject)

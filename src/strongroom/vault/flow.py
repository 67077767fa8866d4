"""The vault in this process: cards in, tokens out, `forward` and `reveal` the only ways back.

It writes under its own database role through its own committer, one Change with its journal entry
for each verb. Clear card data lives in local variables between two lines and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from strongroom.journal import Entry, record
from strongroom.kernel import limits
from strongroom.kernel.clock import Clock, SystemClock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import id_from, new_id, uuid_of
from strongroom.kernel.secret import Cvc, Pan
from strongroom.keys import Context, Keyring, ShredLedger
from strongroom.storage import Change, Committer, Database, Verdict
from strongroom.vault import decide, errors, formats, records
from strongroom.vault.client_encryption import CardOpener, EncryptedCards
from strongroom.vault.courier import Courier
from strongroom.vault.cvc import CvcSafe
from strongroom.vault.egress import EgressPolicy, GatewayAnswer, NotSent, OutboundRequest, Slot
from strongroom.vault.entries import add_card, add_cards, card_entry
from strongroom.vault.fill import fill, slots_of
from strongroom.vault.fresh import FreshCards
from strongroom.vault.model import (
    PLAIN_TOKEN,
    Authorize,
    Caller,
    CardInput,
    CvcHandle,
    Revealed,
    TokenKind,
    TokenView,
)
from strongroom.vault.purge import purge_expired
from strongroom.vault.records import Sealed, StoredCard
from strongroom.vault.revealing import Ask, Reveals
from strongroom.vault.scrub import scrubbed
from strongroom.vault.subjects import Add, Cards, SubjectVerbs, put_cards
from strongroom.vault.tokens import (
    DISPLAY_FIELD,
    merchant_uuid,
    occasion_of,
    open_card,
    subject_text,
    view_of,
)

_FORWARD = "strongroom"
_GUARD_TRIES = 5
_HOLD_MAX = timedelta(seconds=limits.TOKEN_HOLD_MAX_S)


class CardVault(SubjectVerbs, EncryptedCards):
    """The `Vault` of this process. Verbs are told in `strongroom.vault.model.Vault`.

    Args:
        database: reads under the vault's role.
        committer: writes under the vault's role, with the journal's marker.
        keyring: seals, opens and fingerprints.
        egress: where `forward` may send.
        ledger: remembers erasures when the database is restored; without one nobody is erased.
        clock: the time.
    """

    def __init__(
        self,
        database: Database,
        committer: Committer,
        keyring: Keyring,
        *,
        egress: EgressPolicy,
        ledger: ShredLedger | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(database, keyring, ledger)
        self._committer = committer
        self._clock = clock = clock or SystemClock()
        self._courier = Courier(egress, mode=keyring.mode, clock=clock)
        self._opener = CardOpener(database, committer, keyring, clock)
        self._cvcs = CvcSafe(clock)
        self._fresh = FreshCards(clock)
        self._reveals = Reveals(database, committer, keyring, clock=clock)

    async def close(self) -> None:
        """Close connections to gateways and destroy what is held in memory."""
        self._cvcs.clear()
        await self._courier.close()

    # --- cards in ---

    async def tokenize(
        self,
        merchant: str,
        card: CardInput,
        *,
        saved: bool,
        actor: str,
        request_id: str | None = None,
        kind: TokenKind = PLAIN_TOKEN,
    ) -> TokenView:
        """Store a card sealed and return its new token."""
        decide.check_kind(kind, saved=saved)
        brand = decide.check_card(card, mode=self._keyring.mode, now=self._clock.now())

        def add(change: Change, sealed: Sealed, views: list[TokenView]) -> None:
            add_card(change, sealed, views[0], merchant, actor=actor, request_id=request_id)

        ((sealed, view),) = await self._put(merchant, [card], [brand.name], saved, kind, add)
        self._keep(merchant, view.token, sealed.card(0))
        return view

    async def tokenize_batch(
        self,
        merchant: str,
        cards: Sequence[CardInput],
        *,
        saved: bool,
        actor: str,
        request_id: str | None = None,
        kind: TokenKind = PLAIN_TOKEN,
    ) -> list[TokenView]:
        """Store many cards, all or none."""
        if not 1 <= len(cards) <= limits.BATCH_TOKENIZE_MAX:
            raise errors.batch_too_large(limits.BATCH_TOKENIZE_MAX)
        decide.check_kind(kind, saved=saved)
        now = self._clock.now()
        brands = [self._checked(card, number, now) for number, card in enumerate(cards)]

        def add(change: Change, sealed: Sealed, views: list[TokenView]) -> None:
            tokens = [view.token for view in views]
            add_cards(change, sealed, tokens, merchant, actor=actor, request_id=request_id)

        made = await self._put(merchant, cards, brands, saved, kind, add)
        return [view for _, view in made]

    async def commitment(self, merchant: str, card: CardInput) -> bytes:
        """Return 32 keyed bytes equal for equal PAN, expiry and holder; the CVC is left out."""
        index = await self._keyring.index_key(merchant)
        return index.visible.mac(b"commitment", decide.commitment_text(card))

    async def hold_cvc(self, merchant: str, token: str, cvc: Cvc) -> CvcHandle:
        """Seal a security code for the attempt that follows."""
        return self._cvcs.hold(merchant, token, cvc)

    def drop_cvc(self, cvc: CvcHandle) -> None:
        """Destroy a held security code now."""
        self._cvcs.drop(cvc)

    # --- tokens ---

    async def describe(self, merchant: str, token: str) -> TokenView:
        """Return what may be known of a token whose time is not over."""
        return await self._described(merchant, token, await self._usable(merchant, token))

    async def take(
        self, merchant: str, token: str, *, use: str, actor: str, request_id: str | None = None
    ) -> TokenView:
        """Return what may be known of a token that is about to pay; uses up a single-use one."""
        stored = await self._usable(merchant, token)
        occasion = occasion_of(use)
        if stored.single_use and stored.used_by != occasion:
            now = self._clock.now()

            def plan(change: Change, stored: StoredCard) -> bool:
                if stored.used_by is not None:
                    raise errors.token_used()
                records.take_card(change, stored, at=now, use=occasion)
                return True

            entry = card_entry("use", merchant, token, actor=actor, request_id=request_id)
            await self._guarded(merchant, token, entry, plan)
            stored = await self._usable(merchant, token)
        return await self._described(merchant, token, stored)

    async def resolve(self, merchant: str, alias: str) -> TokenView:
        """Return what may be known of the token that has this alias of digits."""
        stored = formats.readings(alias)
        found = stored and await formats.find(self._database, merchant_uuid(merchant), stored)
        for card in found or ():
            view = await self.describe(merchant, id_from("tok", card))
            if view.alias == alias:
                return view
        raise errors.token_not_found()

    async def hold(
        self,
        merchant: str,
        token: str,
        *,
        until: datetime,
        actor: str,
        request_id: str | None = None,
    ) -> None:
        """Keep an unsaved card for a payment that waits."""
        now = self._clock.now()
        if until > now + _HOLD_MAX:
            raise errors.hold_too_long(_HOLD_MAX.days)

        def plan(change: Change, stored: StoredCard) -> bool:
            if stored.saved or stored.purge_after is None or stored.purge_after >= until:
                return False
            records.keep_card(
                change, stored, saved=False, expires_at=stored.expires_at, purge_after=until
            )
            return True

        entry = card_entry("hold", merchant, token, actor=actor, request_id=request_id)
        await self._guarded(merchant, token, entry, plan)

    async def mark_saved(
        self, merchant: str, token: str, *, actor: str, request_id: str | None = None
    ) -> TokenView:
        """Keep the card until it is deleted."""

        def plan(change: Change, stored: StoredCard) -> bool:
            if stored.saved:
                return False
            records.keep_card(change, stored, saved=True, expires_at=None, purge_after=None)
            return True

        entry = card_entry("save", merchant, token, actor=actor, request_id=request_id)
        await self._guarded(merchant, token, entry, plan)
        return await self.describe(merchant, token)

    async def delete(
        self, merchant: str, token: str, *, actor: str, request_id: str | None = None
    ) -> None:
        """Remove the card data; the token stays known as removed."""
        now = self._clock.now()

        def plan(change: Change, stored: StoredCard) -> bool:
            records.end_card(change, stored, at=now, reason="deleted")
            return True

        entry = card_entry("delete", merchant, token, actor=actor, request_id=request_id)
        await self._guarded(merchant, token, entry, plan, expired_too=True)

    async def purge_expired(self, now: datetime | None = None) -> int:
        """Remove unsaved cards whose time is over, and the oldest tombstones."""
        now = now or self._clock.now()
        self._cvcs.sweep()
        await self._reveals.forget()
        await self._opener.upkeep()
        return await purge_expired(self._database, self._committer, now)

    # --- the two ways out ---

    async def forward(
        self,
        merchant: str,
        request: OutboundRequest,
        *,
        token: str | None = None,
        cvc: CvcHandle | None = None,
    ) -> GatewayAnswer:
        """Fill the request's slots, send it, return the scrubbed answer."""
        slots = slots_of(request)
        self._courier.check(request)
        card = code = None
        if slots - {Slot.CVC}:
            card = await self._card(merchant, token)
        if cvc is not None and Slot.CVC in slots:
            code = self._cvcs.open(merchant, token or "", cvc)
        body = fill(request, card, code)
        try:
            answer = await self._courier.send(request, body)
        except NotSent:
            raise
        except BaseException:
            self._cvcs.drop(cvc)
            raise
        self._cvcs.drop(cvc)
        return scrubbed(answer, None if card is None else card.number, code)

    async def reveal(
        self,
        merchant: str,
        token: str,
        *,
        principal: Caller,
        purpose: str,
        authorize: Authorize,
        request_id: str | None = None,
    ) -> Pan:
        """Return the card number: allowed, with a purpose, and journaled before it is decrypted."""
        ask = Ask(merchant, (token,), principal.id, purpose, request_id)
        return await self._reveals.one(ask, principal=principal, authorize=authorize)

    async def reveal_batch(
        self,
        merchant: str,
        tokens: Sequence[str],
        *,
        principal: Caller,
        purpose: str,
        authorize: Authorize,
        request_id: str | None = None,
    ) -> list[Revealed]:
        """Return many card numbers in order, or why a token has none."""
        ask = Ask(merchant, tuple(tokens), principal.id, purpose, request_id, batch=True)
        return await self._reveals.many(ask, principal=principal, authorize=authorize)

    # --- within ---

    async def _put(
        self,
        merchant: str,
        cards: Sequence[CardInput],
        brands: Sequence[str],
        saved: bool,
        kind: TokenKind,
        add: Add,
    ) -> list[tuple[Sealed, TokenView]]:
        given = Cards(merchant=merchant, cards=cards, brands=brands, saved=saved, kind=kind)
        return await put_cards(self._keyring, self._committer, given, add, clock=self._clock)

    def _keep(self, merchant: str, token: str, stored: StoredCard) -> None:
        """Keep a sealed row for the forward that follows; never one of a data subject."""
        if stored.subject is None:
            self._fresh.put(merchant, token, stored)

    def _checked(self, card: CardInput, number: int, now: datetime) -> str:
        try:
            return decide.check_card(card, mode=self._keyring.mode, now=now).name
        except StrongroomError as refusal:
            if refusal.param is not None:
                refusal.param = refusal.param.replace("card.", f"cards[{number}].", 1)
            raise

    async def _found(self, merchant: str, token: str) -> StoredCard:
        """Return a card that is still there; it may be past its use for anything new."""
        stored = await records.find(self._database, merchant_uuid(merchant), uuid_of(token, "tok"))
        if stored is None or stored.ended == "deleted":
            raise errors.token_not_found()
        if stored.ended is not None:
            raise errors.token_expired()
        return stored

    async def _usable(self, merchant: str, token: str) -> StoredCard:
        stored = await self._found(merchant, token)
        if stored.expires_at is not None and stored.expires_at <= self._clock.now():
            raise errors.token_expired()
        return stored

    async def _card(self, merchant: str, token: str | None) -> CardInput:
        if token is None:
            raise errors.card_data_missing()
        stored = self._fresh.take(merchant, token) or await self._found(merchant, token)
        if stored.single_use and stored.used_by is None:
            await self.take(merchant, token, use=new_id("use"), actor=_FORWARD)
        return await open_card(self._keyring, merchant, token, stored)

    async def _described(self, merchant: str, token: str, stored: StoredCard) -> TokenView:
        view = await self._view(merchant, token, stored)
        self._keep(merchant, token, stored)
        return view

    async def _view(self, merchant: str, token: str, stored: StoredCard) -> TokenView:
        context = Context(merchant, token, DISPLAY_FIELD, subject_text(stored))
        data = await self._keyring.open_record(context, stored.sealed_display or b"")
        return view_of(token, stored, decide.unpack_shown(data))

    async def _guarded(
        self,
        merchant: str,
        token: str,
        entry: Entry,
        plan: Callable[[Change, StoredCard], bool],
        *,
        expired_too: bool = False,
    ) -> None:
        """Change a card as planned, together with its entry; look again when others were faster."""
        for _ in range(_GUARD_TRIES):
            find = self._found if expired_too else self._usable
            stored = await find(merchant, token)
            change = Change()
            if not plan(change, stored):
                return
            record(change, entry, at=self._clock.now())
            verdict = await self._committer.submit(change)
            self._fresh.take(merchant, token)
            if verdict is Verdict.COMMITTED:
                return
        raise errors.contended()

"""Opens encrypted cards: form, key, authentication, audience, time, and then one use.

The use is committed before the card is stored, so whatever happens next a message never works
twice, and two that arrive at once have one winner.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import UUID

from strongroom.kernel.clock import Clock
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.limits import (
    CLIENT_KEYS_DOCUMENT_S,
    ENCRYPTED_BATCH_MAX,
    ENCRYPTED_CARD_REMEMBERED_S,
)
from strongroom.kernel.secret import EncryptedCard
from strongroom.keys import Keyring
from strongroom.storage import Change, Committer, Database, Verdict
from strongroom.vault import errors
from strongroom.vault.client_encryption import decide, records
from strongroom.vault.client_encryption.decide import Claims
from strongroom.vault.decide import check_kind
from strongroom.vault.model import (
    PLAIN_TOKEN,
    CardInput,
    EncryptedToken,
    KeyDocument,
    TokenKind,
    TokenView,
    Vault,
)
from strongroom.vault.tokens import merchant_uuid

_DOCUMENT = timedelta(seconds=CLIENT_KEYS_DOCUMENT_S)
_REMEMBERED = timedelta(seconds=ENCRYPTED_CARD_REMEMBERED_S)


class CardOpener:
    """Opens what clients encrypted to the installation's keys."""

    def __init__(
        self, database: Database, committer: Committer, keyring: Keyring, clock: Clock
    ) -> None:
        self._database = database
        self._committer = committer
        self._keyring = keyring
        self._clock = clock

    def audience(self, merchant: str) -> str:
        """Return whom a message must be for: installation, mode and merchant."""
        return f"strongroom:{self._keyring.installation}:{self._keyring.mode}:{merchant}"

    async def document(self, merchant: str) -> KeyDocument:
        """Return what a merchant's clients need to encrypt cards."""
        keys = await self._keyring.client_keys.published()
        now = self._clock.now()
        last = min((key.not_after for key in keys), default=now)
        return KeyDocument(
            audience=self.audience(merchant),
            keys=keys,
            now=now,
            expires_at=max(now, min(now + _DOCUMENT, last)),
        )

    async def open(self, merchant: str, encrypted: EncryptedCard) -> tuple[CardInput, Claims]:
        """Return a card and its claims, authentic and for this merchant; time and use are not yet
        looked at.

        Raises:
            StrongroomError: `encrypted_card_invalid`, or what is wrong with the card's fields.
        """
        opened = await self._authentic(merchant, encrypted)
        if opened is None:  # raised here, so that no error keeps the text as its context
            raise errors.encrypted_card_invalid()
        return opened

    async def use(self, merchant: str, claims: Claims) -> None:
        """Use a message up.

        Raises:
            StrongroomError: `encrypted_card_expired`, `encrypted_card_replayed`.
        """
        if not decide.in_time(claims, self._clock.now()):
            raise errors.encrypted_card_expired()
        change = Change()
        until = datetime.fromtimestamp(claims.exp, UTC) + _REMEMBERED
        records.use(change, merchant_uuid(merchant), _message_id(claims), until=until)
        if await self._committer.submit(change) is not Verdict.COMMITTED:
            raise errors.encrypted_card_replayed()

    async def upkeep(self) -> None:
        """Make and retire keys, forget messages whose time is long over."""
        await records.forget(self._database, self._clock.now())
        await self._keyring.client_keys.upkeep()

    async def _authentic(
        self, merchant: str, encrypted: EncryptedCard
    ) -> tuple[CardInput, Claims] | None:
        try:
            envelope = decide.parse(encrypted)
            key = await self._keyring.client_keys.find(envelope.kid)
            if key is None or key.suite != envelope.suite:
                return None
            audience = self.audience(merchant)
            plaintext = key.open(envelope.message, info=decide.info(envelope, audience))
            if envelope.audience not in (None, audience):
                return None
            claims, fields = decide.read(envelope, plaintext)
            return decide.card(fields), claims
        except ValueError:
            return None
        except StrongroomError as error:
            raise _in_encrypted(error) from None


class _Host(Vault, Protocol):
    """The vault that `EncryptedCards` is part of."""

    _opener: CardOpener


class EncryptedCards:
    """The verbs of `CardVault` for cards that clients encrypted; see `strongroom.vault.model`."""

    async def client_keys(self: _Host, merchant: str) -> KeyDocument:
        """Return the public keys to which the merchant's clients encrypt cards."""
        return await self._opener.document(merchant)

    async def tokenize_encrypted(
        self: _Host,
        merchant: str,
        encrypted: EncryptedCard,
        *,
        saved: bool,
        actor: str,
        hold_cvc: bool = False,
        request_id: str | None = None,
        kind: TokenKind = PLAIN_TOKEN,
    ) -> EncryptedToken:
        """Open a card that a client encrypted, once, and store it like `tokenize`."""
        check_kind(kind, saved=saved)
        card, claims = await self._opener.open(merchant, encrypted)
        await self._opener.use(merchant, claims)
        try:
            view = await self.tokenize(
                merchant, card, saved=saved, actor=actor, request_id=request_id, kind=kind
            )
        except StrongroomError as error:
            raise _in_encrypted(error) from None
        commitment = await self.commitment(merchant, card)
        cvc = None
        if hold_cvc and card.cvc is not None:
            cvc = await self.hold_cvc(merchant, view.token, card.cvc)
        return EncryptedToken(view=view, commitment=commitment, cvc=cvc)

    async def tokenize_encrypted_batch(
        self: _Host,
        merchant: str,
        encrypted: Sequence[EncryptedCard],
        *,
        saved: bool,
        actor: str,
        request_id: str | None = None,
        kind: TokenKind = PLAIN_TOKEN,
    ) -> list[TokenView]:
        """Open and store many cards, all or none; each is used up even when none is stored."""
        if not 1 <= len(encrypted) <= ENCRYPTED_BATCH_MAX:
            raise errors.batch_too_large(ENCRYPTED_BATCH_MAX)
        check_kind(kind, saved=saved)
        opened = []
        for number, text in enumerate(encrypted):
            try:
                opened.append(await self._opener.open(merchant, text))
            except StrongroomError as error:
                raise _numbered(error, number) from None
        uses = [self._opener.use(merchant, claims) for _, claims in opened]
        for number, used in enumerate(await asyncio.gather(*uses, return_exceptions=True)):
            if isinstance(used, StrongroomError):
                raise _numbered(used, number)
            if used is not None:
                raise used
        try:
            return await self.tokenize_batch(
                merchant,
                [card for card, _ in opened],
                saved=saved,
                actor=actor,
                request_id=request_id,
                kind=kind,
            )
        except StrongroomError as error:
            if error.param is not None:
                error.param = error.param.replace("cards[", "encrypted_cards[", 1)
            raise

    async def commitment_encrypted(self: _Host, merchant: str, encrypted: EncryptedCard) -> bytes:
        """Return the commitment of a card that a client encrypted, also after its time or use."""
        card, _ = await self._opener.open(merchant, encrypted)
        return await self.commitment(merchant, card)


def _message_id(claims: Claims) -> UUID:
    digest = hashlib.sha256(b"strongroom client message\0" + claims.jti.encode()).digest()
    return UUID(bytes=digest[:16])


def _in_encrypted(error: StrongroomError) -> StrongroomError:
    if error.param is not None:
        error.param = error.param.replace("card.", "encrypted_card.", 1)
    return error


def _numbered(error: StrongroomError, number: int) -> StrongroomError:
    if error.param is not None:
        error.param = error.param.replace("encrypted_card", f"encrypted_cards[{number}]", 1)
    return error

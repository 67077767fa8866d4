"""The vault's types: a card coming in, a token going out, a security code in waiting, the vault.

`Vault` is a Protocol: the vault in this process (`CardVault`) and a vault on its own host
(`strongroom.vault.remote`) are the same to every caller. A verb's arguments and result are plain
types, so that they can cross between the two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any, Protocol
from weakref import finalize

import msgspec

from strongroom.kernel.secret import Cvc, EncryptedCard, Pan, Secret
from strongroom.keys import PublicClientKey, Shredded
from strongroom.vault.egress import GatewayAnswer, OutboundRequest


class CardInput(msgspec.Struct, frozen=True, kw_only=True):
    """A card as a caller gave it. The year has four digits. The CVC is never stored.

    `data_subject` is the merchant's own reference of the person, under whose key it is then sealed.
    """

    number: Pan
    exp_month: int
    exp_year: int
    cvc: Cvc | None = None
    holder_name: Secret[str] | None = None
    data_subject: Secret[str] | None = None


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """What may be known of a token outside the vault.

    `bin` is the first six digits (fewer for numbers below 14 digits), `fingerprint` the same for
    the same card of one merchant and different between merchants.
    """

    token: str
    brand: str
    bin: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str
    saved: bool
    expires_at: datetime | None
    created_at: datetime
    single_use: bool = False
    used_at: datetime | None = None
    alias: str | None = None


class TokenKind(msgspec.Struct, frozen=True, kw_only=True):
    """What sort of token a card becomes.

    `single_use`: the first payment that names it uses it up. `expires_in_s`: its life, in place of
    a day. `digits`: it also gets an alias of as many digits as the card number that fails the Luhn
    check; `keep_last4` ends it with the card's own last four.
    """

    single_use: bool = False
    expires_in_s: int | None = None
    digits: bool = False
    keep_last4: bool = False


PLAIN_TOKEN = TokenKind()


class Revealed(msgspec.Struct, frozen=True, kw_only=True):
    """One result of a batch reveal: the number, or the code of why there is none."""

    token: str
    number: Pan | None = None
    problem: str | None = None


class RevealGrant(msgspec.Struct, frozen=True, kw_only=True):
    """A bulk grant: how many card numbers a caller may see of a merchant, for what, until when."""

    id: str
    merchant: str
    principal: str
    purpose: str
    granted: int
    remaining: int
    valid_until: datetime
    created_at: datetime
    created_by: str


class CvcHandle:
    """A sealed security code in the request's memory. Its key is in the vault and dies there."""

    __slots__ = ("__weakref__", "id", "sealed", "watch")
    ID_BYTES = 16

    def __init__(self, sealed: bytes, handle_id: bytes) -> None:
        self.sealed = sealed
        self.id = handle_id
        self.watch: finalize[..., CvcHandle] | None = None

    def entrust(self) -> None:
        """Let the key outlive this object, whose content goes to another process of ours."""
        if self.watch is not None:
            self.watch.detach()

    def __repr__(self) -> str:
        return "CvcHandle(…)"

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("a held security code is never pickled or copied")


class EncryptedToken(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a card that a client encrypted: its token, its commitment (see
    `Vault.commitment`), and its security code in waiting when that was asked for.
    """

    view: TokenView
    commitment: bytes
    cvc: CvcHandle | None


class KeyDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What a merchant's clients need to encrypt cards: whom for, to which keys, by which clock."""

    audience: str
    keys: list[PublicClientKey]
    now: datetime
    expires_at: datetime


class Caller(Protocol):
    """Whoever asks to see a card number: an identity principal."""

    @property
    def id(self) -> str:
        """The caller's id, for the journal."""
        ...


class Authorize(Protocol):
    """Decides whether a caller may do something; raises StrongroomError when not."""

    def __call__(
        self, principal: Any, /, *, action: str, merchant: str, context: dict[str, Any]
    ) -> Awaitable[object] | object:
        """Return (or await to) anything when it is allowed."""
        ...


class Vault(Protocol):
    """The one door for card data: cards in, tokens out; `forward` and `reveal` the only exits."""

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
        """Store a card sealed and return its new token; unsaved cards leave after a day."""
        ...

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
        """Store many cards, all or none; errors name the card as `cards[3].number`."""
        ...

    async def client_keys(self, merchant: str) -> KeyDocument:
        """Return the public keys to which the merchant's clients encrypt cards."""
        ...

    async def tokenize_encrypted(
        self,
        merchant: str,
        encrypted: EncryptedCard,
        *,
        saved: bool,
        actor: str,
        hold_cvc: bool = False,
        request_id: str | None = None,
        kind: TokenKind = PLAIN_TOKEN,
    ) -> EncryptedToken:
        """Open a card that a client encrypted, once, and store it like `tokenize`.

        Raises:
            StrongroomError: `encrypted_card_invalid`, `encrypted_card_expired`,
                `encrypted_card_replayed`, and what `tokenize` raises.
        """
        ...

    async def tokenize_encrypted_batch(
        self,
        merchant: str,
        encrypted: Sequence[EncryptedCard],
        *,
        saved: bool,
        actor: str,
        request_id: str | None = None,
        kind: TokenKind = PLAIN_TOKEN,
    ) -> list[TokenView]:
        """Open and store many cards, all or none; each is used up even when none is stored."""
        ...

    async def commitment_encrypted(self, merchant: str, encrypted: EncryptedCard) -> bytes:
        """Return the commitment of a card that a client encrypted, also after its time or use.

        It says whether a repeated request is the same one; it never stores or uses the card.
        """
        ...

    async def describe(self, merchant: str, token: str) -> TokenView:
        """Return what may be known of a token whose time is not over."""
        ...

    async def take(
        self, merchant: str, token: str, *, use: str, actor: str, request_id: str | None = None
    ) -> TokenView:
        """Return what may be known of a token that is about to pay; `use` names the occasion.

        A single-use token is used up by the first `use` that asks for it, and only that one is
        answered again.

        Raises:
            StrongroomError: `token_used`, `token_expired`, `token_not_found`.
        """
        ...

    async def resolve(self, merchant: str, alias: str) -> TokenView:
        """Return what may be known of the token that has this alias of digits.

        Raises:
            StrongroomError: `token_not_found`, `token_expired`.
        """
        ...

    async def commitment(self, merchant: str, card: CardInput) -> bytes:
        """Return 32 keyed bytes that are equal for equal PAN, expiry and holder; CVC left out."""
        ...

    async def hold_cvc(self, merchant: str, token: str, cvc: Cvc) -> CvcHandle:
        """Seal a security code for the attempt that follows; memory only, ten minutes at most."""
        ...

    def drop_cvc(self, cvc: CvcHandle) -> None:
        """Destroy a held security code now; harmless when it is gone already."""
        ...

    async def forward(
        self,
        merchant: str,
        request: OutboundRequest,
        *,
        token: str | None = None,
        cvc: CvcHandle | None = None,
    ) -> GatewayAnswer:
        """Fill the request's slots, send it, return the scrubbed answer.

        The security code is destroyed unless the request was certainly not sent.

        Raises:
            NotSent: the gateway certainly got nothing.
            OutcomeUnknown: it may have.
        """
        ...

    async def hold(
        self,
        merchant: str,
        token: str,
        *,
        until: datetime,
        actor: str,
        request_id: str | None = None,
    ) -> None:
        """Keep an unsaved card for a payment that waits, for at most a week."""
        ...

    async def mark_saved(
        self, merchant: str, token: str, *, actor: str, request_id: str | None = None
    ) -> TokenView:
        """Keep the card until it is deleted."""
        ...

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
        ...

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
        """Return many card numbers in order, or why a token has none; journaled like `reveal`."""
        ...

    async def delete(
        self, merchant: str, token: str, *, actor: str, request_id: str | None = None
    ) -> None:
        """Remove the card data; the token stays known as removed."""
        ...

    async def subject_tokens(self, merchant: str, data_subject: Secret[str]) -> list[str]:
        """Return the tokens of a person's cards, at most a thousand."""
        ...

    async def erase_subject(
        self,
        merchant: str,
        data_subject: Secret[str],
        *,
        reason: str,
        actor: str,
        request_id: str | None = None,
    ) -> Shredded:
        """Destroy a person's keys and cards; return the signed receipt, the same when asked twice.

        Raises:
            StrongroomError: `data_subject_not_found`, `data_subject_busy`, `invalid_data_subject`.
        """
        ...

    async def replay_shreds(self) -> int:
        """Shred again what a restored backup revived; returns how many keys. Before anything."""
        ...

    async def purge_expired(self, now: datetime | None = None) -> int:
        """Remove unsaved cards whose time is over; returns how many. For the worker."""
        ...

"""The wire: every request and answer body as a frozen type, each field with its data class.

Card data is typed `Pan`, `Cvc` and `Secret`, so that no `repr` can show it.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from strongroom.api.wire import (
    ID,
    Amount,
    Currency,
    Description,
    ExpiresIn,
    Flag,
    Format,
    KeepLast4,
    Label,
    MerchantId,
    Metadata,
    PaymentId,
    Reason,
    Reference,
    RefundId,
    SingleUse,
    TokenId,
    Unix,
    Url,
    Wire,
    data,
)
from strongroom.kernel.limits import (
    BATCH_TOKENIZE_MAX,
    ENCRYPTED_BATCH_MAX,
)
from strongroom.kernel.secret import Cvc, EncryptedCard, Pan, Secret

T = TypeVar("T")

BATCH_BODY_BYTES_MAX = 327_680
"""A thousand cards of about 300 bytes, or a hundred of 2 kB that clients encrypted."""

_SEALED = "A card encrypted to a key of GET /v1/vault/keys."
Encrypted = Annotated[EncryptedCard, data("cardholder", description=_SEALED)]

# --- requests ------------------------------------------------------------------------------------


class CardBody(Wire, frozen=True, kw_only=True):
    """A card as it comes in."""

    number: Annotated[Pan, data("cardholder", description="12 to 19 digits, no separators.")]
    exp_month: Annotated[int, data("cardholder", ge=1, le=12)]
    exp_year: Annotated[int, data("cardholder", ge=2000, le=2099)]
    cvc: Annotated[Cvc | None, data("sad", description="3 or 4 digits; never stored.")] = None
    holder_name: Annotated[Secret[str] | None, data("personal")] = None
    data_subject: Annotated[
        Secret[str] | None, data("personal", description="Your own reference of the person.")
    ] = None


class TokenBody(Wire, frozen=True, kw_only=True):
    """POST /v1/tokens: a card, clear or encrypted by the client."""

    card: CardBody | None = None
    encrypted_card: Encrypted | None = None
    save: Annotated[bool, data("internal", description="Keep the card beyond a day.")] = False
    single_use: SingleUse = False
    expires_in: ExpiresIn | None = None
    format: Format | None = None
    keep_last4: KeepLast4 = False


def _up_to(count: int) -> Meta:
    return data("cardholder", min_length=1, max_length=count)


class TokenBatchBody(Wire, frozen=True, kw_only=True):
    """POST /v1/tokens/batch: all or none, either clear or encrypted by the client."""

    cards: Annotated[list[CardBody], _up_to(BATCH_TOKENIZE_MAX)] | None = None
    encrypted_cards: Annotated[list[Encrypted], _up_to(ENCRYPTED_BATCH_MAX)] | None = None
    save: Flag = False
    single_use: SingleUse = False
    expires_in: ExpiresIn | None = None
    format: Format | None = None
    keep_last4: KeepLast4 = False


class PaymentMethodBody(Wire, frozen=True, kw_only=True):
    """A card, an encrypted card or a token; only a token has its cvc beside it."""

    card: CardBody | None = None
    encrypted_card: Encrypted | None = None
    token: TokenId | None = None
    cvc: Annotated[Cvc | None, data("sad")] = None


class PaymentBody(Wire, frozen=True, kw_only=True):
    """POST /v1/payments."""

    amount: Amount
    currency: Currency
    payment_method: PaymentMethodBody
    capture_method: Annotated[Literal["automatic", "manual"], data("internal")] = "automatic"
    reference: Reference | None = None
    description: Description | None = None
    metadata: Metadata = msgspec.field(default_factory=dict)
    return_url: Url | None = None


class CaptureBody(Wire, frozen=True, kw_only=True):
    """POST /v1/payments/{id}/capture; without an amount all that is left."""

    amount: Amount | None = None


class CancelBody(Wire, frozen=True, kw_only=True):
    """POST /v1/payments/{id}/cancel: an empty object."""


class RefundBody(Wire, frozen=True, kw_only=True):
    """POST /v1/payments/{id}/refunds; without an amount all that is left."""

    amount: Amount | None = None
    reason: Reason | None = None


class ReviewBody(Wire, frozen=True, kw_only=True):
    """POST /v1/payments/{id}/review."""

    decision: Annotated[Literal["approve", "reject"], data("internal")]


# --- queries -------------------------------------------------------------------------------------


class NoQuery(Wire, frozen=True, kw_only=True):
    """No parameter."""


class PaymentQuery(Wire, frozen=True, kw_only=True):
    """GET /v1/payments."""

    limit: Annotated[int, data("internal", ge=1, le=100)] | None = None
    starting_after: PaymentId | None = None
    ending_before: PaymentId | None = None
    status: (
        Annotated[
            Literal[
                "processing",
                "requires_action",
                "requires_review",
                "authorized",
                "partially_captured",
                "captured",
                "canceled",
                "declined",
                "blocked",
            ],
            data("internal"),
        ]
        | None
    ) = None
    reference: Reference | None = None


class EntryQuery(Wire, frozen=True, kw_only=True):
    """GET /v1/journal/entries."""

    subject: Annotated[str, data("internal", pattern="^[A-Za-z0-9_.:-]{1,100}$")] | None = None
    limit: Annotated[int, data("internal", ge=1, le=100)] | None = None
    starting_after: Annotated[str, data("internal", pattern=f"^ent_{ID}")] | None = None


# --- answers -------------------------------------------------------------------------------------


class CardView(Wire, frozen=True, kw_only=True):
    """What may be shown of a card (PCI DSS 3.4.1)."""

    brand: Label
    bin: Annotated[str, data("cardholder")]
    last4: Annotated[str, data("cardholder")]
    exp_month: Annotated[int, data("cardholder")]
    exp_year: Annotated[int, data("cardholder")]
    fingerprint: Annotated[str, data("confidential", description="Same card, same merchant.")]


class TokenAnswer(Wire, frozen=True, kw_only=True):
    """A token: a card in the vault."""

    id: TokenId
    object: Annotated[Literal["token"], data("public")] = "token"
    created: Unix
    livemode: Flag
    card: CardView
    saved: Flag
    expires_at: Unix | None
    single_use: Flag = False
    used_at: Unix | None = None
    alias: Annotated[str | None, data("confidential")] = None


class PaymentMethodView(Wire, frozen=True, kw_only=True):
    """How a payment is paid."""

    type: Annotated[Literal["card"], data("public")] = "card"
    token: TokenId
    card: CardView


class DeclineView(Wire, frozen=True, kw_only=True):
    """Why the card was not charged; `message` may be shown to the shopper."""

    code: Label
    message: Annotated[str, data("internal")]


class Redirect(Wire, frozen=True, kw_only=True):
    """Where to send the shopper's browser, and where it comes back to."""

    url: Annotated[str, data("confidential")]
    return_url: Annotated[str | None, data("confidential")]


class NextAction(Wire, frozen=True, kw_only=True):
    """What the shopper must do before the payment can go on."""

    type: Annotated[Literal["redirect_to_url"], data("public")] = "redirect_to_url"
    redirect_to_url: Redirect


class GatewayView(Wire, frozen=True, kw_only=True):
    """Which gateway took the payment, and its own id there."""

    name: Label
    reference: Annotated[str | None, data("internal")]


class PaymentAnswer(Wire, frozen=True, kw_only=True):
    """A payment."""

    id: PaymentId
    object: Annotated[Literal["payment"], data("public")] = "payment"
    created: Unix
    livemode: Flag
    merchant: MerchantId
    amount: Amount
    currency: Currency
    status: Label
    amount_capturable: Amount
    amount_captured: Amount
    amount_refunded: Amount
    capture_method: Label
    reference: Annotated[str | None, data("confidential")]
    metadata: Annotated[dict[str, str], data("confidential")]
    payment_method: PaymentMethodView
    decline: DeclineView | None
    next_action: NextAction | None
    gateway: GatewayView


class RefundAnswer(Wire, frozen=True, kw_only=True):
    """A refund of a payment; `failure_code` stands when the gateway refused it."""

    id: RefundId
    object: Annotated[Literal["refund"], data("public")] = "refund"
    created: Unix
    livemode: Flag
    payment: PaymentId
    amount: Amount
    currency: Currency
    status: Label
    reason: Annotated[str | None, data("confidential")]
    failure_code: Annotated[str | None, data("internal")]


class PostingAnswer(Wire, frozen=True, kw_only=True):
    """One line of a ledger transaction: positive for debit, negative for credit."""

    object: Annotated[Literal["posting"], data("public")] = "posting"
    transaction: Label
    line: Annotated[int, data("internal")]
    payment: PaymentId
    operation: Label
    account: Label
    currency: Currency
    amount: Amount
    created: Unix


class BalanceAnswer(Wire, frozen=True, kw_only=True):
    """Totals of one account in one currency."""

    object: Annotated[Literal["balance"], data("public")] = "balance"
    account: Label
    currency: Currency
    debit: Amount
    credit: Amount
    balance: Amount


class EntryAnswer(Wire, frozen=True, kw_only=True):
    """A journal entry as recorded."""

    id: Label
    object: Annotated[Literal["journal_entry"], data("public")] = "journal_entry"
    at: Annotated[str, data("internal", description="RFC 3339, UTC.")]
    merchant: Annotated[str | None, data("internal")]
    actor: Annotated[str, data("confidential")]
    action: Label
    subject: Label
    outcome: Label
    reason: Annotated[str | None, data("internal")]
    facts: Annotated[dict[str, str | int | bool], data("confidential")]
    request: Annotated[str | None, data("internal")]


class ProofAnswer(Wire, frozen=True, kw_only=True):
    """All that is needed to check one entry offline (RFC 6962 inclusion)."""

    object: Annotated[Literal["journal_proof"], data("public")] = "journal_proof"
    entry: Annotated[str, data("confidential", description="The exact bytes that are hashed.")]
    index: Annotated[int, data("internal")]
    size: Annotated[int, data("internal")]
    hashes: Annotated[list[str], data("internal", description="Audit path, base64.")]
    checkpoint: Annotated[str, data("internal", description="A C2SP signed note.")]


class CheckpointAnswer(Wire, frozen=True, kw_only=True):
    """The last signed checkpoint of the journal."""

    object: Annotated[Literal["journal_checkpoint"], data("public")] = "journal_checkpoint"
    size: Annotated[int, data("internal")]
    root: Annotated[str, data("internal", description="Root hash, base64.")]
    note: Annotated[str, data("internal", description="A C2SP signed note.")]
    created: Unix | None


class CheckView(Wire, frozen=True, kw_only=True):
    """One readiness check; `code` says what is wrong."""

    name: Label
    ok: Flag
    code: Annotated[str | None, data("internal")] = None


class HealthAnswer(Wire, frozen=True, kw_only=True):
    """Whether this process is alive or ready."""

    status: Annotated[Literal["ok", "unavailable"], data("internal")]
    checks: list[CheckView] = msgspec.field(default_factory=list)


class ListAnswer(Wire, Generic[T], frozen=True, kw_only=True):
    """A page of a list."""

    object: Annotated[Literal["list"], data("public")] = "list"
    data: list[T]
    has_more: Flag
    url: Label


class ProblemAnswer(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """An error (RFC 9457) with a stable `code`."""

    type: Label
    title: Label
    status: Annotated[int, data("public")]
    detail: Label
    instance: Label
    code: Label
    request_id: Annotated[str | None, data("internal")] = None
    doc_url: Label = ""
    param: Annotated[str | None, data("internal")] = None
    decline_code: Annotated[str | None, data("internal")] = None
    payment: PaymentAnswer | None = None
    refund: RefundAnswer | None = None

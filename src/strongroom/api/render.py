"""From the rooms' values to wire bodies; what `WireRenderer` makes is stored and sent as it is."""

from __future__ import annotations

from datetime import datetime

import msgspec

from strongroom.api import problems
from strongroom.api.metrics import Metrics
from strongroom.api.model import (
    BalanceAnswer,
    CardView,
    DeclineView,
    GatewayView,
    NextAction,
    PaymentAnswer,
    PaymentMethodView,
    PostingAnswer,
    Redirect,
    RefundAnswer,
    TokenAnswer,
)
from strongroom.kernel.errors import StrongroomError
from strongroom.ledger import Balance, Posting
from strongroom.payments import Answer, Payment, Refund, Status
from strongroom.vault import TokenView

encode = msgspec.json.Encoder().encode

_REFUSED = {
    Status.DECLINED: ("card_declined", "The card was declined."),
    Status.BLOCKED: ("payment_blocked", "The payment was blocked as too risky."),
}
_REJECTED = {
    "capture": ("capture_rejected", "The gateway refused the capture."),
    "void": ("cancel_rejected", "The gateway refused to cancel."),
}
_REFUND_FAILED = ("refund_failed", "The gateway refused the refund.")


class WireRenderer:
    """Makes the answers that payments stores under idempotency keys (`payments.Renderer`)."""

    def __init__(self, *, mode: str, metrics: Metrics, doc_base: str = "") -> None:
        self._live = mode == "live"
        self._metrics = metrics
        self._doc_base = doc_base

    def payment(
        self, payment: Payment, *, created: bool, pending: bool, request: str | None
    ) -> Answer:
        """Return 402 when declined or blocked, 202 when not settled, 201 when new, else 200."""
        if created:
            self._metrics.payment(payment.status.value)
        view = payment_view(payment, live=self._live)
        refused = _REFUSED.get(payment.status)
        if refused is not None:
            words = (refused[0], payment.decline_message or refused[1])
            return self._problem(words, view, request, payment.decline_code)
        if pending or payment.status is Status.PROCESSING:
            return Answer(202, encode(view))
        return Answer(201 if created else 200, encode(view))

    def refund(self, refund: Refund, *, request: str | None) -> Answer:
        """Return 201, or 402 when the gateway refused the refund."""
        self._metrics.refund(refund.status)
        view = refund_view(refund, live=self._live)
        if refund.status == "failed":
            return self._problem(_REFUND_FAILED, view, request, refund.failure_code)
        return Answer(201, encode(view))

    def rejected(
        self,
        payment: Payment,
        *,
        kind: str,
        code: str | None,
        message: str | None,
        request: str | None,
    ) -> Answer:
        """Return 402 for a capture or void that the gateway refused for good."""
        known, public = _REJECTED[kind]
        view = payment_view(payment, live=self._live)
        return self._problem((known, message or public), view, request, code)

    def _problem(
        self,
        words: tuple[str, str],
        view: PaymentAnswer | RefundAnswer,
        request: str | None,
        decline_code: str | None,
    ) -> Answer:
        payment = view if isinstance(view, PaymentAnswer) else None
        refund = view if isinstance(view, RefundAnswer) else None
        made = problems.body(
            StrongroomError(*words),
            request=request,
            instance=f"/v1/payments/{view.payment if isinstance(view, RefundAnswer) else view.id}",
            doc_base=self._doc_base,
            decline_code=decline_code,
            payment=payment,
            refund=refund,
        )
        return Answer(problems.status_of(words[0]), made)


def payment_view(payment: Payment, *, live: bool) -> PaymentAnswer:
    """Return the wire form of a payment."""
    card = payment.card
    return PaymentAnswer(
        id=payment.id,
        created=unix(payment.created_at),
        livemode=live,
        merchant=payment.merchant,
        amount=payment.amount_minor,
        currency=payment.currency,
        status=payment.status.value,
        amount_capturable=payment.capturable_minor,
        amount_captured=payment.captured_minor,
        amount_refunded=payment.refunded_minor,
        capture_method=payment.capture_method.value,
        reference=payment.reference,
        metadata=payment.metadata,
        payment_method=PaymentMethodView(
            token=card.token,
            card=CardView(
                brand=card.brand,
                bin=card.bin,
                last4=card.last4,
                exp_month=card.exp_month,
                exp_year=card.exp_year,
                fingerprint=card.fingerprint,
            ),
        ),
        decline=_decline(payment),
        next_action=_next_action(payment),
        gateway=GatewayView(name=payment.gateway, reference=payment.gateway_reference),
    )


def _decline(payment: Payment) -> DeclineView | None:
    if payment.decline_code is None:
        return None
    return DeclineView(code=payment.decline_code, message=payment.decline_message or "")


def _next_action(payment: Payment) -> NextAction | None:
    if payment.status is not Status.REQUIRES_ACTION or payment.action_url is None:
        return None
    return NextAction(
        redirect_to_url=Redirect(url=payment.action_url, return_url=payment.return_url)
    )


def refund_view(refund: Refund, *, live: bool) -> RefundAnswer:
    """Return the wire form of a refund."""
    return RefundAnswer(
        id=refund.id,
        created=unix(refund.created_at),
        livemode=live,
        payment=refund.payment.id,
        amount=refund.amount_minor,
        currency=refund.payment.currency,
        status=refund.status,
        reason=refund.reason,
        failure_code=refund.failure_code,
    )


def token_view(token: TokenView, *, live: bool) -> TokenAnswer:
    """Return the wire form of a token."""
    return TokenAnswer(
        id=token.token,
        created=unix(token.created_at),
        livemode=live,
        card=CardView(
            brand=token.brand,
            bin=token.bin,
            last4=token.last4,
            exp_month=token.exp_month,
            exp_year=token.exp_year,
            fingerprint=token.fingerprint,
        ),
        saved=token.saved,
        expires_at=None if token.expires_at is None else unix(token.expires_at),
        single_use=token.single_use,
        used_at=None if token.used_at is None else unix(token.used_at),
        alias=token.alias,
    )


def posting_view(posting: Posting) -> PostingAnswer:
    """Return the wire form of a ledger line."""
    return PostingAnswer(
        transaction=posting.transaction,
        line=posting.line,
        payment=posting.payment,
        operation=posting.operation,
        account=posting.account.value,
        currency=posting.currency,
        amount=posting.amount_minor,
        created=unix(posting.at),
    )


def balance_view(balance: Balance) -> BalanceAnswer:
    """Return the wire form of an account's totals."""
    return BalanceAnswer(
        account=balance.account.value,
        currency=balance.currency,
        debit=balance.debit_minor,
        credit=balance.credit_minor,
        balance=balance.balance_minor,
    )


def unix(moment: datetime) -> int:
    """Return seconds since 1970."""
    return int(moment.timestamp())

"""Builds Stripe's requests: one PaymentIntent call per payment, created and confirmed at once.

The body is form-encoded text with slots where the vault puts the card. A request without a return
URL asks Stripe to decline instead of waiting for an authentication that nobody can be sent to.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote_plus, urlencode

from strongroom.gateways.model import Operation, OperationKind
from strongroom.gateways.reading import idempotency_key, payment_at_gateway, safe_id
from strongroom.gateways.stripe.amounts import to_stripe
from strongroom.gateways.stripe.wire import API_VERSION, OPERATION, PAYMENT
from strongroom.kernel.errors import StrongroomError
from strongroom.kernel.ids import unix_ms_of, uuid_of
from strongroom.kernel.secret import Secret
from strongroom.vault import Encoding, OutboundRequest, Slot

SEND_WITHIN_S: Final = 60
"""Latest sending of an operation after its id was made: one API request and its retries."""
CLOCK_SKEW_S: Final = 60
"""How far Stripe's clock and ours may be apart."""
PAGE: Final = 25
"""Intents per inquiry page: at 10 kB each a page stays below `MAX_GATEWAY_ANSWER_BYTES`."""

_METADATA_VALUE_CHARS = 500
_DESCRIPTION_CHARS = 500

Pairs = list[tuple[str, str]]
Body = tuple[str | Slot | tuple[str, Slot], ...]


def authorize(base_url: str, authorization: Secret[str], op: Operation) -> OutboundRequest:
    """Create and confirm a payment intent with the card in its slots."""
    pairs: Pairs = [
        ("amount", str(to_stripe(op.amount))),
        ("currency", op.amount.currency.lower()),
        ("confirm", "true"),
        ("capture_method", "automatic" if op.capture else "manual"),
        ("allowed_payment_method_types[0]", "card"),
        (f"metadata[{OPERATION}]", op.id),
        (f"metadata[{PAYMENT}]", op.payment_id),
        ("expand[0]", "latest_charge"),
    ]
    pairs += _optional(op)
    if op.request_3ds:
        pairs.append(("payment_method_options[card][request_three_d_secure]", "any"))
    pairs.append(("payment_method_data[type]", "card"))
    url = f"{base_url}/v1/payment_intents"
    return _post(url, authorization, op, (encode(pairs), *_card(op.has_cvc)))


def capture(base_url: str, authorization: Secret[str], op: Operation) -> OutboundRequest:
    """Capture `op.amount`; Stripe releases what is left over."""
    url = f"{base_url}/v1/payment_intents/{payment_at_gateway(op)}/capture"
    pairs: Pairs = [("amount_to_capture", str(to_stripe(op.amount)))]
    return _post(url, authorization, op, (encode(pairs),))


def void(base_url: str, authorization: Secret[str], op: Operation) -> OutboundRequest:
    """Cancel a payment intent that is not captured."""
    url = f"{base_url}/v1/payment_intents/{payment_at_gateway(op)}/cancel"
    return _post(url, authorization, op, ())


def refund(base_url: str, authorization: Secret[str], op: Operation) -> OutboundRequest:
    """Pay `op.amount` back."""
    pairs: Pairs = [
        ("payment_intent", payment_at_gateway(op)),
        ("amount", str(to_stripe(op.amount))),
        (f"metadata[{OPERATION}]", op.id),
        (f"metadata[{PAYMENT}]", op.payment_id),
    ]
    return _post(f"{base_url}/v1/refunds", authorization, op, (encode(pairs),))


def inquire(
    base_url: str, authorization: Secret[str], op: Operation, cursor: str | None
) -> OutboundRequest:
    """Ask what became of an operation, by the payment's id if it is known, else by listing."""
    idempotency_key(op)
    if op.kind is OperationKind.REFUND:
        pairs: Pairs = [("payment_intent", payment_at_gateway(op)), ("limit", str(PAGE))]
        return _get(f"{base_url}/v1/refunds", authorization, pairs, cursor)
    if op.gateway_reference is not None or op.kind is not OperationKind.AUTHORIZE:
        url = f"{base_url}/v1/payment_intents/{payment_at_gateway(op)}"
        return _get(url, authorization, [("expand[0]", "latest_charge")], None)
    made_s = unix_ms_of(uuid_of(op.id, "op")) // 1_000
    pairs = [
        ("created[gte]", str(made_s - CLOCK_SKEW_S)),
        ("created[lte]", str(made_s + SEND_WITHIN_S + 2 * CLOCK_SKEW_S)),
        ("limit", str(PAGE)),
    ]
    return _get(f"{base_url}/v1/payment_intents", authorization, pairs, cursor)


def not_supported() -> StrongroomError:
    """Return the error for an operation that Stripe has no call for."""
    return StrongroomError(
        "operation_not_supported", "The gateway of this payment does not support this operation."
    )


def encode(pairs: Pairs) -> str:
    """Return form encoding; names are plain and keep readable brackets, as Stripe's SDK does."""
    return "&".join([f"{name}={quote_plus(value)}" for name, value in pairs])


def _optional(op: Operation) -> Pairs:
    pairs: Pairs = []
    if op.reference is not None:
        pairs.append(("metadata[reference]", op.reference[:_METADATA_VALUE_CHARS]))
    if op.description is not None:
        pairs.append(("description", op.description[:_DESCRIPTION_CHARS]))
    if op.return_url is not None:
        pairs.append(("return_url", op.return_url))
    else:
        pairs.append(("error_on_requires_action", "true"))
    return pairs


def _card(has_cvc: bool) -> Body:
    card = "&payment_method_data[card]"
    body: Body = (
        f"{card}[number]=",
        Slot.NUMBER,
        f"{card}[exp_month]=",
        Slot.EXP_MONTH,
        f"{card}[exp_year]=",
        Slot.EXP_YEAR,
        ("&payment_method_data[billing_details][name]=", Slot.HOLDER_NAME),
    )
    return (*body, (f"{card}[cvc]=", Slot.CVC)) if has_cvc else body


def _post(url: str, authorization: Secret[str], op: Operation, body: Body) -> OutboundRequest:
    return OutboundRequest(
        method="POST",
        url=url,
        headers=(
            ("Authorization", authorization),
            ("Stripe-Version", API_VERSION),
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Idempotency-Key", idempotency_key(op)),
        ),
        body=body,
        encoding=Encoding.FORM,
        repeatable=True,
    )


def _get(url: str, authorization: Secret[str], pairs: Pairs, cursor: str | None) -> OutboundRequest:
    if cursor is not None:
        pairs.append(("starting_after", safe_id(cursor)))
    return OutboundRequest(
        method="GET",
        url=f"{url}?{urlencode(pairs)}",
        headers=(("Authorization", authorization), ("Stripe-Version", API_VERSION)),
        encoding=Encoding.FORM,
        repeatable=True,
    )

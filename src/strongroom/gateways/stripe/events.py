"""Verifies and reads Stripe's webhooks (`Stripe-Signature`). Fails closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from strongroom.gateways.model import GatewayEvent, Topic
from strongroom.gateways.reading import malformed, operation_id_or_none
from strongroom.gateways.signing import verify
from strongroom.gateways.stripe.wire import EVENT, OPERATION, EventReference
from strongroom.kernel.secret import Secret

SIGNATURE_HEADER = "stripe-signature"

_TOPICS: dict[str, Topic] = {
    "payment_intent": "payment",
    "charge": "payment",
    "review": "payment",
    "refund": "refund",
    "dispute": "dispute",
    "radar.early_fraud_warning": "fraud_warning",
}


def read_event(
    account: str,
    headers: Mapping[str, str],
    raw_body: bytes,
    *,
    now: datetime,
    secrets: Sequence[Secret[str]],
    live: bool,
) -> GatewayEvent:
    """Return the event after checking its signature, age and mode.

    Raises:
        StrongroomError: `webhook_signature_invalid` or `webhook_malformed`.
    """
    verify(headers, raw_body, header=SIGNATURE_HEADER, now=now, secrets=secrets)
    try:
        event = EVENT.decode(raw_body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise malformed("not a Stripe event") from None
    if event.livemode != live:
        raise malformed("event of the other mode")
    about = event.data.object
    payment = about.id if about.object == "payment_intent" else about.payment_intent
    if isinstance(payment, EventReference):
        payment = payment.id
    return GatewayEvent(
        gateway=account,
        id=event.id,
        type=event.type,
        topic=_TOPICS.get(about.object, "other"),
        gateway_reference=payment,
        operation_id=operation_id_or_none((about.metadata or {}).get(OPERATION)),
        created_s=event.created,
    )

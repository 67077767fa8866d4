"""Verifies and reads the sandbox gateway's webhooks (`Sandbox-Signature`). Fails closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from strongroom.gateways.model import GatewayEvent, Topic
from strongroom.gateways.reading import malformed, operation_id_or_none
from strongroom.gateways.sandbox.wire import EVENT
from strongroom.gateways.signing import verify
from strongroom.kernel.secret import Secret

SIGNATURE_HEADER = "sandbox-signature"

_TOPICS: dict[str, Topic] = {
    "charge": "payment",
    "refund": "refund",
    "dispute": "dispute",
    "fraud_warning": "fraud_warning",
}


def read_event(
    account: str,
    headers: Mapping[str, str],
    raw_body: bytes,
    *,
    now: datetime,
    secrets: Sequence[Secret[str]],
) -> GatewayEvent:
    """Return the event after checking its signature and age.

    Raises:
        StrongroomError: `webhook_signature_invalid` or `webhook_malformed`.
    """
    verify(headers, raw_body, header=SIGNATURE_HEADER, now=now, secrets=secrets)
    try:
        event = EVENT.decode(raw_body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise malformed("not a sandbox event") from None
    operation = event.data.operation
    return GatewayEvent(
        gateway=account,
        id=event.id,
        type=event.type,
        topic=_TOPICS.get(event.type.partition(".")[0], "other"),
        gateway_reference=event.data.charge.id,
        operation_id=operation_id_or_none(operation.reference if operation else None),
        created_s=event.created,
    )

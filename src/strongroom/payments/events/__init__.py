"""Gateway webhooks: verified, kept once, and taken as a hint to look the payment up."""

from __future__ import annotations

from collections.abc import Mapping

from strongroom.kernel.errors import StrongroomError
from strongroom.payments.context import Context
from strongroom.payments.events import records


async def receive(ctx: Context, gateway: str, headers: Mapping[str, str], raw_body: bytes) -> None:
    """Take an event; what it says is believed only after the gateway was asked.

    Raises:
        StrongroomError: `gateway_not_found`, `webhook_signature_invalid`, `webhook_malformed`.
    """
    connector = ctx.connectors.get(gateway)
    if connector is None:
        raise StrongroomError("gateway_not_found", "There is no such gateway.")
    now = ctx.now()
    event = connector.parse_webhook(headers, raw_body, now=now)
    fresh = await records.note_event(
        ctx.database,
        gateway=gateway,
        event_id=event.id,
        kind=event.type,
        reference=event.gateway_reference,
        operation_id=event.operation_id,
        now=now,
    )
    if fresh:
        await records.hurry(
            ctx.database,
            now,
            operation_id=event.operation_id,
            gateway=gateway,
            reference=event.gateway_reference,
        )


purge = records.purge_events

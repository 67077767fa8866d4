"""What comes back from gateways: browsers after 3-D Secure, and signed events.

Both are hints only: payments asks the gateway what really happened.
"""

from __future__ import annotations

from strongroom.access import PUBLIC
from strongroom.api import errors
from strongroom.api.endpoint import Call, Endpoint, Limited, Reply
from strongroom.kernel.limits import MAX_WEBHOOK_BODY_BYTES


async def return_from_gateway(call: Call) -> Reply:
    """Send the shopper's browser on to the shop."""
    params = call.params
    url = await call.services.payments.returned(params["merchant_id"], params["payment_id"])
    if not url.isascii() or not url.isprintable():
        raise errors.not_found()
    return Reply(303, b"", b"", ((b"location", url.encode()),))


async def take_gateway_event(call: Call) -> Reply:
    """Take a gateway's event; its signature says who sends it."""
    await call.services.payments.gateway_event(call.params["gateway"], call.headers, call.raw)
    return Reply(202, b"", b"")


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/return/{merchant_id}/{payment_id}",
        action=PUBLIC,
        summary="Where a gateway sends the shopper's browser after authentication",
        handler=return_from_gateway,
        answers={303: None},
        errors=("payment_not_found",),
        lenient_query=True,
    ),
    Endpoint(
        method="POST",
        path="/v1/gateways/{gateway}/events",
        action=PUBLIC,
        summary="Take a gateway's signed event",
        handler=take_gateway_event,
        answers={202: None},
        errors=("gateway_not_found", "webhook_signature_invalid", "webhook_malformed"),
        raw=True,
        lenient_query=True,
        body_bytes_max=MAX_WEBHOOK_BODY_BYTES,
        limited=Limited.EVENTS,
    ),
)

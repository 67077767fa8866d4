"""Payments: the state machine, authorize, capture, void, refund, 3DS, idempotency, recovery."""

from strongroom.payments.breaker import Breaker
from strongroom.payments.context import Context
from strongroom.payments.flow import Payments
from strongroom.payments.model import (
    Answer,
    Caller,
    CaptureMethod,
    CreatePayment,
    EncryptedSource,
    Idempotency,
    Payment,
    Refund,
    Renderer,
    Status,
    TokenSource,
)

__all__ = [
    "Answer",
    "Breaker",
    "Caller",
    "CaptureMethod",
    "Context",
    "CreatePayment",
    "EncryptedSource",
    "Idempotency",
    "Payment",
    "Payments",
    "Refund",
    "Renderer",
    "Status",
    "TokenSource",
]

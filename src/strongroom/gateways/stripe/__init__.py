"""Stripe: builds PaymentIntent requests, reads their answers and webhooks. Sends nothing itself."""

from strongroom.gateways.stripe.connector import StripeConnector

__all__ = ["StripeConnector"]

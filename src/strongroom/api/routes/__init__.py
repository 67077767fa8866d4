"""The routes, by resource. `ENDPOINTS` is all of them; nothing else is served."""

from __future__ import annotations

from strongroom.api.routes import (
    approvals,
    books,
    gateways,
    journal,
    oauth,
    payments,
    refunds,
    reveal,
    security,
    service,
    subjects,
    tokens,
    vault_keys,
)

ENDPOINTS = (
    *tokens.ENDPOINTS,
    *reveal.ENDPOINTS,
    *vault_keys.ENDPOINTS,
    *subjects.ENDPOINTS,
    *payments.ENDPOINTS,
    *refunds.ENDPOINTS,
    *approvals.ENDPOINTS,
    *books.ENDPOINTS,
    *journal.ENDPOINTS,
    *gateways.ENDPOINTS,
    *security.ENDPOINTS,
    *oauth.ENDPOINTS,
    *service.ENDPOINTS,
)

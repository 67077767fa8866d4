"""The types of workloads: what is registered, what is shown."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

OF_THE_INSTALLATION = "service-monitor"
"""The one role without a merchant: it reads metrics."""


class WorkloadSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A registration somebody wants. `owner` says who answers for the service (PCI DSS 8.2.2)."""

    spiffe_id: str
    merchant: str | None
    role: str
    owner: str
    scopes: frozenset[str] | None = None


class WorkloadView(msgspec.Struct, frozen=True, kw_only=True):
    """A registration as operators see it; it holds no secret."""

    id: str
    spiffe_id: str
    merchant: str | None
    role: str
    scopes: tuple[str, ...] | None
    owner: str
    status: Literal["active", "revoked"]
    created_at: datetime
    created_by: str
    revoked_at: datetime | None

"""What a request shows of its sender, from what the server saw of it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from strongroom.api.headers import RequestHeaders
from strongroom.api.model import ApiSettings
from strongroom.identity import Arrival


def arrival_of(
    scope: MutableMapping[str, Any], found: RequestHeaders, settings: ApiSettings
) -> Arrival:
    """Return the arrival of an ASGI request; `target` begins with the public URL."""
    client = scope.get("client")
    query = scope["query_string"]
    path = scope["raw_path"].decode("latin-1")
    return Arrival(
        method=scope["method"],
        target=settings.public_url + path + ("?" + query.decode("latin-1") if query else ""),
        headers=scope["headers"],
        authorization=found.authorization,
        merchant=found.merchant,
        source=client[0] if client else "",
    )

"""What a request shows of its sender, from what the server saw of it."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from strongroom.api.headers import RequestHeaders
from strongroom.api.proxies import Proxies
from strongroom.api.settings import ApiSettings
from strongroom.identity import Arrival

PEER = "strongroom.peer"
"""Where the server puts the verified client certificate of a connection into ASGI's scope."""


def arrival_of(
    scope: MutableMapping[str, Any],
    found: RequestHeaders,
    settings: ApiSettings,
    proxies: Proxies,
) -> Arrival:
    """Return the arrival of an ASGI request; `target` begins with the public URL.

    Raises:
        StrongroomError: `forwarding_invalid`.
    """
    client = scope.get("client")
    address = client[0] if client else ""
    query = scope["query_string"]
    path = scope["raw_path"].decode("latin-1")
    return Arrival(
        method=scope["method"],
        target=settings.public_url + path + ("?" + query.decode("latin-1") if query else ""),
        headers=scope["headers"],
        authorization=found.authorization,
        merchant=found.merchant,
        source=proxies.source(address, scope["headers"]),
        peer=proxies.peer(address, scope.get(PEER), found.client_cert),
    )

"""HTTP: routes by resource, wire types, problem documents, OpenAPI. No business rules.

Commands need few of its names and none of its server, so names load when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.kernel.lazy import lazy_door

if TYPE_CHECKING:
    from strongroom.api.app import Api
    from strongroom.api.build import build
    from strongroom.api.endpoint import Check, Readiness, Services
    from strongroom.api.limiting import Limiter, Limits
    from strongroom.api.listening import Listener
    from strongroom.api.metrics import Metrics
    from strongroom.api.render import WireRenderer
    from strongroom.api.routes import ENDPOINTS
    from strongroom.api.settings import ApiSettings
    from strongroom.api.tls import TlsFiles

_HOMES = {
    "ENDPOINTS": "routes",
    "Api": "app",
    "ApiSettings": "settings",
    "Check": "endpoint",
    "Limiter": "limiting",
    "Limits": "limiting",
    "Listener": "listening",
    "Metrics": "metrics",
    "Readiness": "endpoint",
    "Services": "endpoint",
    "TlsFiles": "tls",
    "WireRenderer": "render",
    "build": "build",
}

__all__ = [
    "ENDPOINTS",
    "Api",
    "ApiSettings",
    "Check",
    "Limiter",
    "Limits",
    "Listener",
    "Metrics",
    "Readiness",
    "Services",
    "TlsFiles",
    "WireRenderer",
    "build",
]

__getattr__ = lazy_door(__name__, _HOMES)

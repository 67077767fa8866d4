"""HTTP: routes by resource, wire types, problem documents, OpenAPI. No business rules."""

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

"""HTTP: routes by resource, wire types, problem documents, OpenAPI. No business rules."""

from strongroom.api.app import Api
from strongroom.api.build import build
from strongroom.api.endpoint import Check, Readiness, Services
from strongroom.api.limiting import Limiter, Limits
from strongroom.api.metrics import Metrics
from strongroom.api.model import ApiSettings
from strongroom.api.render import WireRenderer
from strongroom.api.server import server_config

__all__ = [
    "Api",
    "ApiSettings",
    "Check",
    "Limiter",
    "Limits",
    "Metrics",
    "Readiness",
    "Services",
    "WireRenderer",
    "build",
    "server_config",
]

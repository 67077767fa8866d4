"""Puts the application together."""

from __future__ import annotations

from strongroom.api.app import Api
from strongroom.api.endpoint import Services, Shared
from strongroom.api.page import documents
from strongroom.api.routes import ENDPOINTS
from strongroom.api.settings import ApiSettings


def build(services: Services, settings: ApiSettings) -> Api:
    """Return the ASGI application over the rooms' doors.

    Raises:
        StrongroomError: `settings_invalid`.
    """
    services.limiter.check_routes(ENDPOINTS)
    return Api(services, settings, ENDPOINTS, Shared(documents(ENDPOINTS)))

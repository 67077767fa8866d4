"""The service about itself: health, metrics, OpenAPI, the documentation page."""

from __future__ import annotations

import asyncio
from time import monotonic

from strongroom.access import PUBLIC
from strongroom.api.endpoint import Call, Check, Endpoint, Limited, Owner, Reply
from strongroom.api.metrics import CONTENT_TYPE
from strongroom.api.model import CheckView, HealthAnswer
from strongroom.api.render import encode

CHECKS_TIMEOUT_S = 1.0
CHECKS_KEPT_S = 0.5
"""Readiness is looked at twice a second at most, however often it is asked for."""


async def show_live(_: Call) -> Reply:
    """Say that the process answers."""
    return Reply(200, encode(HealthAnswer(status="ok")))


async def show_ready(call: Call) -> Reply:
    """Say whether requests should be sent here; 503 when not."""
    checks = [Check("accepting", not call.shared.draining, "draining"), *await _checks(call)]
    ready = all(check.ok for check in checks)
    views = [
        CheckView(name=check.name, ok=check.ok, code=None if check.ok else check.code)
        for check in checks
    ]
    body = HealthAnswer(status="ok" if ready else "unavailable", checks=views)
    return Reply(200 if ready else 503, encode(body))


async def show_metrics(call: Call) -> Reply:
    """Show counters, histograms and gauges."""
    return Reply(200, await call.services.metrics.text(), CONTENT_TYPE)


async def show_openapi(call: Call) -> Reply:
    """Show the OpenAPI 3.1 document of this API."""
    return _document(call, "/openapi.json")


async def show_docs(call: Call) -> Reply:
    """Show the documentation page."""
    return _document(call, "/docs")


async def show_docs_style(call: Call) -> Reply:
    """Show the style sheet of the documentation page."""
    return _document(call, "/docs.css")


def _document(call: Call, path: str) -> Reply:
    media, body = call.shared.documents[path]
    return Reply(200, body, media)


async def _checks(call: Call) -> list[Check]:
    """Run the readiness checks once for all who ask within `CHECKS_KEPT_S`."""
    shared = call.shared
    if shared.checks is None or (
        shared.checks.done() and monotonic() - shared.checked_at > CHECKS_KEPT_S
    ):
        shared.checked_at = monotonic()
        shared.checks = asyncio.create_task(_guarded(call))
    return await asyncio.shield(shared.checks)


async def _guarded(call: Call) -> list[Check]:
    try:
        return await asyncio.wait_for(call.services.readiness.check(), CHECKS_TIMEOUT_S)
    except TimeoutError:
        return [Check("checks", False, "checks_timed_out")]
    except Exception:  # noqa: BLE001 - whatever breaks a check makes us not ready
        return [Check("checks", False, "checks_failed")]


def _public(path: str, summary: str, handler: object, *, always: bool = False) -> Endpoint:
    return Endpoint(
        method="GET",
        path=path,
        action=PUBLIC,
        summary=summary,
        handler=handler,  # type: ignore[arg-type]
        answers={200: HealthAnswer} if always else {200: None},
        always=always,
        limited=Limited.NOT if always else Limited.ADDRESS,
    )


ENDPOINTS = (
    _public("/health/live", "Whether the process answers", show_live, always=True),
    _public("/health/ready", "Whether requests should be sent here", show_ready, always=True),
    Endpoint(
        method="GET",
        path="/metrics",
        action="metrics:read",
        summary="Counters and gauges in the Prometheus text format",
        handler=show_metrics,
        answers={200: None},
        owner=Owner.INSTALLATION,
        always=True,
        limited=Limited.NOT,
    ),
    _public("/openapi.json", "This API as OpenAPI 3.1", show_openapi),
    _public("/docs", "The documentation page", show_docs),
    _public("/docs.css", "The style sheet of the documentation page", show_docs_style),
)

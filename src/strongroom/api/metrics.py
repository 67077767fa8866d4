"""Numbers for Prometheus. Labels are bounded: routes, statuses, configured names; never ids."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST.encode()
READ_TIMEOUT_S = 1.0
"""A gauge that cannot be read by then shows NaN, so that one bad part never hides the others."""

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

Read = Callable[[], float | Awaitable[float]]


class Metrics:
    """Counts requests, payments, refunds and gateway calls, and reads gauges when scraped."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(namespace="strongroom", registry=registry)
        self._seconds = Histogram(
            "strongroom_http_request_seconds",
            "Time to answer, by route.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=registry,
        )
        self._requests = _counter(
            registry, "http_requests", "Answers, by route.", "method", "route", "status"
        )
        self._payments = _counter(registry, "payments", "New payments, by status.", "status")
        self._refunds = _counter(registry, "refunds", "Refunds, by status.", "status")
        self._gateway = _counter(
            registry, "gateway_calls", "Outcomes.", "gateway", "operation", "result"
        )
        self._limited = _counter(registry, "requests_limited", "Refused by a limit.", "limit")
        self._series: dict[tuple[str, str, int], tuple[Histogram, Counter]] = {}
        self._watched: list[tuple[Gauge, Read]] = []

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is a declared path or `other`."""
        series = self._series.get((method, route, status))
        if series is None:
            series = (
                self._seconds.labels(method, route),
                self._requests.labels(method, route, str(status)),
            )
            self._series[method, route, status] = series
        series[0].observe(seconds)
        series[1].inc()

    def payment(self, status: str) -> None:
        """Count one new payment."""
        self._payments.labels(status).inc()

    def refund(self, status: str) -> None:
        """Count one refund."""
        self._refunds.labels(status).inc()

    def gateway(self, gateway: str, operation: str, result: str) -> None:
        """Count the outcome of one call to a gateway."""
        self._gateway.labels(gateway, operation, result).inc()

    def limited(self, limit: str) -> None:
        """Count one request that a limit refused; `limit` is a rule's name."""
        self._limited.labels(limit).inc()

    def watch(self, name: str, help_text: str, read: Read) -> None:
        """Show `strongroom_{name}`, read by calling `read` (or awaiting it) at each scrape."""
        gauge = Gauge(f"strongroom_{name}", help_text, registry=self._registry)
        self._watched.append((gauge, read))

    async def text(self) -> bytes:
        """Return everything in the Prometheus text format."""
        await asyncio.gather(*(_refresh(gauge, read) for gauge, read in self._watched))
        return generate_latest(self._registry)


def _counter(registry: CollectorRegistry, name: str, help_text: str, *labels: str) -> Counter:
    return Counter(f"strongroom_{name}", help_text, labels, registry=registry)


async def _refresh(gauge: Gauge, read: Read) -> None:
    try:
        value = read()
        if inspect.isawaitable(value):
            value = await asyncio.wait_for(value, READ_TIMEOUT_S)
        gauge.set(value)
    except Exception:  # noqa: BLE001 - a scrape shows what it can
        gauge.set(float("nan"))

"""What the service counts, for Prometheus: requests, ends of tasks, calls upstream, and what stands in line now.

Labels are routes, operations, models and statuses, all of closed sets: no URL, key, caller or host is in any.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from http import HTTPMethod

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgapi.api.openapi import ERRORS
from imgapi.tasks.census import Census
from imgapi.tasks.ledger import End

TAG = "service"
_REQUEST_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_CALL_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset(HTTPMethod)
_NO_ANSWER = "none"


class Metrics:
    """The counts of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "imgapi_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "imgapi_request_seconds",
            "From a request's head to the end of its answer.",
            ["route"],
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self._ended = Counter(
            "imgapi_tasks_ended", "Tasks that ended.", ["operation", "status", "billed"], registry=registry
        )
        self._pictures = Counter(
            "imgapi_pictures", "Pictures that tasks made.", ["operation", "billed"], registry=registry
        )
        self._cost = Counter(
            "imgapi_list_price_cny", "List price of the pictures billed, CNY.", ["operation"], registry=registry
        )
        self._calls = Histogram(
            "imgapi_upstream_call_seconds",
            "Calls to the upstream; outcome is the HTTP status, or none where no answer came.",
            ["call", "outcome"],
            buckets=_CALL_SECONDS,
            registry=registry,
        )
        self._under_way = Gauge(
            "imgapi_tasks_under_way",
            "Tasks that have not ended, of all processes that share the database.",
            ["operation", "model", "status"],
            registry=registry,
        )
        self._deliveries = Gauge(
            "imgapi_webhooks_pending", "Messages to webhooks that were not heard yet.", registry=registry
        )
        self._workers = Gauge(
            "imgapi_pictures_in_hand", "Pictures that workers work on, or that wait for one.", registry=registry
        )

    def count_end(self, operation: str, price_cny: float, end: End) -> None:
        """Count the end of a task."""
        self._ended.labels(operation, end.status, end.billed).inc()
        if end.made:
            self._pictures.labels(operation, end.billed).inc(end.made)
        if end.billed == "true":
            self._cost.labels(operation).inc(end.made * price_cny)

    def count_call(self, call: str, status: int | None, seconds: float) -> None:
        """Count a call to the upstream; `status` is None where no answer came."""
        self._calls.labels(call, _NO_ANSWER if status is None else str(status)).observe(seconds)

    def count_request(self, method: str, route: str, status: int | None, seconds: float) -> None:
        """Count an answer; `status` is None where the client left before it."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, _NO_ANSWER if status is None else str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    async def write(self, census: Census, pictures_in_hand: int) -> bytes:
        """Write everything in Prometheus' text format."""
        self._under_way.clear()
        for (operation, model, status), number in census.under_way.items():
            self._under_way.labels(operation, model, status).set(number)
        self._deliveries.set(census.deliveries_pending)
        self._workers.set(pictures_in_hand)
        # The process's own figures are read from files.
        return await asyncio.to_thread(generate_latest, self.registry)


class Measured:
    """The ASGI layer around all others that counts answers.

    Args:
        app: What answers.
        metrics: Where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status: int | None = None

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        begun = time.perf_counter()
        try:
            await self.app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", None) or "unmatched"
            self._metrics.count_request(scope["method"], route, status, time.perf_counter() - begun)


def metrics_router(
    metrics: Metrics, take_census: Callable[[], Awaitable[Census]], pictures_in_hand: Callable[[], int]
) -> APIRouter:
    """Make the route.

    Args:
        metrics: What was counted.
        take_census: Counts what is under way in the tasks database.
        pictures_in_hand: Counts what workers have to do.
    """
    router = APIRouter(tags=[TAG])
    answer = {"description": "Counts in Prometheus' text format.", "content": {"text/plain": {"schema": _TEXT}}}

    @router.get(
        "/metrics",
        operation_id="read_metrics",
        summary="What the service has counted",
        response_class=Response,
        responses={200: answer, 401: ERRORS[401], 429: ERRORS[429], 500: ERRORS[500]},
    )
    async def read_metrics() -> Response:
        """Tell requests, tasks, pictures, upstream calls and lines, for Prometheus to collect."""
        content = await metrics.write(await take_census(), pictures_in_hand())
        return Response(content, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4, "Cache-Control": "no-store"})

    return router


_TEXT = {"type": "string"}

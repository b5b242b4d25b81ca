"""Turning requests away at their heads, where the line is full: in a rush, in a fraction of the time of an answer."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from imgapi.api.access import name_request
from imgapi.api.failures import status_of, whole_seconds
from imgapi.api.metrics import Metrics
from imgapi.api.protocol import Headers, Refusal
from imgapi.errors import Overloaded

# The lines of a rush are written when it is over.
_LOG_AFTER_SECONDS = 0.1
_POST = b"POST"
log = structlog.get_logger("imgapi.access")


class Door:
    """Asks, for each request whose body takes a place in a line, whether there is one.

    Args:
        lines: By path, what raises Overloaded when there is no place for a body of so many bytes (None: not announced).
        metrics: Where those turned away are counted.
    """

    def __init__(self, lines: Mapping[str, Callable[[int | None], None]], metrics: Metrics) -> None:
        self._lines = {path.encode(): check for path, check in lines.items()}
        self._metrics = metrics

    def __call__(self, method: bytes, path: bytes, headers: Headers) -> Refusal | None:
        """Give the answer to a request that has no place; None for all others, which are for the application."""
        check = self._lines.get(path) if method == _POST else None
        if check is None:
            return None
        fields = {name: value.decode("latin-1") for name, value in headers}
        length = fields.get(b"content-length", "")
        try:
            check(int(length) if length.isdecimal() else None)
        except Overloaded as exc:
            request_id = name_request(fields.get(b"x-request-id", ""))
            refusal = Refusal(status_of(exc), exc.sentence, exc.code, request_id, whole_seconds(exc.retry_after))
            self._note(method.decode(), path.decode(), refusal)
            return refusal
        return None

    def _note(self, method: str, route: str, refusal: Refusal) -> None:
        self._metrics.count_request(method, route, refusal.status, 0.0)

        def write() -> None:
            log.info(
                "request",
                request_id=refusal.request_id,
                method=method,
                route=route,
                status=int(refusal.status),
                duration_ms=0.0,
                code=refusal.code,
            )

        asyncio.get_running_loop().call_later(_LOG_AFTER_SECONDS, write)

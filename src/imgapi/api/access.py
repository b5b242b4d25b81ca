"""What happens to every request at the border: its id, the bounds on its body, one log line, no escaping exception."""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgapi.api.failures import BODY_TOO_LARGE, error_response
from imgapi.errors import ImgapiError

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = structlog.get_logger("imgapi.access")


class _BodyTooLarge(Exception):
    """The body has more bytes than this path takes."""


class _BodyTooSlow(Exception):
    """The body did not arrive in time."""


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bounds on a request's body: bytes by kind, and seconds for the whole of it."""

    json_bytes: int
    multipart_bytes: int
    seconds: float

    def max_bytes(self, content_type: str) -> int:
        """How many bytes a body of this type may have."""
        return self.multipart_bytes if content_type.startswith("multipart/") else self.json_bytes


class Access:
    """The outermost ASGI layer.

    Args:
        app: What answers.
        limits: Bounds on bodies.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self.app = app
        self.limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        given = request.headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        request.state.request_id = request_id
        exchange = _Exchange(request_id, send)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        try:
            await self._answer(request, receive, exchange)
        finally:
            _write_line(request, exchange.status, time.perf_counter() - started)

    async def _answer(self, request: Request, receive: Receive, exchange: "_Exchange") -> None:
        limit = self.limits.max_bytes(request.headers.get("content-type", ""))
        try:
            length = request.headers.get("content-length", "")
            if length.isdigit() and int(length) > limit:
                raise _BodyTooLarge  # noqa: TRY301 - one place answers, wherever the excess was noticed
            bounded = _bound(receive, limit, self.limits.seconds)
            await self.app(request.scope, bounded, exchange.send)
        except _BodyTooLarge:
            sentence = f"The body is larger than {limit} bytes, the most that {request.url.path[:200]} takes."
            await exchange.refuse(request, BODY_TOO_LARGE, sentence, "body_too_large")
        except _BodyTooSlow:
            sentence = f"The body did not arrive within {self.limits.seconds:g} s."
            await exchange.refuse(request, HTTPStatus.REQUEST_TIMEOUT, sentence, "request_timeout")
        except Exception:
            log.exception("unexpected failure")
            if exchange.status is not None:
                raise
            sentence = "Something failed inside imgapi; the log has it under this request_id."
            await exchange.refuse(request, HTTPStatus.INTERNAL_SERVER_ERROR, sentence, "internal_error")


class _Exchange:
    """One answer on its way out; remembers its status and adds the request's id."""

    def __init__(self, request_id: str, send: Send) -> None:
        self.request_id = request_id
        self.status: int | None = None
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            message["headers"] = [*message["headers"], (b"x-request-id", self.request_id.encode())]
        await self._send(message)

    async def refuse(self, request: Request, status: HTTPStatus, sentence: str, code: str) -> None:
        if self.status is not None:
            return
        headers = {"Connection": "close"} if status is not HTTPStatus.INTERNAL_SERVER_ERROR else None
        answer = error_response(self.request_id, status, sentence, code, headers=headers)
        await answer(request.scope, request.receive, self.send)


def _bound(receive: Receive, max_bytes: int, seconds: float) -> Callable[[], Awaitable[Message]]:
    """Count a body's bytes and seconds as they are read."""
    size = 0
    is_complete = False
    deadline: float | None = None

    async def bounded() -> Message:
        nonlocal size, is_complete, deadline
        if is_complete:
            return await receive()
        now = asyncio.get_running_loop().time()
        deadline = now + seconds if deadline is None else deadline
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise _BodyTooSlow from None
        size += len(message.get("body", b""))
        if size > max_bytes:
            raise _BodyTooLarge
        is_complete = not message.get("more_body", False)
        return message

    return bounded


def _write_line(request: Request, status: int | None, seconds: float) -> None:
    fields: dict[str, Any] = {
        "method": request.method,
        "route": getattr(request.scope.get("route"), "path", None) or "unmatched",
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
    }
    failure = getattr(request.state, "failure", None)
    task_id = getattr(request.state, "task_id", None)
    if isinstance(failure, ImgapiError):
        fields["code"] = failure.code
        task_id = failure.task_id or task_id
        if failure.detail:
            fields["detail"] = failure.detail
    if task_id:
        fields["task_id"] = task_id
    log.info("request", **fields)

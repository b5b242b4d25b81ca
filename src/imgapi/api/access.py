"""What happens to every request at the border: its id, the bounds on its body, one log line, no escaping exception."""

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from imgapi.api.failures import BODY_TOO_LARGE, answer_named, error_response
from imgapi.errors import ImgapiError, Overloaded

Places: TypeAlias = Mapping[str, Callable[[int | None], AbstractContextManager[None]]]
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Bodies up to this size are never refused for want of memory, so that small requests pass at any time.
SMALL_BODY_BYTES = 64 * 1024
RETRY_SECONDS = 5
# How much of a refused body is read after the refusal, so that it arrives; nothing of it is kept.
_DRAINED_BYTES = 256 * 1024 * 1024
_DRAIN_SECONDS = 10.0
# Whoever reads while sending is gone by then, and in a rush the next refusals come before the dropping.
_DRAIN_AFTER_SECONDS = 0.1
# A small body that is all but here is waited for so long before its refusal, so that the connection can be used again.
_NEARLY_HERE_SECONDS = 0.02
# Pages bring policies of their own.
_POLICY = b"default-src 'none'; frame-ancestors 'none'"
log = structlog.get_logger("imgapi.access")


class _BodyRefused(HTTPException):
    """A body that is too large, too slow or one too many.

    An HTTP exception because FastAPI answers 400 to any other that comes out of reading a body.
    """

    def __init__(self, status: HTTPStatus, sentence: str, **headers: str) -> None:
        super().__init__(status, sentence, headers)


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bounds on requests' bodies.

    Args:
        json_bytes: Largest JSON body, data URLs included.
        plain_json_bytes: What of it may be anything else than data URLs.
        multipart_bytes: Largest form.
        seconds: How long the whole of one may take.
        total_bytes: Of all in flight together.
        form_fields: Text fields of a form.
        field_bytes: Largest of these.
    """

    json_bytes: int
    plain_json_bytes: int
    multipart_bytes: int
    seconds: float
    total_bytes: int
    form_fields: int = 10
    field_bytes: int = 64 * 1024

    def max_bytes(self, content_type: str) -> int:
        """How many bytes a body of this type may have."""
        return self.multipart_bytes if content_type.strip().lower().startswith("multipart/") else self.json_bytes


class Access:
    """The outermost ASGI layer.

    Args:
        app: What answers; its own handlers turn HTTP exceptions into answers.
        limits: Bounds on bodies.
        places: By path, what keeps a place for a body of so many bytes (None: not announced) while it arrives, or
            raises Overloaded, so that it is refused unread, and in a rush faster than any route could.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits, places: Places | None = None) -> None:
        self.app = app
        self.limits = limits
        self._places = places or {}
        self._memory = _Memory(limits.total_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        request_id = name_request(request.headers.get("x-request-id", ""))
        request.state.request_id = request_id
        request.state.body_limits = self.limits
        exchange = _Exchange(request_id, send)
        body = exchange.body = _Body(request, receive, self.limits, self._memory, exchange)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        try:
            with ExitStack() as place:
                request.state.place = place
                try:
                    self._keep_place(request, body, place)
                except ImgapiError as exc:
                    await answer_named(request, exc)(scope, receive, exchange.send)
                else:
                    await self._answer(request, body, exchange)
        finally:
            body.release()
            route = scope["path"] if scope["path"] in self._places else "unmatched"
            _write_line(request, exchange, time.perf_counter() - started, route)

    def _keep_place(self, request: Request, body: "_Body", place: ExitStack) -> None:
        keep = self._places.get(request.scope["path"])
        if keep is not None and request.method == "POST":
            place.enter_context(keep(body.announced_bytes or None))

    async def _answer(self, request: Request, body: "_Body", exchange: "_Exchange") -> None:
        working = asyncio.ensure_future(self.app(request.scope, body.receive, exchange.send))
        watching = asyncio.ensure_future(body.wait_for_departure())
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and not exchange.is_complete:
                # Nobody waits for the answer: what has not begun is not begun, and an edit goes on by itself.
                exchange.leave()
                working.cancel()
            await working
        except asyncio.CancelledError:
            working.cancel()
            if exchange.has_left:
                return
            exchange.outcome = "canceled"
            if exchange.status is None:
                # A server that stops has waited long enough.
                error = Overloaded.by_a_stop()
                error.task_id = getattr(request.state, "task_id", None)
                await answer_named(request, error)(request.scope, request.receive, exchange.send)
            raise
        except Exception:
            if exchange.has_left:
                return
            log.exception("unexpected failure")
            if exchange.status is not None:
                raise
            sentence = "Something failed inside imgapi; the log has it under this request_id."
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            answer = error_response(exchange.request_id, status, sentence, "internal_error")
            await answer(request.scope, request.receive, exchange.send)
        finally:
            watching.cancel()


def name_request(given: str) -> str:
    """Take the id that a client gave a request, or make one where it gave none that can be taken."""
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def take_place(request: Request) -> None:
    """Free the place that was kept for a request, for the call that its handler begins next, before any `await`."""
    request.state.place.close()


class _Exchange:
    """One answer on its way out; remembers its status and adds the request's id.

    An answer that comes before the whole of the request's body goes out at once; the rest of the body is read and
    dropped behind it, and the connection closed after that. One that is closed while bytes arrive is reset, and whoever
    still sends never sees the answer.
    """

    def __init__(self, request_id: str, send: Send) -> None:
        self.request_id = request_id
        self.status: int | None = None
        self.outcome: str | None = None
        self.has_left = False
        self.is_complete = False
        self.body: _Body | None = None
        self._comes_early = False
        self._send = send

    def leave(self) -> None:
        """Note that the client went away before its whole answer: nothing more is sent."""
        self.has_left = True
        self.outcome = "client left"

    async def send(self, message: Message) -> None:
        if self.has_left:
            return
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            message["headers"] = guarded(message["headers"], self.request_id)
            if self.body is not None and not await self.body.is_over():
                self._comes_early = True
                message["headers"].append((b"connection", b"close"))
        elif message["type"] == "http.response.body":
            self.is_complete = not message.get("more_body", False)
            if self.is_complete and self._comes_early and self.body is not None:
                await self._send({**message, "more_body": True})
                self.body.release()
                await self.body.drain()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)


def guarded(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    """Add the request's id, and what keeps a browser from making more of an answer than it is."""
    given = {name.lower(): value for name, value in headers}
    added = {
        b"x-request-id": request_id.encode(),
        b"x-content-type-options": b"nosniff",
        b"referrer-policy": b"no-referrer",
        b"content-security-policy": _POLICY,
    }
    return [*headers, *((name, value) for name, value in added.items() if name not in given)]


class _Memory:
    """Bytes that the bodies in flight take together."""

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._taken_bytes = 0

    def take(self, wanted_bytes: int, held_bytes: int) -> bool:
        """Take more for a body that holds some already; False when there is no more, except for a body alone."""
        others_bytes = self._taken_bytes - held_bytes
        if others_bytes and self._taken_bytes + wanted_bytes > self._total_bytes:
            return False
        self._taken_bytes += wanted_bytes
        return True

    def give_back(self, held_bytes: int) -> None:
        self._taken_bytes -= held_bytes


class _Body:
    """One request's body: its bytes and seconds are counted as it is read."""

    def __init__(
        self, request: Request, receive: Receive, limits: BodyLimits, memory: _Memory, exchange: _Exchange
    ) -> None:
        self._path = request.scope["path"][:200]
        length = request.headers.get("content-length", "")
        self.announced_bytes = int(length) if length.isdecimal() else 0
        self._is_empty = not self.announced_bytes and "transfer-encoding" not in request.headers
        # Who asks before sending ("Expect: 100-continue") has not begun, and reading would be the leave.
        self._waits_for_leave_to_send = "expect" in request.headers
        self._max_bytes = limits.max_bytes(request.headers.get("content-type", ""))
        self._seconds = limits.seconds
        self._receive = receive
        self._memory = memory
        self._exchange = exchange
        self._deadline: float | None = None
        self._read_bytes = 0
        self._held_bytes = 0
        self._complete = asyncio.Event()

    async def wait_for_departure(self) -> None:
        """Wait until the client has gone away, from when its body was read whole; for ever if it never is."""
        await self._complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def receive(self) -> Message:
        """Hand on the next piece.

        The bounds hold from here, not before the application, so that a refusal knows its route and a body that nobody
        reads costs nothing.
        """
        if self._complete.is_set():
            return await self._receive()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._seconds
            self._make_room(self.announced_bytes)
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            sentence = f"The body did not arrive within {self._seconds:g} s."
            raise _BodyRefused(HTTPStatus.REQUEST_TIMEOUT, sentence) from None
        if message["type"] == "http.disconnect":
            if not self._exchange.is_complete:
                self._exchange.leave()
            return message
        self._waits_for_leave_to_send = False
        self._read_bytes += len(message.get("body", b""))
        self._make_room(self._read_bytes)
        if not message.get("more_body", False):
            self._complete.set()
        return message

    async def is_over(self) -> bool:
        """Whether all of it has been read; a small one that is all but here is read for that."""
        if self._is_empty or self._complete.is_set():
            return True
        if not self._waits_for_leave_to_send and self.announced_bytes <= SMALL_BODY_BYTES:
            await self._drop(SMALL_BODY_BYTES, _NEARLY_HERE_SECONDS)
        return self._complete.is_set()

    async def drain(self) -> None:
        """Read the rest and drop it, within bounds; who waits for leave to send has not begun, and is not given it."""
        if not self._waits_for_leave_to_send:
            await asyncio.sleep(_DRAIN_AFTER_SECONDS)
            await self._drop(_DRAINED_BYTES, _DRAIN_SECONDS)

    async def _drop(self, max_bytes: int, seconds: float) -> None:
        dropped_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self._complete.is_set() and dropped_bytes <= max_bytes:
                    message = await self._receive()
                    dropped_bytes += len(message.get("body", b""))
                    if message["type"] == "http.disconnect":
                        return
                    if not message.get("more_body", False):
                        self._complete.set()

    def _make_room(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            sentence = f"The body is larger than {self._max_bytes} bytes, the most that {self._path} takes."
            raise _BodyRefused(BODY_TOO_LARGE, sentence)
        wanted_bytes = size_bytes - self._held_bytes
        if size_bytes <= SMALL_BODY_BYTES or wanted_bytes <= 0:
            return
        if not self._memory.take(wanted_bytes, self._held_bytes):
            sentence = (
                "Other requests' bodies take all memory there is for bodies; nothing was started, so try again later."
            )
            retry = {"Retry-After": str(RETRY_SECONDS)}
            raise _BodyRefused(HTTPStatus.SERVICE_UNAVAILABLE, sentence, **retry)
        self._held_bytes = size_bytes

    def release(self) -> None:
        """Give back what the body took."""
        self._memory.give_back(self._held_bytes)
        self._held_bytes = 0


def _write_line(request: Request, exchange: _Exchange, seconds: float, unrouted: str) -> None:
    fields: dict[str, Any] = {
        "method": request.method,
        "route": getattr(request.scope.get("route"), "path", None) or unrouted,
        "status": exchange.status,
        "duration_ms": round(seconds * 1000, 1),
    }
    if exchange.outcome:
        fields["outcome"] = exchange.outcome
    key = getattr(request.state, "key", None)
    if key is not None:
        fields["key"] = key.name
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

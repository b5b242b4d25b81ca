"""HTTP/1.1 as uvicorn speaks it, with time limits where it has none, and the documented shape for what is no HTTP."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import ClassVar, TypeAlias

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from imgapi.api.access import guarded
from imgapi.contract.errors import ErrorReply

# How long the head of a request may take, from the first byte on or from when the connection was made.
HEAD_SECONDS = 20.0
# An answer of which the client takes nothing for so long is given up.
STALLED_SECONDS = 60.0
# A client that has closed its side may still read; how long it is believed to.
HALF_CLOSED_SECONDS = 0.5
# How long what follows a refused request is taken and dropped: a connection that is closed while bytes arrive is reset,
# and the refusal lost.
LINGER_SECONDS = 2.0
# The same for a request that is well-formed and was turned away at its head.
DROPPING_SECONDS = 10.0
# Of one request's head: no client sends as much, and the parser keeps whatever comes.
MAX_HEAD_BYTES = 64 * 1024
# Requests that one connection may have sent before the first of them is answered.
MAX_PIPELINED = 32
# What is collected of a body before the application gets it, and what it may not have taken when reading pauses.
PIECE_BYTES = 512 * 1024
_WHITE_SPACE = b" \t"
_VERSIONS = frozenset({"1.0", "1.1"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that needs no application.

    Attributes:
        status: Of the answer.
        sentence: For the caller.
        code: The same for programs.
        request_id: Names the request.
        retry_seconds: When another try is sensible; None where none is.
    """

    status: HTTPStatus
    sentence: str
    code: str = "invalid_request"
    request_id: str = ""
    retry_seconds: int | None = None

    def written(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """Write it as HTTP/1.1; the connection ends behind it."""
        request_id = self.request_id or uuid.uuid4().hex
        reply = ErrorReply(error=self.sentence, code=self.code, request_id=request_id)
        body = reply.model_dump_json(exclude_none=True).encode()
        headers = [
            *default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        if self.retry_seconds is not None:
            headers.append((b"retry-after", str(self.retry_seconds).encode()))
        lines = b"".join(b"%b: %b\r\n" % header for header in guarded(headers, request_id))
        return b"%b%b\r\n%b" % (STATUS_LINE[self.status], lines, body)


Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
Door: TypeAlias = Callable[[bytes, bytes, Headers], Refusal | None]
_NO_REQUEST = Refusal(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP/1.1 request; send it with an HTTP client.")
_CUT_OFF = Refusal(HTTPStatus.BAD_REQUEST, "The request ended before it was whole; send all of it.")


class DocumentedProtocol(HttpToolsProtocol):
    """Answers a broken request in JSON, and ends connections that only hold a place.

    No application sees a broken request, so uvicorn's own words would be plain text.

    Attributes:
        door: Tells from method, path and header fields which requests are turned away at once: in a rush, hundreds are
            before the application would have been asked about the first.
    """

    door: ClassVar[Door | None] = None

    head_seconds = HEAD_SECONDS
    stalled_seconds = STALLED_SECONDS
    half_closed_seconds = HALF_CLOSED_SECONDS
    # Where in a request the bytes are that came last; in neither, they are between two.
    _is_in_head = False
    _is_in_body = False
    _is_read_anew = False
    _head_bytes = 0
    _has_refused = False
    _drops_body = False
    # What is said as soon as all requests before the broken one are answered.
    _refusal: Refusal | None = None
    # The request that is being answered; `cycle` is the one that was read last.
    _active: RequestResponseCycle | None = None
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    @classmethod
    def behind(cls, door: Door) -> type["DocumentedProtocol"]:
        """Make a protocol with that door."""
        return type(cls.__name__, (cls,), {"door": staticmethod(door)})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Expect a request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers; whoever answers hears of it."""
        self._stop_head_timer()
        self._stop_stall_timer()
        if self._active is not None:
            self._active.disconnected = True
            self._active.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head that has begun has to end in time, and within bounds."""
        if self._has_refused or self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        try:
            self._read(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self._refuse(_NO_REQUEST)
        if self._is_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self._has_refused:
                self._refuse(_NO_REQUEST)
        self._time_head()

    def _read(self, data: bytes) -> None:
        """Feed the parser, which stops behind the head of whoever offers another protocol; here nobody gets one."""
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as exc:
                data = data[exc.args[0] :]
                self._read_body_anew()
            else:
                return

    def _read_body_anew(self) -> None:
        """Let a new parser read the body behind a head that the old one took for the end (RFC 9110, section 7.8)."""
        framing = [header for header in self.headers if header[0] in {b"content-length", b"transfer-encoding"}]
        lines = b"".join(b"%b: %b\r\n" % header for header in framing)
        self.parser = httptools.HttpRequestParser(self)
        self._is_read_anew = True
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % lines)

    def _should_upgrade(self) -> bool:
        return False

    def on_message_begin(self) -> None:
        """Begin a head."""
        if not self._is_read_anew:
            super().on_message_begin()
            self._is_in_head, self._head_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        if not self._is_read_anew:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; those that may follow a body in chunks are nobody's."""
        if self._is_in_head:
            super().on_header(name, value.rstrip(_WHITE_SPACE))

    def on_headers_complete(self) -> None:
        """Begin the answer to a request that is one; what raises here is refused as no request."""
        if self._is_read_anew:
            self._is_read_anew = False
            return
        self._check_head()
        self._is_in_head, self._is_in_body = False, True
        door = type(self).door
        if door is not None and not self._is_answering():
            refusal = door(self.parser.get_method(), self.url.partition(b"?")[0], self.headers)
            if refusal is not None:
                self._drops_body = True
                self._end_with(refusal, DROPPING_SECONDS)
                return
        super().on_headers_complete()

    def _check_head(self) -> None:
        """Check what the parser doesn't (RFC 9112, sections 2.3, 3.2 and 6.1); ValueError when there is something."""
        version = self.parser.get_http_version()
        hosts = [value for name, value in self.headers if name == b"host"]
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if (
            version not in _VERSIONS
            or len(hosts) > 1
            or (not hosts and version == "1.1")
            or codings not in ([], [b"chunked"])
            or size > MAX_HEAD_BYTES
            or len(self.pipeline) >= MAX_PIPELINED
        ):
            raise ValueError

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Collect the body, and wake the application for a large piece of it: to wake it costs as much as to read."""
        if self._drops_body or self.cycle.response_complete:
            return
        self.cycle.body += body
        if len(self.cycle.body) >= PIECE_BYTES:
            self.flow.pause_reading()
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End a request, unless its body is yet to be read."""
        if self.parser.should_upgrade():
            return
        self._is_in_body = False
        if self._drops_body:
            # It has its answer, and nothing more to send.
            self.transport.close()
        else:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on to the next request, or refuse what came in its place."""
        super().on_response_complete()
        if self._refusal is not None and not self._is_answering():
            self._refuse(self._refusal)
        elif self._is_in_head:
            self._time_head()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio.Protocol has it so
        """Answer what ended early; what is whole is answered if that is soon, for most clients leave altogether."""
        if self.transport.is_closing() or self._has_refused or self._drops_body:
            return False
        if self._is_in_head or (self._is_in_body and not self.cycle.response_started):
            self._refuse(_CUT_OFF)
            if self._refusal is None:
                return False
        elif self._active is None or self._active.response_started:
            # Whoever closes in the middle of an answer has heard enough; what is written already still goes out.
            return False
        else:
            self._active.keep_alive = False
        self.loop.call_later(self.half_closed_seconds, self.transport.close)
        return True

    def pause_writing(self) -> None:
        """Watch an answer that the client doesn't take."""
        super().pause_writing()
        self._watch(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client takes its answer."""
        super().resume_writing()
        self._stop_stall_timer()

    def _watch(self, left_bytes: int) -> None:
        def look() -> None:
            still_left = self.transport.get_write_buffer_size()
            if still_left >= left_bytes:
                self.transport.abort()
            else:
                self._watch(still_left)

        self._stall_timer = self.loop.call_later(self.stalled_seconds, look)

    def _time_head(self) -> None:
        """Give a head its time, from its first byte or the end of what was before it; bodies have limits elsewhere."""
        if self._is_in_body or self._is_answering():
            self._stop_head_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            self._expect_head()

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._give_up_head)

    def _give_up_head(self) -> None:
        self._head_timer = None
        if self._has_refused or self.transport.is_closing():
            return
        if self._is_in_head:
            sentence = f"The head of the request did not arrive within {self.head_seconds:g} s."
            self._refuse(Refusal(HTTPStatus.REQUEST_TIMEOUT, sentence, "request_timeout"))
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        return self._active is not None and not self._active.response_complete

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what is no request, after those before it, and close the connection."""
        if self._drops_body:
            self.transport.close()
            return
        if self._is_in_body and self.pipeline:
            # The broken one is still in line; it came last.
            self.pipeline.popleft()
            self._is_in_body = False
        if self._is_answering() and not self._is_in_body:
            self._refusal = refusal
            return
        self._has_refused = True
        if self._is_in_body and self._active is not None:
            # What the application would answer now goes nowhere.
            self._active.disconnected = True
            self._active.message_event.set()
            if self._active.response_started:
                # An answer is on its way already.
                self.transport.close()
                return
        self._end_with(refusal, LINGER_SECONDS)

    def _end_with(self, refusal: Refusal, patience_seconds: float) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(refusal.written(self.server_state.default_headers))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(patience_seconds, self.transport.close)

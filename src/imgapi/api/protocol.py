"""HTTP/1.1 as uvicorn speaks it, with time limits where it has none, and the documented shape for what is no HTTP."""

import asyncio
import uuid
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

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


class DocumentedProtocol(H11Protocol):
    """Answers a broken request in JSON, and ends connections that only hold a place.

    No application sees a broken request, so uvicorn's own words would be plain text.
    """

    head_seconds = HEAD_SECONDS
    stalled_seconds = STALLED_SECONDS
    half_closed_seconds = HALF_CLOSED_SECONDS
    _has_refused = False
    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Expect a request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; a head that has begun has to end in time."""
        if self._has_refused:
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_head_timer()
        elif self._head_timer is None and not self.transport.is_closing():
            self._expect_head()

    def _should_upgrade(self) -> bool:
        """Take whoever asks for another protocol for one who speaks this one (RFC 9110, section 7.8)."""
        return False

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio.Protocol has it so
        """Answer what ended early; what is whole is answered if that is soon, for most clients leave altogether."""
        if self.transport.is_closing() or self._has_refused:
            return False
        is_begun = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if is_begun or (self.conn.their_state is h11.SEND_BODY and not self.cycle.response_started):
            self._refuse(HTTPStatus.BAD_REQUEST, "The request ended before it was whole; send all of it.")
            return False
        if not self._is_answering() or self.cycle.response_started:
            # Whoever closes in the middle of an answer has heard enough; what is written already still goes out.
            return False
        self.cycle.keep_alive = False
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

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._give_up_head)

    def _give_up_head(self) -> None:
        self._head_timer = None
        if self._has_refused or self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            return
        if self.conn.trailing_data[0]:
            sentence = f"The head of the request did not arrive within {self.head_seconds:g} s."
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, sentence, "request_timeout")
        else:
            self.transport.close()

    def _is_answering(self) -> bool:
        # There is none before the first request, whatever uvicorn's annotation says.
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _stop_timers(self) -> None:
        self._stop_head_timer()
        self._stop_stall_timer()

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _stop_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words, in place of which ours go out
        """Refuse what can't be read as a request, and close the connection."""
        self._refuse(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP/1.1 request; send it with an HTTP client.")

    def _refuse(self, status: HTTPStatus, sentence: str, code: str = "invalid_request") -> None:
        self._has_refused = True
        if self._is_answering():
            # What the application would answer now goes nowhere.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            # An answer is on its way already.
            self.transport.close()
            return
        request_id = uuid.uuid4().hex
        reply = ErrorReply(error=sentence, code=code, request_id=request_id)
        body = reply.model_dump_json(exclude_none=True).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        for event in (
            h11.Response(status_code=status, headers=headers, reason=status.phrase),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.conn.send(h11.ConnectionClosed())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self.transport.close)

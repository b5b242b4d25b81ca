"""HTTP at its worst: requests that never end, that end early, that are none, and answers that nobody takes."""

import asyncio
import json
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from imgapi.api.protocol import MAX_HEAD_BYTES, MAX_PIPELINED, DocumentedProtocol
from servers import free_socket, living, serving

LARGE_BYTES = 30_000_000
LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


class Hasty(DocumentedProtocol):
    """The protocol, with no patience."""

    head_seconds = 0.2
    stalled_seconds = 0.2
    half_closed_seconds = 0.2


class Application:
    """Answers /large with many bytes, /early before the body, /never not at all, and all else with what size it got."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if scope["path"] == "/never":
            while (await receive())["type"] != "http.disconnect":
                pass
            self.left.set()
        elif scope["path"] == "/large":
            await Response(bytes(LARGE_BYTES))(scope, receive, send)
        elif scope["path"] == "/early":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
            await send({"type": "http.response.body", "body": b'{"size":0}', "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
        else:
            await JSONResponse({"size": len(await request.body())})(scope, receive, send)


APPLICATION = Application()


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """Serve the application hastily."""
    bound = free_socket()
    with serving(living(APPLICATION), bound, Hasty):
        yield bound.getsockname()


def exchange(address: tuple[str, int], *pieces: bytes, pause: float = 0.0, half_closes: bool = False) -> bytes:
    """Send pieces, a pause after each, and read until the server closes the connection."""
    with socket.create_connection(address) as connection:
        connection.settimeout(5.0)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        if half_closes:
            connection.shutdown(socket.SHUT_WR)
        got = b""
        while piece := connection.recv(65536):
            got += piece
        return got


def read(answer: bytes) -> tuple[bytes, dict[str, Any]]:
    """Take an answer apart: first line and JSON."""
    begin, _, body = answer.partition(b"\r\n\r\n")
    return begin.partition(b"\r\n")[0], json.loads(body)


@pytest.mark.parametrize("sent", [LIVE[:10], LIVE[:-2]])
def test_head_that_never_ends_is_answered_in_time(address: tuple[str, int], sent: bytes) -> None:
    """Half a head holds a connection for as long as a head may take, and is told so."""
    first, body = read(exchange(address, sent))
    assert first == b"HTTP/1.1 408 Request Timeout"
    assert (body["code"], len(body["request_id"])) == ("request_timeout", 32)


def test_connection_without_a_word_is_closed(address: tuple[str, int]) -> None:
    """Who connects and says nothing is not waited for."""
    assert exchange(address) == b""


def test_drip_gains_no_time(address: tuple[str, int]) -> None:
    """The whole head has one deadline, however often a byte of it comes."""
    with socket.create_connection(address) as connection:
        began = time.monotonic()
        connection.sendall(LIVE[:-2])
        while not select.select([connection], [], [], 0.05)[0]:
            connection.sendall(b"A")
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
        assert time.monotonic() < began + 1.5


def test_half_a_head_after_an_answer_has_a_deadline_too(address: tuple[str, int]) -> None:
    """A connection that is kept alive is not kept alive by a byte."""
    got = exchange(address, LIVE, LIVE[:5], pause=0.05)
    assert got.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in got


def test_slow_body_is_not_a_slow_head(address: tuple[str, int]) -> None:
    """The deadline of heads ends with the head; bodies have their own."""
    head = b"POST /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"
    assert read(exchange(address, head, b"ab", b"cd", pause=0.25))[1] == {"size": 4}


def test_answer_that_nobody_takes_is_given_up(address: tuple[str, int]) -> None:
    """A client that asks for much and reads nothing loses its connection, and the server the bytes."""
    with socket.create_connection(address) as connection:
        connection.settimeout(5.0)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.8)
        got = 0
        while piece := connection.recv(1 << 20):
            got += len(piece)
        assert got < LARGE_BYTES


def test_answer_that_is_taken_slowly_arrives(address: tuple[str, int]) -> None:
    """A slow reader who goes on reading gets all of it."""
    with socket.create_connection(address) as connection:
        connection.settimeout(5.0)
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = 0
        while piece := connection.recv(1 << 22):
            got += len(piece)
            time.sleep(0.01)
        assert got > LARGE_BYTES


@pytest.mark.parametrize("begun", [b"GET /li", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"])
def test_request_cut_off_by_a_half_closed_connection_is_answered(address: tuple[str, int], begun: bytes) -> None:
    """Who closes only its own side hears that the request was not whole."""
    first, body = read(exchange(address, begun, half_closes=True))
    assert first == b"HTTP/1.1 400 Bad Request"
    assert "ended before it was whole" in body["error"]


def test_whole_request_on_a_half_closed_connection_is_answered(address: tuple[str, int]) -> None:
    """Who closes its own side behind a request still gets the answer."""
    assert read(exchange(address, LIVE, half_closes=True))[1] == {"size": 0}


def test_who_closes_without_an_answer_has_left_soon(address: tuple[str, int]) -> None:
    """A closed connection is believed to be half open for a moment only; then its work is ended."""
    APPLICATION.left.clear()
    assert exchange(address, b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n", half_closes=True) == b""
    deadline = time.monotonic() + 2.0
    while not APPLICATION.left.is_set():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET /live HTTP/1.1\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /live HTTP/1.1\r\nHost: x\r\nA" + b"a" * 200_000,
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: x\r\n" + b"A: a\r\n" * (MAX_HEAD_BYTES // 2) + b"\r\n",
        b"GET /live HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET /live\r\n\r\n",
        b"GET /live HTTP/1.1\nHost: x\n\n",
        b"GET /live HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"FETCH /live HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /live HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_no_http_is_answered_in_the_documented_shape(address: tuple[str, int], sent: bytes) -> None:
    """Whatever can't be read as a request gets a 400 in JSON, and the connection ends."""
    first, body = read(exchange(address, sent))
    assert first == b"HTTP/1.1 400 Bad Request"
    assert body["code"] == "invalid_request"
    assert body["error"]


@pytest.mark.parametrize("wanted", [b"websocket", b"h2c"])
def test_other_protocols_are_not_spoken(address: tuple[str, int], wanted: bytes) -> None:
    """Who offers to change the protocol is answered in this one."""
    sent = LIVE[:-2] + b"Connection: Upgrade\r\nUpgrade: " + wanted + b"\r\nSec-WebSocket-Version: 13\r\n"
    sent += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    assert read(exchange(address, sent, half_closes=True))[1] == {"size": 0}


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
def test_body_behind_an_offer_of_another_protocol_is_read(address: tuple[str, int], framing: bytes) -> None:
    """Some clients offer HTTP/2 with every request; its body is read, and so is the request behind it."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    for pieces in ([head + framing + LAST], [head + framing[:-6], framing[-6:] + LAST]):
        got = exchange(address, *pieces, pause=0.05)
        assert got.count(b"HTTP/1.1 200") == 2
        assert got.find(b'{"size":3}') < got.find(b'{"size":0}')


def test_fields_behind_a_body_are_nobodys(address: tuple[str, int]) -> None:
    """What follows the last chunk is passed over, and what is sent behind that is the next request."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    got = exchange(address, head + b"2\r\nab\r\n0\r\nHost: y\r\nX: z\r\n\r\n" + LAST)
    assert got.count(b"HTTP/1.1 200") == 2


def test_body_of_many_pieces_arrives_whole(address: tuple[str, int]) -> None:
    """Chunks of a byte are put together in their order."""
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert read(exchange(address, head + b"1\r\na\r\n" * 50_000 + b"0\r\n\r\n"))[1] == {"size": 50_000}


def test_line_of_requests_before_an_answer_is_bounded(address: tuple[str, int]) -> None:
    """Who sends request after request without reading gets the answers to some and no more."""
    got = exchange(address, LIVE * (MAX_PIPELINED + 10))
    assert got.count(b"HTTP/1.1 200") == MAX_PIPELINED + 1
    assert got.endswith(b"}")
    assert b"invalid_request" in got.rpartition(b"HTTP/1.1 400")[2]


def test_broken_body_in_line_is_refused_behind_the_answers_before_it(address: tuple[str, int]) -> None:
    """Chunks that are none break the request they belong to, and not the one that is being answered."""
    head = b"POST /broken HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    got = exchange(address, LIVE + head + b"2\r\nab\r\nZZ\r\n")
    assert got.count(b"HTTP/1.1 200") == 1
    assert got.find(b"HTTP/1.1 200") < got.find(b"HTTP/1.1 400")


def test_who_leaves_ends_the_request_before_those_in_line(address: tuple[str, int]) -> None:
    """The request that is worked on hears of the end of its connection, though others were sent behind it."""
    APPLICATION.left.clear()
    with socket.create_connection(address) as connection:
        connection.sendall(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n" + LIVE)
        time.sleep(0.05)
    deadline = time.monotonic() + 2.0
    while not APPLICATION.left.is_set():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nonsense_behind_an_answer_changes_nothing(address: tuple[str, int], caplog: pytest.LogCaptureFixture) -> None:
    """Chunks that are none, behind an answer that came early, end the connection without another answer."""
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert read(exchange(address, head, b"2\r\nab\r\nZZ\r\n", pause=0.05))[1] == {"size": 0}
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_pipelined_requests_are_answered_in_order(address: tuple[str, int]) -> None:
    """Requests sent at once over one connection get one answer each, in their order; nonsense behind them ends it."""
    posts = b"".join(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % n + bytes(n) for n in (3, 1, 2))
    got = exchange(address, posts + b"no request\r\n\r\n")
    assert [got.find(b'{"size":%d}' % n) > 0 for n in (3, 1, 2)] == [True] * 3
    assert got.find(b'"size":3') < got.find(b'"size":1') < got.find(b'"size":2') < got.find(b"invalid_request")

"""Requests turned away at their heads: answered before their bodies, counted, logged, and no others with them."""

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from imgapi.api.door import Door
from imgapi.api.metrics import Metrics
from imgapi.api.protocol import DocumentedProtocol
from imgapi.errors import Overloaded
from imgapi.tasks.census import Census
from servers import free_socket, living, serving

BODY_BYTES = 3_000_000


class Line:
    """A line that is full for all but small bodies."""

    def __init__(self) -> None:
        self.asked: list[int | None] = []

    def check(self, size_bytes: int | None) -> None:
        """Refuse what is large or says no size."""
        self.asked.append(size_bytes)
        if size_bytes is None or size_bytes > 100:
            raise Overloaded("the line is full", retry_after=3.0)


LINE = Line()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the size of the body."""
    request = Request(scope, receive)
    await JSONResponse({"size": len(await request.body())})(scope, receive, send)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """Serve the application behind the door."""
    bound = free_socket()
    with serving(living(app), bound, DocumentedProtocol.behind(Door({"/upload": LINE.check}, Metrics()))):
        yield bound.getsockname()


def head(path: str, length: int | str, *fields: str, method: str = "POST") -> bytes:
    """Write the head of a request."""
    framing = "Transfer-Encoding: chunked" if length == "chunked" else f"Content-Length: {length}"
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", framing, *fields, "", "")).encode()


def exchange(
    address: tuple[str, int], *pieces: bytes, pause: float = 0.0
) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Send pieces, a pause after each, then read an answer to the end of the connection: status, fields, body."""
    with socket.create_connection(address) as connection:
        connection.settimeout(5.0)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        with connection.makefile("rb") as answer:
            first, *lines = iter(lambda: answer.readline().decode().strip(), "")
            body = answer.read()
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), fields, json.loads(body)


def test_who_finds_no_place_is_answered_at_the_head(address: tuple[str, int]) -> None:
    """The refusal comes before the body, in the documented shape, with a time to come back, and ends the connection."""
    status, fields, body = exchange(address, head("/upload?x=1", BODY_BYTES, "X-Request-ID: mine"))
    assert status == 503
    assert body == {"error": "the line is full", "code": "overloaded", "request_id": "mine"}
    assert (fields["retry-after"], fields["connection"], fields["x-request-id"]) == ("3", "close", "mine")
    assert (fields["x-content-type-options"], LINE.asked[-1]) == ("nosniff", BODY_BYTES)


@pytest.mark.parametrize("fields", [(), ("Connection: Upgrade", "Upgrade: h2c")])
def test_who_sends_before_reading_hears_of_it_too(address: tuple[str, int], fields: tuple[str, ...]) -> None:
    """The body is taken and dropped, so that the connection isn't reset under the answer."""
    pieces = [bytes(BODY_BYTES // 4)] * 4
    assert exchange(address, head("/upload", BODY_BYTES, *fields), *pieces, pause=0.03)[0] == 503


def test_size_that_is_not_told_is_said_so(address: tuple[str, int]) -> None:
    """A body in chunks has no size; chunks that are none behind the refusal bring no second answer."""
    status, fields, body = exchange(address, head("/upload", "chunked"), b"ZZ\r\n\r\n")
    assert (status, LINE.asked[-1]) == (503, None)
    assert (len(fields["x-request-id"]), body["request_id"]) == (32, fields["x-request-id"])


@pytest.mark.parametrize(
    "asked", [head("/upload", 3), head("/elsewhere", 3), head("/upload", 3, method="PUT"), head("/upload/", 3)]
)
def test_all_others_pass(address: tuple[str, int], asked: bytes) -> None:
    """What there is a place for, and what takes none, is the application's."""
    asked = asked.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert exchange(address, asked, b"abc")[::2] == (200, {"size": 3})


def test_refusal_waits_for_the_answers_before_it(address: tuple[str, int]) -> None:
    """Behind another request on one connection, it is the application that refuses, in its turn."""
    with socket.create_connection(address) as connection:
        connection.settimeout(5.0)
        close = "Connection: close"
        connection.sendall(head("/elsewhere", 1) + b"a" + head("/upload", 200, close) + bytes(200))
        got = b"".join(iter(lambda: connection.recv(65536), b""))
    assert got.find(b'{"size":1}') < got.find(b'{"size":200}')


async def test_refusals_are_counted_and_logged() -> None:
    """Who is turned away is in the figures and in the log as any other."""
    metrics = Metrics()
    door = Door({"/upload": LINE.check}, metrics)
    with capture_logs() as logged:
        refusal = door(b"POST", b"/upload", [(b"x-request-id", b"counted")])
        await asyncio.sleep(0.2)
    assert refusal is not None
    # The server of the tests above may still have lines to write.
    (line,) = (line for line in logged if line["request_id"] == "counted")
    assert (line["status"], line["route"], line["code"]) == (503, "/upload", "overloaded")
    text = (await metrics.write(Census(Counter(), 0), 0)).decode()
    assert 'imgapi_requests_total{method="POST",route="/upload",status="503"} 1.0' in text

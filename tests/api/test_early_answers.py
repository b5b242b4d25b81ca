"""Answers that come before the whole request: at once, whole, without a reset; and places kept for bodies."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request

from conftest import Service
from imgapi.api.access import Access, BodyLimits, take_place
from imgapi.api.failures import install_handlers
from imgapi.errors import Overloaded
from imgapi.pictures.workers import Workers
from servers import free_socket, serving

LARGE_BYTES = 3_000_000
SOON_SECONDS = 0.5


class Line:
    """One place in a line; who finds it taken is refused."""

    def __init__(self) -> None:
        self.is_taken = False

    @contextlib.contextmanager
    def keep(self, _size_bytes: int | None) -> Iterator[None]:
        """Take the place."""
        if self.is_taken:
            raise Overloaded("the line is full", retry_after=3.0)
        self.is_taken = True
        try:
            yield
        finally:
            self.is_taken = False


@pytest.fixture(scope="module")
def line() -> Line:
    """The line of the server."""
    return Line()


@pytest.fixture(scope="module")
def address(line: Line) -> Iterator[tuple[str, int]]:
    """A server whose only route reads the body, and says whether its place is free for the work that comes next."""
    app = FastAPI()
    install_handlers(app)

    @app.post("/upload")
    async def upload(request: Request) -> dict[str, Any]:
        size = len(await request.body())
        was_kept = line.is_taken
        take_place(request)
        return {"size": size, "was_kept": was_kept, "is_free": not line.is_taken}

    limits = BodyLimits(
        json_bytes=LARGE_BYTES, plain_json_bytes=10, multipart_bytes=10, seconds=5.0, total_bytes=10 * LARGE_BYTES
    )
    app.add_middleware(Access, limits=limits, places={"/upload": line.keep})
    bound = free_socket()
    with serving(app, bound):
        yield bound.getsockname()


def connect(address: tuple[str, int]) -> socket.socket:
    """Open a connection."""
    connection = socket.create_connection(address)
    connection.settimeout(5.0)
    return connection


def head(path: str, size_bytes: int, *fields: str) -> bytes:
    """Write the head of a POST."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {size_bytes}", *fields, "", ""]).encode()


def read_answer(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Read one answer, no more of the connection than it has; return status, fields and its JSON."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += (piece := connection.recv(65536))
        assert piece, "the connection was closed before an answer"
    first, *lines = got.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = got.partition(b"\r\n\r\n")[2]
    while len(body) < int(fields["content-length"]):
        body += connection.recv(65536)
    return int(first.split()[1]), fields, json.loads(body)


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [("/upload", LARGE_BYTES, 503), ("/upload", LARGE_BYTES * 100, 503), ("/nowhere", LARGE_BYTES, 404)],
)
def test_refusal_comes_before_the_body(address: tuple[str, int], line: Line, path: str, size: int, status: int) -> None:
    """Who announces a body that nobody takes is told at once, while the body is still to be sent."""
    with line.keep(None), connect(address) as connection:
        began = time.perf_counter()
        connection.sendall(head(path, size) + bytes(1000))
        answered, fields, body = read_answer(connection)
        assert time.perf_counter() - began < SOON_SECONDS
        assert (answered, fields["connection"], body["request_id"]) == (status, "close", fields["x-request-id"])
        if status == 503:
            assert fields["retry-after"] == "3"


def test_refusal_arrives_at_who_sends_first_and_reads_later(address: tuple[str, int], line: Line) -> None:
    """What is sent behind a refusal is taken and dropped, so that the connection ends with an end and not a reset."""
    with line.keep(None), connect(address) as connection:
        connection.sendall(head("/upload", LARGE_BYTES))
        for _ in range(LARGE_BYTES // 100_000):
            connection.sendall(bytes(100_000))
        assert read_answer(connection)[0] == 503
        assert connection.recv(1) == b""


def test_small_refused_body_leaves_the_connection_usable(address: tuple[str, int]) -> None:
    """A body that is here already is read before the refusal, and the next request goes over the same connection."""
    with connect(address) as connection:
        for _ in range(2):
            connection.sendall(head("/nowhere", 1000) + bytes(1000))
            status, fields, _ = read_answer(connection)
            assert (status, "connection" in fields) == (404, False)


def test_who_waits_for_leave_to_send_is_refused_without_it(address: tuple[str, int], line: Line) -> None:
    """`Expect: 100-continue` is answered with the refusal itself, and the connection is closed for what may follow."""
    with line.keep(None), connect(address) as connection:
        connection.sendall(head("/upload", 1000, "Expect: 100-continue"))
        status, fields, _ = read_answer(connection)
        assert (status, fields["connection"]) == (503, "close")
        assert connection.recv(1) == b""


def test_place_is_kept_while_the_body_arrives_and_freed_for_the_work(address: tuple[str, int], line: Line) -> None:
    """One upload holds the only place from its head on; it is free when the work begins, and after the answer."""
    with connect(address) as first, connect(address) as second:
        first.sendall(head("/upload", 100) + bytes(10))
        deadline = time.monotonic() + 2.0
        while not line.is_taken:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        second.sendall(head("/upload", 100) + bytes(100))
        assert read_answer(second)[0] == 503
        first.sendall(bytes(90))
        assert read_answer(first)[2] == {"size": 100, "was_kept": True, "is_free": True}
        second.sendall(head("/upload", 100) + bytes(100))
        assert read_answer(second)[0] == 200


def test_place_of_who_leaves_during_the_upload_is_free(address: tuple[str, int], line: Line) -> None:
    """A client that goes away in the middle of its body gives its place back."""
    with connect(address) as connection:
        connection.sendall(head("/upload", 100) + bytes(10))
    deadline = time.monotonic() + 2.0
    while line.is_taken:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_length_said_twice_is_refused(address: tuple[str, int]) -> None:
    """A request with a length and chunks, which two servers could split differently, is refused and the last one."""
    with connect(address) as connection:
        connection.sendall(head("/upload", 3, "Transfer-Encoding: chunked") + b"0\r\n\r\n")
        status, _, body = read_answer(connection)
        assert (status, body["code"]) == (400, "invalid_request")


async def test_expected_picture_holds_a_place_for_a_while() -> None:
    """A place is kept for a picture under way, not for ever, and is there for it when it has come."""
    async with Workers(count=1, max_waiting=1, timeout_seconds=5.0, preload=()) as workers:
        with workers.expecting(1_000_000), workers.expecting(None):
            with pytest.raises(Overloaded):
                await workers.run(time.sleep, 0)
            with pytest.raises(Overloaded), workers.expecting(1_000_000):
                pass
            with workers.expecting(100):
                pass
        with workers.expecting(None), workers.expecting(None, seconds=0.01):
            await asyncio.sleep(0.05)
            await workers.run(time.sleep, 0)
        await asyncio.gather(workers.run(time.sleep, 0), workers.run(time.sleep, 0))


def test_uploads_of_the_service_are_refused_unread(service: Service) -> None:
    """Each path that takes a picture refuses it before it is sent, when the line is full."""
    workers = service.parts.workers

    async def fill() -> contextlib.ExitStack:
        places = contextlib.ExitStack()
        for size in (None, 1):
            with contextlib.suppress(Overloaded):
                while True:
                    places.enter_context(workers.expecting(size, seconds=30.0))
        return places

    loop = asyncio.new_event_loop()
    places = loop.run_until_complete(fill())
    try:
        host, _, port = service.address.removeprefix("http://").partition(":")
        for path in ("/utils/photo_resize", "/utils/convert_to_png", "/files"):
            for size in (LARGE_BYTES, 100):
                with connect((host, int(port))) as connection:
                    connection.sendall(head(path, size, "Content-Type: multipart/form-data; boundary=b"))
                    status, fields, body = read_answer(connection)
                    assert (status, body["code"]) == (503, "overloaded")
                    assert int(fields["retry-after"]) >= 1
    finally:
        places.close()
        loop.close()

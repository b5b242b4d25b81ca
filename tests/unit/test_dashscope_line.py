"""An upstream at the end of a bad line: real sockets that drip, swallow, flood, close and speak no TLS."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from pydantic import SecretStr

from imgapi.clock import SystemClock
from imgapi.dashscope.client import Account, DashScope, Patience
from imgapi.dashscope.wire import ImageEditInput, ImageEditParameters, SubmitBody
from imgapi.errors import TaskLost, UpstreamUnavailable

PATH = "aigc/image2image/image-synthesis"
BODY = SubmitBody(
    model="m",
    input=ImageEditInput(function="expand", prompt="p", base_image_url="https://example.com/a.png"),
    parameters=ImageEditParameters(),
)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
HURRIED = Patience(
    first_pause_seconds=0.01,
    longest_pause_seconds=0.02,
    deadline_seconds=3.0,
    exchange_seconds=0.5,
    connect_seconds=0.2,
)
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def line(port: int, scheme: str = "http") -> AsyncIterator[DashScope]:
    """A client of whatever is at a loopback port."""
    timeout = httpx.Timeout(None, connect=HURRIED.connect_seconds)
    async with (
        httpx.AsyncClient(timeout=timeout, trust_env=False) as http,
        httpx.AsyncClient(
            timeout=timeout, trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)
        ) as submits,
    ):
        account = Account(f"{scheme}://127.0.0.1:{port}/api/v1", SecretStr("sk-test"))
        yield DashScope(http, submits, account, SystemClock(), HURRIED, jitter=lambda: 0.0)


@asynccontextmanager
async def upstream(talk: Talk, port: int = 0) -> AsyncIterator[int]:
    """A server that talks as it likes; gives its port, and leaves no connection behind."""
    talking: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", port)
    async with server:
        yield server.sockets[0].getsockname()[1]
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)


async def test_dripping_answer_ends_at_the_deadline_of_the_exchange() -> None:
    """A byte now and then keeps no exchange alive: the whole of it has one deadline."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD % 1000)
        for _ in range(1000):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with upstream(drip) as port, line(port) as dashscope:
        for call, error in (
            (dashscope.submit(PATH, BODY, asynchronous=True), TaskLost),
            (dashscope.query("t-1"), UpstreamUnavailable),
        ):
            begun = time.monotonic()
            with pytest.raises(error):
                await call
            assert 0.4 < time.monotonic() - begun < 2.0


async def test_flood_is_cut_off() -> None:
    """Of an answer of 50 MB little more than a megabyte is read."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD % 50_000_000)
        for _ in range(500):
            writer.write(b" " * 100_000)
            await writer.drain()
            sent += 100_000

    async with upstream(flood) as port, line(port) as dashscope:
        with pytest.raises(UpstreamUnavailable):
            await dashscope.query("t-1")
        with pytest.raises(TaskLost):
            await dashscope.submit(PATH, BODY, asynchronous=True)
    assert sent < 30_000_000


async def test_line_without_tls_accepts_nothing() -> None:
    """A failed handshake is a connection that was never made: tried again, then said so; the key never goes out."""
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(65536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with upstream(listen) as port, line(port, "https") as dashscope:
        with pytest.raises(UpstreamUnavailable):
            await dashscope.submit(PATH, BODY, asynchronous=True)
    assert heard
    assert b"sk-test" not in heard


async def test_port_that_opens_again_is_found() -> None:
    """A closed port accepts nothing, so the submit is tried again, and arrives once there is somebody."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    submits = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal submits
        await reader.readuntil(b"\r\n\r\n")
        submits += 1
        content = b'{"output": {"task_id": "t-1", "task_status": "PENDING"}}'
        writer.write(HEAD % len(content) + content)
        await writer.drain()

    async with line(port) as dashscope:
        with pytest.raises(UpstreamUnavailable):
            await dashscope.submit(PATH, BODY, asynchronous=True)
        async with upstream(accept, port):
            report = await dashscope.submit(PATH, BODY, asynchronous=True)
    assert (report.output.task_id, submits) == ("t-1", 1)


async def test_black_hole_ends_in_time() -> None:
    """A host that swallows connections costs three short tries, not a minute."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        port = hole.getsockname()[1]
        # Two connections that nobody takes fill its line; the next ones get no answer at all.
        callers = [socket.socket() for _ in range(3)]
        for caller in callers:
            caller.settimeout(0)
            caller.connect_ex(("127.0.0.1", port))
        begun = time.monotonic()
        async with line(port) as dashscope:
            with pytest.raises((UpstreamUnavailable, TaskLost)):
                await dashscope.submit(PATH, BODY, asynchronous=True)
        assert time.monotonic() - begun < 3.0
        for caller in callers:
            caller.close()

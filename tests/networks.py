"""A web server, a network and a name server for tests of the guard: they remember what they were asked for."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

import httpcore

from imgapi.sources.addresses import Address

PICTURE = b"\x89PNG not looked at here"

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


def reply(head: str, body: bytes = b"") -> Answer:
    """Answer with a status line and header lines, then the body."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        await writer.drain()

    return write


def picture(body: bytes = PICTURE, extra: str = "") -> Answer:
    """Answer 200 with a body of known length."""
    return reply(f"HTTP/1.1 200 OK\nContent-Length: {len(body)}{extra}", body)


def redirect(location: str, status: int = 302) -> Answer:
    """Answer with a redirect."""
    return reply(f"HTTP/1.1 {status} Moved\nLocation: {location}\nContent-Length: 0\nSet-Cookie: a=1")


class Site:
    """A web server on the loopback that answers by path and remembers each request's head."""

    def __init__(self) -> None:
        self.pages: dict[str, Answer] = {}
        self.requests: list[str] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            await self.pages[head.split()[1]](writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def run(site: Site) -> AsyncIterator[Site]:
    """Run the server on a free port while the block lasts."""
    server = await asyncio.start_server(site.answer, "127.0.0.1", 0)
    site.port = server.sockets[0].getsockname()[1]
    yield site
    server.close()
    await server.wait_closed()


class Detour(httpcore.AsyncNetworkBackend):
    """Takes every connection to a local server, and remembers where it was meant to go."""

    def __init__(self, port: int, dead: Iterable[str] = ()) -> None:
        self.port = port
        self.dead = set(dead)
        self.dialled: list[tuple[str, int]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the local server, whatever the address."""
        self.dialled.append((host, port))
        if host in self.dead:
            raise httpcore.ConnectError
        return await httpcore.AnyIOBackend().connect_tcp("127.0.0.1", self.port, timeout, local_address, socket_options)


class Names:
    """A name server with a list of answers per name, given one after another; the last one stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): list(turns) for name, turns in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, name: str, _port: int, /) -> Sequence[Address]:
        """Answer one look-up."""
        self.asked.append(name)
        if name not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        turns = self.answers[name]
        return [ip_address(text) for text in (turns.pop(0) if len(turns) > 1 else turns[0])]

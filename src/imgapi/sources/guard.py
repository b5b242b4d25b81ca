"""A network backend under the HTTP client that dials only addresses it has judged.

Judging a name and dialling it later are two look-ups, and a hostile name server answers them differently. Here the
name is looked up once, inside the connection, and what is dialled is the very address that was judged; the name
itself is still what the Host header, SNI and the certificate check use.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import TypeAlias

import httpcore

from imgapi.errors import SourceRefused, SourceUnreachable
from imgapi.sources.addresses import Address, is_reachable

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Looks a name up: (name, port) → every address it has; raises OSError when there is none."""

# A name may have dozens of addresses; a picture host that fails on this many is down.
_MAX_ATTEMPTS = 4
# A hostile name server can hold each look-up; a pool of their own keeps file work off the same threads.
_LOOK_UP_THREADS = 16
# The head of an answer, read a little at a time: interim answers ("100 Continue") are dropped unseen by the HTTP
# library, and an endless row of them would keep it, and with it the event loop, busy until the deadline.
_MAX_HEAD_BYTES = 64 * 1024
_HEAD_PIECE_BYTES = 8 * 1024


class SystemResolver:
    """Looks names up with the system's resolver, off the event loop, in threads of its own."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOK_UP_THREADS, thread_name_prefix="look-up")

    async def __call__(self, name: str, port: int) -> Sequence[Address]:
        """Return every address of the name, in the system's order of preference; OSError when it has none."""
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(self._threads, _look_up, name, port)
        return list(dict.fromkeys(answers))

    def close(self) -> None:
        """Take no more look-ups; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _BoundedHead(httpcore.AsyncNetworkStream):
    """A connection from which only so much is read before the head of the answer is there.

    Args:
        stream: The connection.
        is_awaiting_head: Whether the head is still to come.
    """

    def __init__(self, stream: httpcore.AsyncNetworkStream, is_awaiting_head: Callable[[], bool]) -> None:
        self._stream = stream
        self._is_awaiting_head = is_awaiting_head
        self._left_bytes = _MAX_HEAD_BYTES

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's interface
        """Read what has come.

        Raises:
            httpcore.RemoteProtocolError: The head is longer than any that is read.
        """
        if not self._is_awaiting_head():
            return await self._stream.read(max_bytes, timeout)
        if self._left_bytes <= 0:
            raise httpcore.RemoteProtocolError("the head of the answer does not end")
        data = await self._stream.read(min(max_bytes, _HEAD_PIECE_BYTES), timeout)
        self._left_bytes -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        """Send."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> httpcore.AsyncNetworkStream:
        """Go on under TLS."""
        stream = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _BoundedHead(stream, self._is_awaiting_head)

    def get_extra_info(self, info: str) -> object:
        """Tell about the connection."""
        return self._stream.get_extra_info(info)


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves a host, refuses it unless all its addresses are reachable, and dials exactly those addresses.

    Made for one exchange: `dialled_private` tells about the connection it opened, and `is_awaiting_head` is to be told
    when the head of the answer is there.

    Args:
        resolve: How names are looked up.
        resolve_seconds: Longest look-up.
        allow_private: Dial any address (development only).
        network: What opens the connection to a judged address.
    """

    def __init__(
        self, *, resolve: Resolver, resolve_seconds: float, allow_private: bool, network: httpcore.AsyncNetworkBackend
    ) -> None:
        self._resolve = resolve
        self._resolve_seconds = resolve_seconds
        self._allow_private = allow_private
        self._network = network
        self.dialled_private = False
        self.is_awaiting_head = True

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Open a connection to the first judged address that answers.

        Raises:
            SourceRefused: One of the addresses is not reachable from the public internet.
            SourceUnreachable: The name has no address, or the look-up took too long.
        """
        addresses = await self._find_addresses(host, port)
        self.dialled_private = not all(is_reachable(address) for address in addresses)
        if self.dialled_private and not self._allow_private:
            raise SourceRefused("The URL leads to an address that is not on the public internet.")
        attempts = addresses[:_MAX_ATTEMPTS]
        for address in attempts[:-1]:
            try:
                stream = await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
            return self._bounded(stream)
        return self._bounded(
            await self._network.connect_tcp(str(attempts[-1]), port, timeout, local_address, socket_options)
        )

    def _bounded(self, stream: httpcore.AsyncNetworkStream) -> httpcore.AsyncNetworkStream:
        return _BoundedHead(stream, lambda: self.is_awaiting_head)

    async def _find_addresses(self, host: str, port: int) -> Sequence[Address]:
        try:
            return [ip_address(host)]
        except ValueError:
            pass  # a name
        try:
            async with asyncio.timeout(self._resolve_seconds):
                addresses = await self._resolve(host, port)
        except TimeoutError as exc:
            message = f"The host name of the URL could not be looked up within {self._resolve_seconds:g} s."
            raise SourceUnreachable(message) from exc
        except (OSError, UnicodeError) as exc:
            raise SourceUnreachable("The host name of the URL could not be found.") from exc
        if not addresses:
            raise SourceUnreachable("The host name of the URL has no address.")
        return addresses


def _look_up(name: str, port: int) -> list[Address]:
    """Ask the system; runs in a thread."""
    answers = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [ip_address(answer[4][0]) for answer in answers]

"""One exchange, over the guarded network or with this service's own files, seen the same way by whoever began it.

No HTTP client stands in between: so there are no cookies, no proxies or certificates from the environment, no
`.netrc`, no redirects followed unseen and no content decoded, without any of it having to be switched off.
"""

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast

import httpcore
import httpx

from imgapi.errors import SourceRefused
from imgapi.sources.addresses import Address
from imgapi.sources.guard import GuardedBackend
from imgapi.sources.urls import CheckedUrl, check_url

# One address that swallows packets must leave time for the next one.
_CONNECT_SECONDS = 4.0


@dataclass(frozen=True, slots=True)
class Reply:
    """The head of an answer, and its body still to be read.

    Attributes:
        status: The HTTP status.
        headers: Header fields, looked up without regard to case.
        chunks: The body as it arrives, neither decoded nor bounded.
    """

    status: int
    headers: httpx.Headers
    chunks: AsyncIterable[bytes]


@dataclass(frozen=True, slots=True)
class Posted:
    """What a POST carries.

    Attributes:
        content: The body.
        headers: Header fields beside those that every request has.
    """

    content: bytes
    headers: Mapping[str, str]


@asynccontextmanager
async def open_network(
    url: CheckedUrl, backend: GuardedBackend, ssl_context: ssl.SSLContext, posted: Posted | None = None
) -> AsyncIterator[Reply]:
    """Ask the network for `url`, or post to it, over a connection of its own, which is closed on leaving.

    A pool for one exchange: nothing of one caller's connection is there for the next, and no connection can exist
    that the backend did not open.

    Raises:
        SourceRefused: An address is not reachable.
        SourceUnreachable: The name can't be resolved.
        httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException: The exchange failed.
    """
    target = httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target)
    fields = _request_headers() if posted is None else _message_headers(posted)
    async with (
        httpcore.AsyncConnectionPool(ssl_context=ssl_context, max_connections=1, network_backend=backend) as pool,
        pool.stream(
            "GET" if posted is None else "POST",
            target,
            headers=[("Host", url.authority), *fields, ("Connection", "close")],
            content=None if posted is None else posted.content,
            extensions={"timeout": {"connect": _CONNECT_SECONDS}},
        ) as response,
    ):
        backend.is_awaiting_head = False
        yield Reply(response.status, httpx.Headers(response.headers), response.aiter_stream())


async def assert_guarded(ssl_context: ssl.SSLContext) -> None:
    """Make sure that the HTTP library that is installed connects through the guard; nothing is dialled.

    Raises:
        RuntimeError: It doesn't.
    """

    async def find_inside(_host: str, _port: int) -> Sequence[Address]:
        return [ip_address("127.0.0.1")]

    # A network that can't connect; the name is known to nobody, should the library look it up itself (RFC 6761).
    backend = GuardedBackend(
        resolve=find_inside, resolve_seconds=1.0, allow_private=False, network=httpcore.AsyncNetworkBackend()
    )
    try:
        async with open_network(check_url("http://guard.invalid/"), backend, ssl_context):
            pass
    except SourceRefused:
        return
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, NotImplementedError) as exc:
        raise RuntimeError("connections to callers' addresses don't go through the guard") from exc
    raise RuntimeError("connections to callers' addresses don't go through the guard")


@asynccontextmanager
async def open_own(url: CheckedUrl, transport: httpx.AsyncBaseTransport) -> AsyncIterator[Reply]:
    """Ask a transport of this process for `url`; the network is not involved.

    Raises:
        httpx.HTTPError: The transport failed.
    """
    request = httpx.Request("GET", url.text, headers=_request_headers())
    response = await transport.handle_async_request(request)
    try:
        # An asynchronous transport's body is asynchronous; the annotation allows for both kinds.
        yield Reply(response.status_code, response.headers, cast("httpx.AsyncByteStream", response.stream))
    finally:
        await response.aclose()


def is_tls_failure(exc: BaseException | None) -> bool:
    """Look down the chain of causes; the libraries between wrap the TLS failure more than once."""
    while exc is not None:
        if isinstance(exc, ssl.SSLError):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _request_headers() -> list[tuple[str, str]]:
    """The same few fields for everyone: nothing that tells who asks, from where or with what right."""
    return [("User-Agent", "imgapi"), ("Accept", "image/*, */*;q=0.5"), ("Accept-Encoding", "identity")]


def _message_headers(posted: Posted) -> list[tuple[str, str]]:
    """What tells about the message, and nothing else about who sends it."""
    ours = [("User-Agent", "imgapi"), ("Accept-Encoding", "identity"), ("Content-Length", str(len(posted.content)))]
    return [*ours, *posted.headers.items()]

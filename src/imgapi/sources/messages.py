"""The only sender of messages to callers' URLs: one guarded POST, held to the rules that downloads are held to."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import httpcore
import httpx

from imgapi.errors import SourceRefused, SourceUnreachable
from imgapi.sources.exchange import Posted, Reply, is_tls_failure, open_network
from imgapi.sources.guard import GuardedBackend, Resolver, SystemResolver
from imgapi.sources.urls import MAX_URL_CHARACTERS, WEB_PORTS, CheckedUrl, check_url


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """What one message may cost.

    Attributes:
        deadline_seconds: Longest exchange, look-ups included.
        resolve_seconds: Longest look-up of the name.
        max_answer_bytes: Most bytes read of an answer's body.
        max_url_characters: Longest URL.
        ports: The ports that may be dialled.
    """

    deadline_seconds: float = 15.0
    resolve_seconds: float = 4.0
    max_answer_bytes: int = 4096
    max_url_characters: int = MAX_URL_CHARACTERS
    ports: frozenset[int] = WEB_PORTS


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said; its body is no business of ours.

    Attributes:
        status: The HTTP status.
        retry_after: The `Retry-After` field as it came; empty where there is none.
    """

    status: int
    retry_after: str


def check_receiver(
    url: str,
    *,
    max_characters: int = MAX_URL_CHARACTERS,
    ports: frozenset[int] = WEB_PORTS,
    allow_private: bool = False,
) -> CheckedUrl:
    """Judge by its spelling alone whether anything may be posted to a URL, and return it in its one spelling.

    Args:
        url: What the caller sent.
        max_characters: Longest URL.
        ports: The ports that may be dialled.
        allow_private: Let any port, single-label name and private address through, and http (development only).

    Raises:
        InvalidParameter: It is too long or can't be read.
        SourceRefused: It is of a kind that nothing is ever posted to.
    """
    if not url.lower().startswith(("https://", "http://") if allow_private else "https://"):
        raise SourceRefused("The URL must start with https://.")
    return check_url(url, max_characters=max_characters, ports=ports, allow_private=allow_private)


class Poster:
    """Posts messages to callers' URLs.

    Args:
        limits: What one message may cost.
        allow_private: Let URLs lead to any address and port, and without TLS (development only).
        resolve: How names are looked up; the system's resolver when None.
        network: What opens connections to judged addresses; httpcore's own when None.
        ssl_context: Which certificates are trusted; the public authorities when None.
    """

    def __init__(
        self,
        *,
        limits: MessageLimits,
        allow_private: bool,
        resolve: Resolver | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._allow_private = allow_private
        self._resolve: Resolver = resolve or SystemResolver()
        self._network = network or httpcore.AnyIOBackend()
        self._ssl_context = ssl_context or httpx.create_ssl_context(trust_env=False)

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Send one message, once; redirects are not followed.

        Args:
            url: Where to; judged here again, for the rules may have changed since it was taken.
            content: The body.
            headers: Header fields that belong to the message, its `Content-Type` included.

        Raises:
            InvalidParameter: The URL can't be read.
            SourceRefused: The URL, or an address behind it, is of a kind that nothing is ever posted to.
            SourceUnreachable: No such name, no connection, no answer in HTTP, or too slow; it may have been received.
        """
        limits = self._limits
        checked = check_receiver(
            url, max_characters=limits.max_url_characters, ports=limits.ports, allow_private=self._allow_private
        )
        answer: Answer | None = None
        try:
            async with asyncio.timeout(limits.deadline_seconds):
                backend = GuardedBackend(
                    resolve=self._resolve,
                    resolve_seconds=limits.resolve_seconds,
                    allow_private=self._allow_private,
                    network=self._network,
                )
                async with open_network(checked, backend, self._ssl_context, Posted(content, headers)) as reply:
                    answer = Answer(reply.status, reply.headers.get("Retry-After", ""))
                    await self._drain(reply)
        except TimeoutError as exc:
            if answer is None:
                message = f"The receiver did not answer within {limits.deadline_seconds:g} s."
                raise SourceUnreachable(message) from exc
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as exc:
            if answer is None:
                raise SourceUnreachable(_explain(exc), detail=type(exc).__name__) from exc
        return answer

    async def _drain(self, reply: Reply) -> None:
        """Let the receiver finish a short answer: one that is cut off looks like a failure in its log."""
        count = 0
        async for chunk in reply.chunks:
            count += len(chunk)
            if count >= self._limits.max_answer_bytes:
                return

    async def aclose(self) -> None:
        """Take no more look-ups."""
        if isinstance(self._resolve, SystemResolver):
            self._resolve.close()


def _explain(exc: Exception) -> str:
    """Say what the receiver's owner could look at; the exception's own words may hold addresses."""
    if is_tls_failure(exc):
        return "The receiver's TLS certificate or handshake is not valid."
    if isinstance(exc, httpcore.ConnectError | httpcore.ConnectTimeout):
        return "No connection to the receiver could be made."
    return "The receiver broke off or did not answer in HTTP."

"""The only downloader of callers' URLs: every limit on time, bytes, redirects and addresses is held here."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote, urljoin

import httpcore
import httpx

from imgapi.errors import ImageTooLarge, InvalidParameter, SourceRefused, SourceUnreachable
from imgapi.sources.data_url import decode_data_url, is_data_url
from imgapi.sources.exchange import Reply, assert_guarded, is_tls_failure, open_network, open_own
from imgapi.sources.guard import GuardedBackend, Resolver, SystemResolver
from imgapi.sources.urls import MAX_URL_CHARACTERS, WEB_PORTS, CheckedUrl, check_characters, check_url

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = 200
# Each piece of a body costs the event loop a moment, however small it is (an HTTP chunk of one byte takes six); so many
# may be small.
_FREE_PIECES = 1000
_LEAST_PIECE_BYTES = 64


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What one download may cost.

    Attributes:
        max_bytes: Most bytes of one picture.
        max_redirects: Most redirects followed.
        deadline_seconds: Longest download, redirects and look-ups included.
        resolve_seconds: Longest look-up of one name.
        max_url_characters: Longest http(s) URL.
        ports: The ports that may be dialled.
    """

    max_bytes: int = 20 * 1024 * 1024
    max_redirects: int = 3
    deadline_seconds: float = 12.0
    resolve_seconds: float = 4.0
    max_url_characters: int = MAX_URL_CHARACTERS
    ports: frozenset[int] = WEB_PORTS


class Origin(Enum):
    """Where a picture came from, and so who else could fetch it."""

    PUBLIC = "public"
    """An http(s) URL that anyone can fetch, the upstream included."""
    PRIVATE = "private"
    """Fetched only because private sources are allowed."""
    OWN = "own"
    """A file of this service."""
    DATA = "data"
    """Carried by the request itself, in a data: URL."""


@dataclass(frozen=True, slots=True)
class Source:
    """A picture as it came in: bytes not yet looked at, and where they are from."""

    content: bytes
    origin: Origin


class Fetcher:
    """Downloads pictures from callers' URLs.

    Args:
        limits: What one download may cost.
        allow_private: Let URLs lead to any address and port (development only).
        own: URL prefixes, each ending in "/", of files this service keeps, with the transport that serves them; such
            URLs never touch the network. The fetcher closes the transports.
        resolve: How names are looked up; the system's resolver when None.
        network: What opens connections to judged addresses; httpcore's own when None.
        ssl_context: Which certificates are trusted; the public authorities when None.
    """

    def __init__(
        self,
        *,
        limits: FetchLimits,
        allow_private: bool,
        own: Mapping[str, httpx.AsyncBaseTransport],
        resolve: Resolver | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits
        self._allow_private = allow_private
        self._own = [(_read_prefix(prefix), transport) for prefix, transport in own.items()]
        self._resolve: Resolver = resolve or SystemResolver()
        self._network = network or httpcore.AnyIOBackend()
        self._ssl_context = ssl_context or httpx.create_ssl_context(trust_env=False)

    async def start(self) -> None:
        """Make sure, before any caller's URL, that the guard is in the way of all; RuntimeError when it isn't."""
        await assert_guarded(self._ssl_context)

    async def fetch(self, url: str) -> Source:
        """Return the bytes behind an http(s) or data: URL; what they are is not looked at.

        Raises:
            InvalidParameter: The URL can't be read.
            SourceRefused: The URL, an address behind it or a redirect is of a kind that is never fetched.
            SourceUnreachable: No such name, no connection, an answer other than 200, or too slow.
            ImageTooLarge: More bytes than allowed.
        """
        if is_data_url(url):
            content = await asyncio.to_thread(decode_data_url, url, max_bytes=self._limits.max_bytes)
            return Source(content, Origin.DATA)
        spelled = check_url(url, max_characters=self._limits.max_url_characters, allow_private=True)
        transport = self._find_own(spelled)
        place = spelled.place
        try:
            async with asyncio.timeout(self._limits.deadline_seconds):
                if transport is not None:
                    return await self._read_own(spelled, transport)
                return await self._download(self._check(url), place)
        except TimeoutError as exc:
            message = f"The picture at {place} did not arrive within {self._limits.deadline_seconds:g} s."
            raise SourceUnreachable(message) from exc
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, httpx.HTTPError) as exc:
            raise SourceUnreachable(_explain(place, exc), detail=type(exc).__name__) from exc

    async def aclose(self) -> None:
        """Close the transports of own files and take no more look-ups."""
        if isinstance(self._resolve, SystemResolver):
            self._resolve.close()
        for _, transport in self._own:
            await transport.aclose()

    def _check(self, url: str) -> CheckedUrl:
        limits = self._limits
        return check_url(
            url, max_characters=limits.max_url_characters, ports=limits.ports, allow_private=self._allow_private
        )

    def _find_own(self, url: CheckedUrl) -> httpx.AsyncBaseTransport | None:
        """Return the transport whose prefix the URL has, provided that nothing in it could lead out of the prefix."""
        for prefix, transport in self._own:
            same_place = (url.scheme, url.host, url.port) == (prefix.scheme, prefix.host, prefix.port)
            if same_place and url.target.startswith(prefix.target):
                _refuse_path_tricks(url.target.removeprefix(prefix.target))
                return transport
        return None

    async def _read_own(self, url: CheckedUrl, transport: httpx.AsyncBaseTransport) -> Source:
        async with open_own(url, transport) as reply:
            return Source(await self._read(reply, url.place), Origin.OWN)

    async def _download(self, url: CheckedUrl, place: str) -> Source:
        """Follow the URL over the network; each redirect is judged like a URL that a caller sent."""
        origin = Origin.PUBLIC
        for hop in range(self._limits.max_redirects + 1):
            backend = GuardedBackend(
                resolve=self._resolve,
                resolve_seconds=self._limits.resolve_seconds,
                allow_private=self._allow_private,
                network=self._network,
            )
            async with self._open(url, backend, place if hop else None) as reply:
                if backend.dialled_private or not url.is_public(self._limits.ports):
                    origin = Origin.PRIVATE
                location = reply.headers.get("Location") if reply.status in _REDIRECTS else None
                if location is None:
                    return Source(await self._read(reply, place), origin)
            url = self._check_redirect(url, location, place)
        raise SourceUnreachable(
            f"The download from {place} failed: it redirects more than {self._limits.max_redirects} times."
        )

    @asynccontextmanager
    async def _open(self, url: CheckedUrl, backend: GuardedBackend, redirector: str | None) -> AsyncIterator[Reply]:
        """Open one hop; a refusal after a redirect names who redirected, for the caller sent only that URL."""
        try:
            async with open_network(url, backend, self._ssl_context) as reply:
                yield reply
        except SourceRefused as exc:
            if redirector is None:
                raise
            raise SourceRefused(
                f"The download from {redirector} is redirected to a URL that is refused: {exc.message}"
            ) from exc

    def _check_redirect(self, url: CheckedUrl, location: str, place: str) -> CheckedUrl:
        try:
            check_characters(location, self._limits.max_url_characters)
            return self._check(urljoin(url.text, location))
        except (InvalidParameter, SourceRefused) as exc:
            raise SourceRefused(
                f"The download from {place} is redirected to a URL that is refused: {exc.message}"
            ) from exc
        except ValueError as exc:
            raise SourceRefused(f"The download from {place} is redirected to something that is not a URL.") from exc

    async def _read(self, reply: Reply, place: str) -> bytes:
        """Read the body of a 200, counting as it arrives."""
        if reply.status != _OK:
            raise SourceUnreachable(
                f"The download from {place} failed: it answered with status {reply.status}, not 200."
            )
        if reply.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
            raise SourceUnreachable(
                f"The download from {place} failed: its body has a content encoding, which was not asked for."
            )
        max_bytes = self._limits.max_bytes
        announced = reply.headers.get("Content-Length", "")
        if announced.isdecimal() and int(announced) > max_bytes:
            raise ImageTooLarge(f"The picture at {place} has {announced} bytes; at most {max_bytes} are allowed.")
        # Joined at the end: a file of our own comes in one piece, and is not copied.
        chunks: list[bytes] = []
        count = 0
        async for chunk in reply.chunks:
            chunks.append(chunk)
            count += len(chunk)
            if count > max_bytes:
                raise ImageTooLarge(f"The picture at {place} has more than the allowed {max_bytes} bytes.")
            if len(chunks) > _FREE_PIECES and count < len(chunks) * _LEAST_PIECE_BYTES:
                raise SourceUnreachable(f"The download from {place} failed: its body comes in crumbs of a few bytes.")
        return b"".join(chunks)


def _read_prefix(prefix: str) -> CheckedUrl:
    if not prefix.endswith("/"):
        raise ValueError("a prefix of own files must end in a slash, or it would cover neighbours of that name")
    return check_url(prefix, allow_private=True)


def _refuse_path_tricks(rest: str) -> None:
    """Refuse segments that some server could read as a way up, as a separator or as another escape."""
    path = rest.partition("?")[0]
    for segment in path.split("/"):
        name = unquote(segment)
        if name in {"", ".", ".."} or not name.isprintable() or any(character in "/\\%" for character in name):
            raise SourceRefused("The URL has no plain path to a file of this service.")


def _explain(place: str, exc: Exception) -> str:
    """Say what the owner of the URL could look at; the exception's own words may hold addresses."""
    if is_tls_failure(exc):
        return f"The download from {place} failed: its TLS certificate or handshake is not valid."
    if isinstance(exc, httpcore.ConnectError | httpcore.ConnectTimeout):
        return f"The download from {place} failed: no connection could be made."
    return f"The download from {place} failed: its server broke off or did not answer in HTTP."

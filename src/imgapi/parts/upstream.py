"""The upstream, and what fetches pictures: DashScope over the network, or the emulator in this process."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import structlog
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Mount

from imgapi.clock import Clock
from imgapi.dashscope.client import Account, DashScope, Patience
from imgapi.emulator.app import Emulator, EmulatorConfig
from imgapi.emulator.config import Pace, Progress
from imgapi.parts.files import own_path
from imgapi.parts.pixels import make_workers
from imgapi.pictures.workers import Workers
from imgapi.settings import Settings
from imgapi.sources.fetch import Fetcher, FetchLimits

CallCounter = Callable[[str, int | None, float], None]
PREVIEW_KEY = "sk-local-preview"
EMULATOR_PATH = "/emulator"
# Where the pictures lie that requests carried: a name of no network, the same for all processes of an installation.
INPUTS_HOST = "http://inputs.imgapi.invalid"
_KEEP_CONNECTIONS = httpx.Limits(max_connections=64, max_keepalive_connections=16)
_FRESH_CONNECTIONS = httpx.Limits(max_connections=64, max_keepalive_connections=0)


class InProcessTransport(httpx.ASGITransport):
    """Reaches an ASGI application as a network would be reached: what it breaks off arrives as a broken read."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, or fail as a cut connection does."""
        try:
            return await super().handle_async_request(request)
        except ConnectionError as exc:
            raise httpx.ReadError(str(exc), request=request) from exc


class CountedTransport(httpx.AsyncBaseTransport):
    """Counts the calls that go through another transport.

    Args:
        transport: What makes them.
        count: Told which call it was, its HTTP status or None where no answer came, and the seconds until its head.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, count: CallCounter) -> None:
        self._transport = transport
        self._count = count

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make a call."""
        begun, status = time.perf_counter(), None
        try:
            answer = await self._transport.handle_async_request(request)
            status = answer.status_code
        finally:
            self._count(_name_call(request), status, time.perf_counter() - begun)
        return answer

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


def _name_call(request: httpx.Request) -> str:
    path = request.url.path
    if request.method == "GET":
        return "policy" if path.endswith("/uploads") else "list" if path.endswith("/tasks") else "query"
    if path.endswith("/cancel"):
        return "cancel"
    return "submit" if "/services/" in path else "upload"


def _fetch_limits(settings: Settings) -> FetchLimits:
    return FetchLimits(
        max_bytes=settings.max_picture_bytes,
        deadline_seconds=settings.source_seconds,
        ports=frozenset(settings.source_ports),
    )


def make_fetcher(settings: Settings, own_files: Starlette, paths: Sequence[str]) -> Fetcher:
    """Make what downloads pictures; URLs of this service's own files never touch the network."""
    hosts = {settings.own_url}
    if settings.public_url is None:
        hosts.add(f"http://localhost:{settings.port}")
    return Fetcher(
        limits=_fetch_limits(settings),
        allow_private=settings.allow_private_sources,
        own={
            **{f"{host}{path}": InProcessTransport(own_files) for host in hosts for path in paths},
            f"{INPUTS_HOST}/inputs/": InProcessTransport(own_files),
        },
    )


def make_emulator(settings: Settings, fetcher: Fetcher, workers: Workers) -> Emulator:
    """Make the stand-in for DashScope."""

    async def fetch(url: str) -> bytes:
        return (await fetcher.fetch(url)).content

    progress = Progress.SECONDS if settings.preview_pace == "realistic" else Progress.AT_ONCE
    config = EmulatorConfig(public_url=f"{settings.own_url}{EMULATOR_PATH}", pace=Pace(progress))
    return Emulator(config, fetch=fetch, run_pixels=workers.run)


@asynccontextmanager
async def emulator_alone(settings: Settings, public_url: str, *, realistic: bool) -> AsyncIterator[Emulator]:
    """Run the emulator without the service around it, as `imgapi emulator` does."""
    workers = make_workers(settings)
    fetcher = Fetcher(limits=_fetch_limits(settings), allow_private=settings.allow_private_sources, own={})

    async def fetch(url: str) -> bytes:
        return (await fetcher.fetch(url)).content

    config = EmulatorConfig(public_url=public_url, pace=Pace(Progress.SECONDS if realistic else Progress.AT_ONCE))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(workers.close)
        await workers.start()
        stack.push_async_callback(fetcher.aclose)
        yield await stack.enter_async_context(Emulator(config, fetch=fetch, run_pixels=workers.run))


def make_dashscope(settings: Settings, emulator: Emulator | None, clock: Clock, count: CallCounter) -> DashScope:
    """Make the client of the upstream, whichever that is; every call is counted."""
    if emulator is None:
        key = settings.dashscope_api_key or SecretStr("")
        account = Account(settings.base_url, key, settings.dashscope_workspace)
        queries: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(limits=_KEEP_CONNECTIONS)
        submits: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(limits=_FRESH_CONNECTIONS)
    else:
        account = Account(f"{settings.own_url}{EMULATOR_PATH}/api/v1", SecretStr(PREVIEW_KEY))
        mounted = Starlette(routes=[Mount(f"{own_path(settings)}{EMULATOR_PATH}", emulator.app)])
        queries = submits = InProcessTransport(mounted)
    timeout = httpx.Timeout(None, connect=Patience().connect_seconds, pool=Patience().exchange_seconds)
    http, http_submit = (
        httpx.AsyncClient(transport=CountedTransport(transport, count), timeout=timeout, trust_env=False)
        for transport in (queries, submits)
    )
    log = structlog.get_logger("imgapi.upstream")

    def announce(event: str, subject: str) -> None:
        log.warning(event, subject=subject)

    return DashScope(http, http_submit, account, clock, announce=announce)

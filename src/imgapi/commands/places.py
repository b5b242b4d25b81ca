"""Where the service is that a command uses: a running server, or one that lives as long as the command."""

import contextlib
import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import typer
from fastapi import FastAPI

from imgapi import __version__
from imgapi.app import create_app, running
from imgapi.clock import Clock, SystemClock
from imgapi.commands.client import TIMEOUT, Service
from imgapi.parts.upstream import InProcessTransport
from imgapi.settings import Settings, read_settings
from imgapi.sources.fetch import Fetcher, FetchLimits
from imgapi.tasks.database import Database
from imgapi.tasks.engine import DurableEngine
from imgapi.tasks.plan import Engine

# A name of no network: requests for it stay in this process.
IN_PROCESS_URL = "http://imgapi.invalid"
# Tasks are kept for a week, and an idempotency key for a day.
_KEPT_SECONDS = 8 * 86400.0
_SHUTDOWN_SECONDS = 5.0
# A proxy of the environment is never asked for this machine itself.
_DIRECT: Mapping[str, None] = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}
_HEADERS = {"User-Agent": f"imgapi/{__version__}"}
_MAKE_ENGINE: Callable[[Database, str], Engine] = DurableEngine


def in_process_settings(given: Settings, data_dir: Path, **changes: Any) -> Settings:
    """Change an operator's settings so that a service in this process shares nothing with theirs.

    Args:
        given: As read from the environment.
        data_dir: Where this service keeps everything.
        changes: Further fields.
    """
    apart: dict[str, Any] = {
        "data_dir": data_dir,
        "models_dir": given.models_folder,
        "public_url": IN_PROCESS_URL,
        "database_url": None,
        "secret": None,
        "results": None,
        "webhook_url": None,
        "webhook_secret": None,
        "api_keys_file": None,
        "docs": "off",
        "shutdown_seconds": min(given.shutdown_seconds, _SHUTDOWN_SECONDS),
    }
    return read_settings(**{**apart, **changes})


@asynccontextmanager
async def in_process(
    settings: Settings, *, clock: Clock | None = None, engine: Callable[[Database, str], Engine] = _MAKE_ENGINE
) -> AsyncIterator[tuple[Service, FastAPI]]:
    """Run the service inside this process; yield a client of it, and the application.

    Args:
        settings: Of the service.
        clock: Time.
        engine: Makes what runs tasks; a process has room for one that is durable.

    Raises:
        SettingsInvalidError: A setting names what this installation can't do.
        DatabaseUnusableError: Another process works with the same data folder.
    """
    app = create_app(settings, clock=clock, engine=engine)
    transport = InProcessTransport(app, raise_app_exceptions=False)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running(app.state.parts))
        mounts = {**_DIRECT, IN_PROCESS_URL: transport}
        http = await stack.enter_async_context(httpx.AsyncClient(mounts=mounts, timeout=TIMEOUT, headers=_HEADERS))
        fetcher = app.state.parts.fetcher
        yield (
            Service(http, IN_PROCESS_URL, settings.own_url, clock or SystemClock(), fetcher, is_local=True),
            app,
        )


@asynccontextmanager
async def at_server(
    server: str, key: str | None, settings: Settings, *, clock: Clock | None = None
) -> AsyncIterator[Service]:
    """Use a running server.

    Args:
        server: Its URL.
        key: What it asks for, if it does.
        settings: Bound the download of URLs that are fetched here.
        clock: Time.
    """
    address = server.rstrip("/")
    limits = FetchLimits(
        max_bytes=settings.max_picture_bytes,
        deadline_seconds=settings.source_seconds,
        ports=frozenset(settings.source_ports),
    )
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=TIMEOUT, headers=_HEADERS, mounts=_DIRECT))
        fetcher = Fetcher(limits=limits, allow_private=settings.allow_private_sources, own={})
        stack.push_async_callback(fetcher.aclose)
        yield Service(http, address, address, clock or SystemClock(), fetcher, is_local=False, key=key)


@contextlib.contextmanager
def temporary_data() -> Iterator[Path]:
    """Make a data folder for work that nothing is paid for; it goes with the block."""
    with tempfile.TemporaryDirectory(prefix="imgapi-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextlib.contextmanager
def lasting_data(work: str) -> Iterator[Path]:
    """Find the data folder for work that is paid for, so that a run that was killed can be gone on with.

    Args:
        work: Names the work; the same names the same folder. Folders that were not used for long are removed.
    """
    parent = Path(typer.get_app_dir("imgapi")) / "edits"
    folder = parent / hashlib.sha256(work.encode()).hexdigest()[:16]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.touch()
    for other in parent.iterdir():
        with contextlib.suppress(OSError):
            if other != folder and other.stat().st_mtime < time.time() - _KEPT_SECONDS:
                shutil.rmtree(other)
    yield folder

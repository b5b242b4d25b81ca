"""What all tests share: the whole service on a loopback port, without a key."""

import asyncio
import base64
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from engines import PlainEngine
from imgapi.app import complete_routes, create_app
from imgapi.clock import Clock
from imgapi.parts.tasks import Parts
from imgapi.settings import Settings
from imgapi.tasks.database import Database
from imgapi.tasks.engine import DurableEngine
from imgapi.tasks.plan import Engine
from servers import free_socket, serving

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell that runs the tests in the background has them, and all that they start, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Service:
    """A running service and a client of it."""

    def __init__(self, app: FastAPI, address: str, client: httpx.Client) -> None:
        self.app = app
        self.address = address
        self.client = client

    @property
    def parts(self) -> Parts:
        parts: Parts = self.app.state.parts
        return parts

    def post(self, path: str, body: Any) -> httpx.Response:
        """Send a JSON body."""
        return self.client.post(path, json=body)


class FastClock:
    """Time that runs faster than the wall's, so that back-off and deadlines take milliseconds.

    Args:
        factor: How many seconds pass in one.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def monotonic(self) -> float:
        """Seconds of this clock."""
        return time.monotonic() * self.factor

    def time(self) -> float:
        """The wall's time: only shown, never waited for."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait seconds of this clock."""
        await asyncio.sleep(max(0.0, seconds) / self.factor)


def run_service(
    tmp_path: Path,
    *,
    clock: Clock | None = None,
    engine: Callable[[Database, str], Engine] = PlainEngine,
    **settings: Any,
) -> Iterator[Service]:
    """Run the service with some settings until the generator is closed; a process has room for one durable engine."""
    bound = free_socket()
    given = {"port": bound.getsockname()[1], "data_dir": tmp_path, "workers": 1, "shutdown_seconds": 1.0} | settings
    app = create_app(Settings.model_construct(**given), clock=clock, engine=engine)
    complete_routes(app)
    with serving(app, bound) as address, httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
        yield Service(app, address, client)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service as a newcomer runs it: no key, default limits."""
    yield from run_service(tmp_path_factory.mktemp("service"), engine=DurableEngine)


@pytest.fixture(scope="session")
def data_url() -> Callable[..., str]:
    """Turn picture bytes into a data URL."""

    def write(content: bytes, media_type: str = "image/png") -> str:
        return f"data:{media_type};base64,{base64.b64encode(content).decode()}"

    return write


@pytest.fixture(params=["resvg", "cairosvg"])
def renderer(request: pytest.FixtureRequest) -> str:
    """Each renderer in turn; CairoSVG is skipped without libcairo unless IMGAPI_TEST_REQUIRE names it."""
    if request.param == "cairosvg":
        try:
            import cairosvg  # noqa: F401
        except (ImportError, OSError) as exc:
            if "cairo" in os.environ.get("IMGAPI_TEST_REQUIRE", ""):
                pytest.fail(f"CairoSVG is required and can't be imported: {exc}")
            pytest.skip(f"CairoSVG needs the system library libcairo: {exc}")
    return str(request.param)

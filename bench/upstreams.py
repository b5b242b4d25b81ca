"""The upstream of a benchmark: emulators behind sockets on the loopback, in a process of their own.

Each stands for one account, so that contenders can't use up each other's limits. The pictures cost nothing to make.
"""

import asyncio
import io
import multiprocessing
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import httpx
import numpy as np
from PIL import Image

from imgapi.emulator.app import Emulator, EmulatorConfig
from imgapi.emulator.painters import Painting, PaintJob
from imgapi.emulator.server import make_server

T = TypeVar("T")
PICTURE_URL = "http://pictures.test/picture.png"
PICTURE_SIZE = (640, 560)


def draw_picture() -> bytes:
    """Draw an RGBA PNG that every model takes."""
    pixels = np.random.default_rng(1).integers(0, 255, (40, 40, 4), dtype=np.uint8)
    picture = Image.fromarray(pixels).resize(PICTURE_SIZE, Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def make_emulator(public_url: str, figures: Mapping[str, Any]) -> Emulator:
    """Make an emulator whose pictures cost nothing."""
    picture = draw_picture()

    async def fetch(_: str) -> bytes:
        return picture

    async def run_here(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        return function(*args, **kwargs)

    def paint(job: PaintJob) -> Painting:
        return Painting((picture,) * job.count)

    config = EmulatorConfig(public_url=public_url, inspect_inputs=False, max_requests=20_000, **figures)
    return Emulator(config, fetch=fetch, run_pixels=run_here, paint=paint)


def _serve(line: Connection, accounts: Sequence[Mapping[str, Any]]) -> None:
    asyncio.run(_serve_all(line, accounts))


async def _serve_all(line: Connection, accounts: Sequence[Mapping[str, Any]]) -> None:
    async with AsyncExitStack() as stack:
        servers, sockets = [], []
        for figures in accounts:
            listening = stack.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            listening.listen(256)
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            emulator = await stack.enter_async_context(make_emulator(address, figures))
            servers.append(make_server(emulator.app, "127.0.0.1", 0))
            sockets.append(listening)
            line.send(address)
        running = [
            asyncio.create_task(server.serve(sockets=[listening]))
            for server, listening in zip(servers, sockets, strict=True)
        ]
        await asyncio.to_thread(line.poll, None)
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*running)


@dataclass(slots=True)
class Upstream:
    """One account at the upstream, and the calls it has received since they were last asked for."""

    address: str
    _known: int = 0

    @property
    def base_url(self) -> str:
        """What a client of DashScope is pointed at."""
        return f"{self.address}/api/v1"

    async def new_calls(self) -> list[Mapping[str, Any]]:
        """Return the calls received since the last time."""
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as http:
            calls: list[Mapping[str, Any]] = (await http.get(f"{self.address}/_emulator/ledger")).json()["calls"]
        new = [call for call in calls if call["number"] > self._known]
        self._known = max((call["number"] for call in new), default=self._known)
        return new


@contextmanager
def serving_upstreams(accounts: Sequence[Mapping[str, Any]]) -> Iterator[list[Upstream]]:
    """Serve an emulator for each account, made with its figures, until the block ends."""
    processes = multiprocessing.get_context("spawn")
    line, far_end = processes.Pipe()
    server = processes.Process(target=_serve, args=(far_end, accounts), daemon=True)
    server.start()
    try:
        yield [Upstream(line.recv()) for _ in accounts]
    finally:
        line.send(None)
        server.join(10.0)

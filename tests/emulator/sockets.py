"""An emulator behind a real socket on the loopback, in a thread of its own."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from emulator.rig import Web, cut_out_simply, paint_simply
from imgapi.emulator.app import Emulator, EmulatorConfig
from imgapi.emulator.server import make_server

T = TypeVar("T")


async def run_in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run pixel work beside the event loop, as the worker processes do."""
    return await asyncio.to_thread(function, *args, **kwargs)


class Served:
    """A running emulator: its address, the emulator itself, and the pictures it can download."""

    def __init__(self, address: str, emulator: Emulator, web: Web) -> None:
        self.address = address
        self.emulator = emulator
        self.web = web

    @property
    def base_url(self) -> str:
        """What a client of DashScope is pointed at."""
        return f"{self.address}/api/v1"


@contextlib.contextmanager
def serving_emulator(**figures: Any) -> Iterator[Served]:
    """Serve an emulator until the block ends."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(64)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    web = Web()
    emulator = Emulator(
        EmulatorConfig(public_url=address, **figures),
        fetch=web.fetch,
        run_pixels=run_in_thread,
        paint=paint_simply,
        cut_out=cut_out_simply,
    )
    server = make_server(emulator.app, "127.0.0.1", 0)

    async def run() -> None:
        async with emulator:
            await server.serve(sockets=[listening])

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        yield Served(address, emulator, web)
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()

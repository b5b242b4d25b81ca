"""Serving an emulator over a socket, where a scripted cut really cuts the connection."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from imgapi.emulator.app import Emulator
from imgapi.emulator.delivery import ABORT_EXTENSION


class AbortableProtocol(H11Protocol):
    """HTTP/1.1 that hands the app the means to cut its connection: `scope["extensions"]["imgapi.abort"]`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own class
        """Wrap the app for this connection."""
        super().connection_made(transport)
        app: Any = self.app

        async def with_abort(scope: Scope, receive: Receive, send: Send) -> None:
            extensions = {**(scope.get("extensions") or {}), ABORT_EXTENSION: transport.abort}
            await app({**scope, "extensions": extensions}, receive, send)

        self.app = with_abort


class _Server(uvicorn.Server):
    """A server that leaves signals to `serve`: uvicorn's own way ends the process before the caller can clean up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def make_server(app: ASGIApp, host: str, port: int) -> uvicorn.Server:
    """Make a server for an emulator's app."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=AbortableProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    return _Server(config)


async def serve(emulator: Emulator, host: str, port: int) -> None:
    """Serve an emulator until the process is told to stop; the caller starts and ends the emulator itself."""
    server = make_server(emulator.app, host, port)
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, server.handle_exit, number, None)
    try:
        await server.serve()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)

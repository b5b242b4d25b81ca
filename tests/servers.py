"""Real servers for tests: an ASGI application under uvicorn, in a thread, on a loopback port of its own."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from imgapi.api.protocol import DocumentedProtocol

STARTUP_SECONDS = 30.0


def free_socket() -> socket.socket:
    """Return a socket that is bound to a free loopback port and listens."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", 0))
    bound.listen(128)
    return bound


def living(answer: ASGIApp) -> ASGIApp:
    """Make an application of what answers requests and knows no start and stop."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
                if kind == "lifespan.shutdown":
                    return
        await answer(scope, receive, send)

    return app


@contextlib.contextmanager
def serving(app: Any, bound: socket.socket, http: type[DocumentedProtocol] = DocumentedProtocol) -> Iterator[str]:
    """Serve an application until the block ends; yield its address."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=2,
        # Longer than clients keep theirs, as in production: who closes first may close on a request.
        timeout_keep_alive=75,
        lifespan="on",
        http=http,
        server_header=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    deadline = time.monotonic() + STARTUP_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            message = "the test server did not start"
            raise RuntimeError(message)
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=STARTUP_SECONDS)
        bound.close()

"""Serves the MCP tools: over standard input and output to one agent, or over streamable HTTP to several."""

import asyncio
import contextlib
import ipaddress
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer
import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from imgapi.api.access import Access, BodyLimits
from imgapi.api.failures import error_response
from imgapi.api.gate import presented_key
from imgapi.api.keys import Keyring
from imgapi.api.logs import set_up_logs
from imgapi.app import read_keyring
from imgapi.commands.client import Service
from imgapi.commands.mcp_command import Served
from imgapi.commands.mcp_files import ReadableFiles, WrittenFiles
from imgapi.commands.mcp_server import Tools
from imgapi.commands.outcomes import EXIT_DONE, EXIT_INTERRUPTED, EXIT_TERMINATED
from imgapi.commands.places import at_server, in_process, in_process_settings
from imgapi.settings import Settings, SettingsInvalidError, environment_name

MCP_PATH = "/mcp"
# What the service hands out links to; whoever has such a link needs no key.
_KEPT_PATHS = ("/results/", "/files/", "/emulator/results/")
_WILDCARDS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - recognized, not listened on
_ANSWER_SECONDS = 5
_HTTP_PORT = 80


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@asynccontextmanager
async def _service(served: Served, settings: Settings, **changes: Any) -> AsyncIterator[tuple[Service, ASGIApp | None]]:
    """Find the service at a server, or run it here; yield its application too if it is here."""
    if served.server is not None:
        async with at_server(served.server, served.key, settings) as service:
            yield service, None
        return
    async with in_process(in_process_settings(settings, served.data_dir, **changes)) as (service, app):
        yield service, app


async def serve_stdio(served: Served, settings: Settings) -> int:
    """Serve one agent, which has started this process, until it closes our standard input.

    Raises:
        SettingsInvalidError: A setting names what this installation can't do.
    """
    set_up_logs("json", "error")
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    stopped_by: list[int] = []

    has_left = False

    def stop(number: int) -> None:
        # Agents send signals while a server that they have left is ending by itself.
        if task is not None and not has_left:
            stopped_by.append(number)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop, number)
    # First of all: the worker processes must not inherit what the agent reads and writes.
    async with stdio_server() as (received, sent):
        try:
            async with _service(served, settings) as (service, _):
                is_ours = served.output is None
                folder = served.output or Path(typer.get_app_dir("imgapi")) / "results"
                tools = Tools(service, ReadableFiles([*served.roots, folder]), WrittenFiles(folder, is_ours=is_ours))
                server = tools.make_server()
                await server.run(received, sent, server.create_initialization_options())
                has_left = True
        except asyncio.CancelledError:
            if not stopped_by:
                raise
            shutil.rmtree(served.data_dir, ignore_errors=True)
            sys.stderr.flush()
            # The thread that waits for the agent's next word can't be woken; everything else has ended.
            os._exit(EXIT_INTERRUPTED if stopped_by[0] == signal.SIGINT else EXIT_TERMINATED)
    return EXIT_DONE


async def serve_http(served: Served, settings: Settings, host: str, port: int) -> int:
    """Serve agents over streamable HTTP until the process is told to stop.

    Raises:
        SettingsInvalidError: The address is open to others and no keys are given out, or another setting is wrong.
    """
    keyring = read_keyring(settings)
    if keyring is None and not is_loopback(host):
        message = (
            f"{host} is open to others, and no keys are given out: set {environment_name('api_keys_file')} (make keys "
            "with: imgapi keys new NAME), or listen on 127.0.0.1."
        )
        raise SettingsInvalidError(message)
    set_up_logs(settings.log_format, settings.log_level)
    own_url = (settings.public_url or f"http://{_spelled(host)}:{port}").rstrip("/")
    keys_file = settings.api_keys_file
    async with AsyncExitStack() as stack:
        service, app = await stack.enter_async_context(
            _service(served, settings, public_url=own_url, api_keys_file=keys_file)
        )
        tools = Tools(service, None, None, hands_on_keys=keyring is not None and service.is_local)
        server = tools.make_server()
        front = make_front(server, app, keyring, settings, security_of(host, port, own_url))
        await stack.enter_async_context(server.session_manager.run())
        config = uvicorn.Config(
            front,
            host=host,
            port=port,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_ANSWER_SECONDS,
        )
        sys.stderr.write(f"imgapi mcp: {own_url}{MCP_PATH}\n")
        await _run(_QuietServer(config))
    return EXIT_DONE


def _spelled(host: str) -> str:
    shown = "127.0.0.1" if host in _WILDCARDS else host
    return f"[{shown}]" if ":" in shown else shown


def security_of(host: str, port: int, own_url: str) -> TransportSecuritySettings:
    """Name the Host and Origin headers that are answered: a page whose name was rebound to this machine has others."""
    public = urlsplit(own_url)
    # Clients leave the port out where it is that of the scheme.
    ending = "" if port == _HTTP_PORT else f":{port}"
    names = {public.netloc, f"{_spelled(host)}{ending}"}
    if is_loopback(host) or host in _WILDCARDS:
        names |= {f"{name}{ending}" for name in ("127.0.0.1", "localhost", "[::1]")}
    origins = {f"{public.scheme}://{public.netloc}", *(f"http://{name}" for name in names)}
    return TransportSecuritySettings(allowed_hosts=sorted(names), allowed_origins=sorted(origins))


def make_front(
    server: Server[Any],
    app: ASGIApp | None,
    keyring: Keyring | None,
    settings: Settings,
    security: TransportSecuritySettings,
) -> ASGIApp:
    """Make the application: the tools behind their keys, and the pictures that links lead to.

    Args:
        server: The tools.
        app: The service of this process, which has the pictures; None where another server has them.
        keyring: The keys that callers must send; None where none is asked for.
        settings: Bound the bodies of requests.
        security: The Host and Origin headers that are answered.
    """
    max_bytes = 3 * (settings.max_picture_bytes * 4 // 3 + 1024) + settings.max_json_bytes
    tools: ASGIApp = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        # Nothing is remembered between calls, so there is no session that could be taken over.
        stateless_http=True,
        max_request_body_size=max_bytes,
        transport_security=security,
    )
    bounded = Access(
        _Keys(tools, keyring),
        BodyLimits(
            json_bytes=max_bytes,
            plain_json_bytes=max_bytes,
            multipart_bytes=settings.max_json_bytes,
            seconds=settings.body_seconds,
            total_bytes=settings.bodies_max_bytes,
        ),
    )

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        is_look = scope["type"] == "http" and scope["method"] in {"GET", "HEAD"}
        is_kept = is_look and scope["path"].startswith(_KEPT_PATHS)
        await (app if app is not None and is_kept else bounded)(scope, receive, send)

    return front


class _Keys:
    """Lets requests with a known key pass; what a key may do is the service's to say.

    Args:
        app: What answers.
        keyring: The known keys; None lets everything pass.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring | None) -> None:
        self._app = app
        self._keyring = keyring

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._keyring is not None and self._keyring.find(presented_key(Request(scope))) is None:
            sentence = "These tools ask for a key of this server; send it as `Authorization: Bearer …`."
            headers = {"WWW-Authenticate": 'Bearer realm="imgapi"'}
            request_id = Request(scope).state.request_id
            answer = error_response(request_id, HTTPStatus.UNAUTHORIZED, sentence, "unauthorized", headers=headers)
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)


class _QuietServer(uvicorn.Server):
    """A server that leaves signals to us: uvicorn's own way ends the process before the service has ended."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def _run(server: uvicorn.Server) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, server.handle_exit, number, None)
    await server.serve()

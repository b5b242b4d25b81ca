"""The command line: serve, emulator, openapi, doctor."""

import asyncio
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn

from imgapi import __version__
from imgapi.api.logs import set_up_logs
from imgapi.api.openapi import written
from imgapi.app import create_app, picture_limits
from imgapi.settings import Settings, SettingsInvalidError, read_settings
from imgapi.tasks.run import TaskRunner

EXIT_FAILED, EXIT_SETTINGS = 1, 78
ANSWER_SECONDS = 5

cli = typer.Typer(
    name="imgapi", help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)

Host = Annotated[str | None, typer.Option(help="Address to listen on; IMGAPI_HOST, else 127.0.0.1.")]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on; IMGAPI_PORT, else 5000.")]


def _settings(**given: Any) -> Settings:
    try:
        return read_settings(**{name: value for name, value in given.items() if value is not None})
    except SettingsInvalidError as exc:
        print(f"imgapi: {exc}", file=sys.stderr)
        raise SystemExit(EXIT_SETTINGS) from exc


def _is_loopback(host: str) -> bool:
    return host in {"127.0.0.1", "::1", "localhost"}


@cli.command()
def serve(host: Host = None, port: Port = None) -> None:
    """Serve the nine endpoints."""
    settings = _settings(host=host, port=port)
    set_up_logs(settings.log_format, settings.log_level)
    try:
        app = create_app(settings)
    except SettingsInvalidError as exc:
        print(f"imgapi: {exc}", file=sys.stderr)
        raise SystemExit(EXIT_SETTINGS) from exc
    shown = settings.host if _is_loopback(settings.host) else "127.0.0.1"
    upstream = "DashScope" if settings.dashscope_api_key else "the local preview emulator (no DASHSCOPE_API_KEY is set)"
    print(f"imgapi {__version__}: edits run at {upstream}", file=sys.stderr)
    print(f"  docs:    http://{shown}:{settings.port}/docs", file=sys.stderr)
    print(f"  address: http://{settings.host}:{settings.port}", file=sys.stderr)
    if not _is_loopback(settings.host):
        warning = "  WARNING: this address is open to others, and this service asks for no key."
        print(warning, file=sys.stderr)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        # The runner ends the edits at the end of the grace; this is for their answers to get out.
        timeout_graceful_shutdown=int(settings.shutdown_seconds) + ANSWER_SECONDS,
    )
    server = _Server(config, app.state.parts.runner, settings.shutdown_seconds)
    server.run()
    if not server.started:
        raise SystemExit(EXIT_FAILED)


class _Server(uvicorn.Server):
    """A server that ends edits as soon as it is told to stop, so that every caller still gets an answer.

    Args:
        config: As uvicorn takes it.
        runner: Whose edits are ended.
        grace_seconds: How long accepted edits may go on.
    """

    def __init__(self, config: uvicorn.Config, runner: TaskRunner, grace_seconds: float) -> None:
        super().__init__(config)
        self._runner = runner
        self._grace_seconds = grace_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening and end the edits side by side; one grace period for both."""
        closing = asyncio.create_task(self._runner.close(self._grace_seconds))
        await super().shutdown(sockets)
        await closing


@cli.command()
def emulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 5001,
    *,
    realistic: Annotated[
        bool, typer.Option(help="Take as long as the models do, instead of as long as painting.")
    ] = False,
) -> None:
    """Serve the DashScope emulator by itself, for any DashScope client."""
    settings = _settings()
    set_up_logs(settings.log_format, settings.log_level)
    print(f"DashScope emulator: http://{host}:{port}/api/v1 (control: /_emulator/)", file=sys.stderr)
    asyncio.run(_serve_emulator(settings, host, port, realistic=realistic))


async def _serve_emulator(settings: Settings, host: str, port: int, *, realistic: bool) -> None:
    from imgapi.app import emulator_alone
    from imgapi.emulator.server import serve as serve_emulator

    async with emulator_alone(settings, f"http://{host}:{port}", realistic=realistic) as alone:
        await serve_emulator(alone, host, port)


@cli.command()
def openapi(
    check: Annotated[Path | None, typer.Option(help="Compare with this file instead of printing.")] = None,
) -> None:
    """Print the OpenAPI document, or check that a committed one is current."""
    document = written(create_app(Settings.model_construct()).openapi())
    if check is None:
        sys.stdout.write(document)
        return
    if not check.is_file() or check.read_text(encoding="utf-8") != document:
        print(f"imgapi: {check} is not current; write it with: imgapi openapi > {check}", file=sys.stderr)
        raise SystemExit(EXIT_FAILED)


@cli.command()
def doctor() -> None:
    """Say what this installation has, what it lacks, and how to get that."""
    settings = _settings()
    from imgapi.pictures.svg import available_renderers

    key = "set" if settings.dashscope_api_key else "not set: edits run on the local preview emulator"
    limits = picture_limits(settings)
    renderers = available_renderers()
    print(f"imgapi           {__version__}, Python {sys.version.split()[0]}")
    print(f"DASHSCOPE_API_KEY {key}")
    print(f"upstream         {settings.base_url if settings.dashscope_api_key else 'emulator, in process'}")
    print(f"data             {settings.data_dir.resolve()}")
    print("matting          classical (no model; best on plain backgrounds)")
    print(f"pictures         at most {limits.max_bytes} bytes, {limits.max_pixels} pixels")
    for name in ("resvg", "cairosvg"):
        print(f"svg: {name:<12}{'ready' if name in renderers else _how_to_get(name)}")
    print(f"svg renderer     {settings.svg_renderer}")
    if settings.svg_renderer not in renderers and not renderers:
        raise SystemExit(EXIT_FAILED)


def _how_to_get(renderer: str) -> str:
    if renderer == "cairosvg":
        return "missing: install libcairo (Debian: apt-get install libcairo2)"
    return "missing: no wheel for this platform (pip install resvg-py)"


def main() -> None:
    """Run the command line."""
    cli()

"""The command line: serve, edit, mcp, emulator, openapi, models, keys, webhooks, doctor."""

import asyncio
import gc
import importlib
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from fastapi import FastAPI

from imgapi import __version__
from imgapi.api.keys import new_key
from imgapi.api.logs import set_up_logs
from imgapi.api.openapi import written
from imgapi.api.protocol import DocumentedProtocol
from imgapi.app import complete_routes, create_app, door_of
from imgapi.commands.edit import edit_commands
from imgapi.commands.mcp_command import mcp
from imgapi.matting.download import ModelUnavailable
from imgapi.matting.model_files import FileState, ModelFiles
from imgapi.matting.models import MODELS, KnownModel, ModelChoice, choose
from imgapi.matting.progress import showing
from imgapi.parts.pixels import model_files, picture_limits
from imgapi.parts.tasks import webhook_secret
from imgapi.parts.upstream import emulator_alone
from imgapi.pictures.memory import settle_memory
from imgapi.settings import Settings, SettingsInvalidError, read_settings
from imgapi.tasks.database import DatabaseUnusableError

EXIT_FAILED, EXIT_SETTINGS = 1, 78
ANSWER_SECONDS = 5
KEEP_ALIVE_SECONDS = 75

cli = typer.Typer(
    name="imgapi", help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
models = typer.Typer(help="The models that /remove_bg can cut out with.", no_args_is_help=True)
cli.add_typer(models, name="models")
keys = typer.Typer(help="The keys that callers must send.", no_args_is_help=True)
cli.add_typer(keys, name="keys")
webhooks = typer.Typer(help="What tells the end of tasks.", no_args_is_help=True)
cli.add_typer(webhooks, name="webhooks")
cli.add_typer(edit_commands(), name="edit")
cli.command("mcp")(mcp)

_OPEN_WARNING = """
  ****************************************************************************
  *  WARNING: this address is open to others, and no key is asked for:       *
  *  anybody who reaches it spends your DashScope account.                   *
  *  Set IMGAPI_API_KEYS_FILE (make keys with: imgapi keys new NAME),        *
  *  or listen on 127.0.0.1.                                                 *
  ****************************************************************************
"""
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
    settle_memory()
    settings = _settings(host=host, port=port)
    set_up_logs(settings.log_format, settings.log_level)
    try:
        app = create_app(settings)
        # Before the server: what hinders it is told in one sentence.
        asyncio.run(app.state.parts.database.open())
    except (SettingsInvalidError, DatabaseUnusableError) as exc:
        print(f"imgapi: {exc}", file=sys.stderr)
        raise SystemExit(EXIT_SETTINGS) from exc
    shown = settings.host if _is_loopback(settings.host) else "127.0.0.1"
    upstream = "DashScope" if settings.dashscope_api_key else "the local preview emulator (no DASHSCOPE_API_KEY is set)"
    print(f"imgapi {__version__}: edits run at {upstream}", file=sys.stderr)
    print(f"  docs:    http://{shown}:{settings.port}/docs", file=sys.stderr)
    print(f"  address: http://{settings.host}:{settings.port}", file=sys.stderr)
    if settings.api_keys_file is None and not _is_loopback(settings.host):
        print(_OPEN_WARNING, file=sys.stderr)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        http=DocumentedProtocol.behind(door_of(app)),
        # There are none; looking for a library that could serve them loads it.
        ws="none",
        # Longer than proxies keep theirs: who closes an idle connection first may close it on a request.
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        # For the answers of held callers, and for local work, to get out.
        timeout_graceful_shutdown=ANSWER_SECONDS,
    )
    server = _Server(config, app)
    server.run()
    if not server.started:
        raise SystemExit(EXIT_FAILED)


class _Server(uvicorn.Server):
    """A server that tells held callers where their tasks will be as soon as it is told to stop.

    Args:
        config: As uvicorn takes it.
        app: The application, whose callers are told.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, with all made that stays: no request waits for it, no search for garbage goes through it."""
        complete_routes(self._app)
        await super().startup(sockets)
        gc.collect()
        gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening; the answers of held callers get out before the connections end."""
        self._app.state.parts.runner.stop()
        await super().shutdown(sockets)


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
    can_cut_out = _describe_matting(settings)
    print(f"pictures         at most {limits.max_bytes} bytes, {limits.max_pixels} pixels")
    for name in ("resvg", "cairosvg"):
        print(f"svg: {name:<12}{'ready' if name in renderers else _how_to_get(name)}")
    print(f"svg renderer     {settings.svg_renderer}")
    if not renderers or not can_cut_out:
        raise SystemExit(EXIT_FAILED)


def _describe_matting(settings: Settings) -> bool:
    """Say what cuts out; return whether it can."""
    choice = choose(settings.matting)
    if choice is None:
        print("matting          classical (no model; best on plain backgrounds)")
        return True
    print(f"matting          {choice.label}")
    try:
        print(f"onnxruntime      {importlib.import_module('onnxruntime').__version__}")
    except (ImportError, OSError) as exc:
        print(f"onnxruntime      missing: pip install 'imgapi[onnx]' ({exc})")
        return False
    said, can_cut_out = _model_file(choice, model_files(settings))
    print(f"model file       {said}")
    return can_cut_out


def _model_file(choice: ModelChoice, files: ModelFiles) -> tuple[str, bool]:
    if choice.known is None:
        is_there = choice.path is not None and choice.path.is_file()
        return f"{choice.path} {'(your own, not checked)' if is_there else 'is no file'}", is_there
    path, state = files.path_of(choice.known), _state(files, choice.known)
    if state == FileState.READY.value:
        return f"{path} (checksum right)", True
    if files.is_offline:
        return f"{path}: {state}, and downloads are off; get it from {choice.known.url}", False
    return f"{path}: {state}; downloaded at first use, or now: imgapi models fetch {choice.name}", True


def _state(files: ModelFiles, model: KnownModel) -> str:
    try:
        return files.look(model).value
    except OSError as exc:
        return f"unreadable ({exc.strerror})"


@keys.callback()
def about_keys() -> None:
    """Keep `new` a command of its own; typer would drop the name of an only command."""


@keys.command("new")
def make_key(name: Annotated[str, typer.Argument(help="What you call the caller.")]) -> None:
    """Make a key: printed once, for the caller; its entry for IMGAPI_API_KEYS_FILE goes to standard error."""
    key, digest = new_key()
    print(f'[[keys]]\nname = "{name}"\nhash = "{digest}"', file=sys.stderr)
    print(key)


@webhooks.callback()
def about_webhooks() -> None:
    """Keep `secret` a command of its own; typer would drop the name of an only command."""


@webhooks.command("secret")
def show_webhook_secret() -> None:
    """Print the secret that webhooks are signed with, for those who receive them."""
    print(webhook_secret(_settings()))


@models.command("list")
def list_models() -> None:
    """List the matting models that can be chosen by name."""
    files = model_files(_settings())
    print(f"{'name':<22}{'MB':>5}  {'licence':<31}file in {files.folder}")
    for model in MODELS.values():
        print(f"{model.name:<22}{model.size_bytes / 1e6:>5.0f}  {model.licence:<31}{_state(files, model)}")


@models.command("fetch")
def fetch_model(name: Annotated[str, typer.Argument(help=f"One of: {', '.join(MODELS)}.")]) -> None:
    """Download a matting model, or check the file that is there."""
    settings = _settings()
    set_up_logs(settings.log_format, settings.log_level)
    if name not in MODELS:
        print(f"imgapi: no model is named {name}; there are {', '.join(MODELS)}", file=sys.stderr)
        raise SystemExit(EXIT_FAILED)
    try:
        with showing(name) as report:
            path = asyncio.run(model_files(settings).obtain(MODELS[name], report))
    except ModelUnavailable as exc:
        print(f"imgapi: {exc}", file=sys.stderr)
        raise SystemExit(EXIT_FAILED) from exc
    print(path)


def _how_to_get(renderer: str) -> str:
    if renderer == "cairosvg":
        return "missing: install libcairo (Debian: apt-get install libcairo2)"
    return "missing: no wheel for this platform (pip install resvg-py)"


def main() -> None:
    """Run the command line."""
    cli()

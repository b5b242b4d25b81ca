"""The wiring: settings become parts, parts become the application; the only file that knows every part."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Lifespan

from imgapi import __version__
from imgapi.api.access import Access, BodyLimits
from imgapi.api.edits import edits_router
from imgapi.api.failures import DocumentedErrors, install_handlers
from imgapi.api.forms import MAX_FIELDS
from imgapi.api.gate import Gate
from imgapi.api.keys import Keyring, KeysInvalidError, read_keys
from imgapi.api.openapi import install_document
from imgapi.api.quotas import Quotas
from imgapi.api.service import service_router
from imgapi.api.utils import Utilities, utils_router
from imgapi.clock import Clock, SystemClock
from imgapi.contract import service as words
from imgapi.dashscope.client import Account, DashScope, Patience
from imgapi.edits.catalogue import EDITS
from imgapi.edits.edit import Edit
from imgapi.edits.models import LIMITS
from imgapi.edits.prepare import Preparer
from imgapi.edits.remove_bg import RemoveBg
from imgapi.emulator.app import Emulator, EmulatorConfig
from imgapi.emulator.config import Pace, Progress
from imgapi.emulator.painters import PAINTERS
from imgapi.errors import InvalidParameter
from imgapi.matting.by_model import ByModel, find_lack
from imgapi.matting.cutout import Cutout, cut_out
from imgapi.matting.model_files import ModelFiles
from imgapi.matting.models import CLASSICAL, choose
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.workers import PRELOADED, Workers
from imgapi.results.outputs import OutputFolder
from imgapi.results.store import ResultStore
from imgapi.settings import Settings, SettingsInvalidError, environment_name
from imgapi.sources.fetch import Fetcher, FetchLimits
from imgapi.sources.urls import MAX_URL_CHARACTERS
from imgapi.tasks.pacing import Pacing, Spacing
from imgapi.tasks.polling import Poller
from imgapi.tasks.run import RetiredModels, TaskRunner

PREVIEW_KEY = "sk-local-preview"
UTILITIES = {
    "photo_resize_url": "Resize the picture behind a URL",
    "photo_resize": "Resize an uploaded picture",
    "convert_to_png": "Convert a picture to PNG",
}
EMULATOR_PATH = "/emulator"
# The largest known network takes some 5 GiB beside its weights.
MATTING_MEMORY_BYTES = 8 * 1024**3
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


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a running service that tests and the command line may want to look at."""

    settings: Settings
    workers: Workers
    fetcher: Fetcher
    dashscope: DashScope
    runner: TaskRunner
    results: ResultStore
    emulator: Emulator | None
    by_model: ByModel | None
    quotas: Quotas


def picture_limits(settings: Settings) -> PictureLimits:
    """Collect the bounds on pictures."""
    return PictureLimits(
        max_bytes=settings.max_picture_bytes,
        max_pixels=settings.max_pixels,
        max_total_pixels=settings.max_total_pixels,
        max_side=settings.max_side,
        max_frames=settings.max_frames,
        max_svg_bytes=settings.max_svg_bytes,
        max_svg_pixels=settings.max_svg_pixels,
    )


def create_app(settings: Settings, *, clock: Clock | None = None) -> FastAPI:
    """Build the application; its parts start and stop with its lifespan.

    Args:
        settings: Read once by the caller.
        clock: Time for tasks; the machine's own when unset.

    Raises:
        SettingsInvalidError: A model was named that can't serve its edit, or can't cut out here.
    """
    parts = build_parts(settings, clock or SystemClock())

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(parts.workers.close)
            await parts.workers.start()
            if parts.by_model is not None:
                stack.push_async_callback(parts.by_model.close)
            stack.push_async_callback(parts.fetcher.aclose)
            if parts.emulator is not None:
                await stack.enter_async_context(parts.emulator)
            stack.push_async_callback(parts.dashscope.http.aclose)
            stack.push_async_callback(parts.dashscope.http_submit.aclose)
            stack.push_async_callback(parts.runner.close, 0.0)
            stack.push_async_callback(asyncio.to_thread, parts.quotas.close)
            yield

    app = _application(settings, lifespan)
    app.state.parts = parts
    install_handlers(app)
    app.include_router(edits_router(parts.runner, parts.quotas))
    utilities = Utilities(
        parts.workers,
        picture_limits(settings),
        parts.fetcher,
        OutputFolder(
            settings.data_dir / "outputs",
            max_age_seconds=settings.outputs_seconds,
            max_total_bytes=settings.outputs_max_bytes,
        ),
        settings.svg_renderer,
    )
    app.include_router(utils_router(utilities))
    app.include_router(service_router(_operations(settings, parts), parts.results))
    if parts.emulator is not None:
        app.mount(EMULATOR_PATH, DocumentedErrors(parts.emulator.links_app))
    install_document(app)
    if (keyring := _keyring(settings)) is not None:
        app.add_middleware(Gate, keyring=keyring, quotas=parts.quotas)
    app.add_middleware(Access, limits=_body_limits(settings))
    return app


def _application(settings: Settings, lifespan: Lifespan[FastAPI]) -> FastAPI:
    if settings.docs == "on":
        return FastAPIOffline(title="imgapi", version=__version__, lifespan=lifespan, redirect_slashes=False)
    return FastAPI(
        title="imgapi",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )


def _body_limits(settings: Settings) -> BodyLimits:
    largest_data_urls = 3 * (settings.max_picture_bytes * 4 // 3 + 1024)
    return BodyLimits(
        json_bytes=largest_data_urls + settings.max_json_bytes,
        plain_json_bytes=settings.max_json_bytes,
        multipart_bytes=settings.max_picture_bytes + 64 * 1024,
        seconds=settings.body_seconds,
        total_bytes=settings.bodies_max_bytes,
    )


def _keyring(settings: Settings) -> Keyring | None:
    if settings.api_keys_file is None:
        return None
    try:
        return read_keys(settings.api_keys_file)
    except KeysInvalidError as exc:
        raise SettingsInvalidError(f"{environment_name('api_keys_file')} has a wrong value: {exc}.") from exc


def build_parts(settings: Settings, clock: Clock) -> Parts:
    """Make the parts; nothing runs yet."""
    workers = _workers(settings)
    results = ResultStore(
        settings.data_dir / "results", ttl_seconds=settings.results_seconds, max_total_bytes=settings.results_max_bytes
    )
    own_files = Starlette(routes=[Route(f"{_own_path(settings)}/results/{{name}}", _result_file(results))])
    is_emulated = settings.dashscope_api_key is None
    fetcher = _fetcher(
        settings, own_files, ["/results/", f"{EMULATOR_PATH}/results/"] if is_emulated else ["/results/"]
    )
    emulator = _emulator(settings, fetcher, workers) if is_emulated else None
    if emulator is not None:
        own_files.router.routes.append(Mount(f"{_own_path(settings)}{EMULATOR_PATH}", emulator.links_app))
    dashscope = _dashscope(settings, emulator, clock)
    by_model = _by_model(settings, clock)

    async def cut_out_classically(content: bytes) -> Cutout:
        return await workers.run(cut_out, content)

    preparer = Preparer(
        fetcher,
        workers,
        picture_limits(settings),
        dashscope,
        cut_out_classically if by_model is None else by_model.cut_out,
        adapt=settings.prepare == "on",
    )
    runner = TaskRunner(
        edits=_chosen_edits(settings),
        remove_bg=RemoveBg(
            preparer, results, lambda name: f"{settings.own_url}/results/{name}", clock, _cut_out_engine(by_model)
        ),
        preparer=preparer,
        dashscope=dashscope,
        pacing=Pacing(clock, LIMITS, settings.max_waiting),
        poller=Poller(dashscope, clock, Spacing(clock, settings.queries_per_second)),
        clock=clock,
        log=structlog.get_logger("imgapi.tasks"),
        deadline_seconds=settings.task_seconds,
        max_tasks=settings.max_tasks,
        retired=RetiredModels(clock, settings.retired_seconds),
    )
    quotas = Quotas(settings.data_dir / "quotas.sqlite3", clock)
    return Parts(settings, workers, fetcher, dashscope, runner, results, emulator, by_model, quotas)


def _workers(settings: Settings) -> Workers:
    return Workers(
        count=settings.workers,
        max_waiting=settings.workers_waiting,
        timeout_seconds=settings.worker_seconds,
        preload=(
            *PRELOADED,
            "imgapi.matting.classical",
            *(f"imgapi.emulator.painters.{module}" for module, _ in PAINTERS.values()),
        ),
    )


def model_files(settings: Settings) -> ModelFiles:
    """Find the folder of matting models."""
    return ModelFiles(settings.models_folder, settings.models_offline)


def _by_model(settings: Settings, clock: Clock) -> ByModel | None:
    choice = choose(settings.matting)
    if choice is None:
        return None
    if (lack := find_lack(choice)) is not None:
        raise SettingsInvalidError(f"{environment_name('matting')} has a wrong value: {lack}.")
    # One process, started at the first use: one session serves all, and its memory is not that of the other workers.
    process = Workers(
        count=1,
        max_waiting=settings.workers_waiting,
        timeout_seconds=settings.matting_seconds,
        max_memory_bytes=MATTING_MEMORY_BYTES,
        preload=(*PRELOADED, "imgapi.matting.onnx"),
    )
    threads = settings.matting_threads or min(4, os.cpu_count() or 1)
    return ByModel(choice, model_files(settings), process, threads=threads, clock=clock)


def _cut_out_engine(by_model: ByModel | None) -> str:
    return "local-preview" if by_model is None else by_model.choice.label


def _own_path(settings: Settings) -> str:
    return urlsplit(settings.own_url).path


def _result_file(results: ResultStore) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        content = await results.get(request.path_params["name"])
        return Response(status_code=HTTPStatus.GONE) if content is None else Response(content)

    return answer


def _fetch_limits(settings: Settings) -> FetchLimits:
    return FetchLimits(
        max_bytes=settings.max_picture_bytes,
        deadline_seconds=settings.source_seconds,
        ports=frozenset(settings.source_ports),
    )


def _fetcher(settings: Settings, own_files: Starlette, paths: Sequence[str]) -> Fetcher:
    hosts = {settings.own_url}
    if settings.public_url is None:
        hosts.add(f"http://localhost:{settings.port}")
    return Fetcher(
        limits=_fetch_limits(settings),
        allow_private=settings.allow_private_sources,
        own={f"{host}{path}": InProcessTransport(own_files) for host in hosts for path in paths},
    )


def _emulator(settings: Settings, fetcher: Fetcher, workers: Workers) -> Emulator:
    async def fetch(url: str) -> bytes:
        return (await fetcher.fetch(url)).content

    progress = Progress.SECONDS if settings.preview_pace == "realistic" else Progress.AT_ONCE
    config = EmulatorConfig(public_url=f"{settings.own_url}{EMULATOR_PATH}", pace=Pace(progress))
    return Emulator(config, fetch=fetch, run_pixels=workers.run)


@asynccontextmanager
async def emulator_alone(settings: Settings, public_url: str, *, realistic: bool) -> AsyncIterator[Emulator]:
    """Run the emulator without the service around it, as `imgapi emulator` does."""
    workers = _workers(settings)
    fetcher = Fetcher(limits=_fetch_limits(settings), allow_private=settings.allow_private_sources, own={})

    async def fetch(url: str) -> bytes:
        return (await fetcher.fetch(url)).content

    config = EmulatorConfig(public_url=public_url, pace=Pace(Progress.SECONDS if realistic else Progress.AT_ONCE))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(workers.close)
        await workers.start()
        stack.push_async_callback(fetcher.aclose)
        yield await stack.enter_async_context(Emulator(config, fetch=fetch, run_pixels=workers.run))


def _dashscope(settings: Settings, emulator: Emulator | None, clock: Clock) -> DashScope:
    if emulator is None:
        key = settings.dashscope_api_key or SecretStr("")
        account = Account(settings.base_url, key, settings.dashscope_workspace)
        queries: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(limits=_KEEP_CONNECTIONS)
        submits: httpx.AsyncBaseTransport = httpx.AsyncHTTPTransport(limits=_FRESH_CONNECTIONS)
    else:
        account = Account(f"{settings.own_url}{EMULATOR_PATH}/api/v1", SecretStr(PREVIEW_KEY))
        mounted = Starlette(routes=[Mount(f"{_own_path(settings)}{EMULATOR_PATH}", emulator.app)])
        queries = submits = InProcessTransport(mounted)
    timeout = httpx.Timeout(None, connect=Patience().connect_seconds, pool=Patience().exchange_seconds)
    http, http_submit = (
        httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False) for transport in (queries, submits)
    )
    log = structlog.get_logger("imgapi.upstream")

    def announce(event: str, subject: str) -> None:
        log.warning(event, subject=subject)

    return DashScope(http, http_submit, account, clock, announce=announce)


def _chosen_edits(settings: Settings) -> Mapping[str, Edit[Any, Any]]:
    chosen = {}
    for operation, edit in EDITS.items():
        try:
            chosen[operation] = edit.ordered(settings.models_of(operation))
        except InvalidParameter as exc:
            message = f"{environment_name(f'{operation}_models')} has a wrong value: {exc.message}."
            raise SettingsInvalidError(message) from exc
    return chosen


def _operations(settings: Settings, parts: Parts) -> words.OperationsReply:
    engine = "local-preview" if parts.emulator is not None else "dashscope"
    operations = [
        words.Operation(path=f"/{name}", summary=edit.summary, engine=engine, models=list(edit.model_names))
        for name, edit in parts.runner.edits.items()
    ]
    operations.append(
        words.Operation(
            path="/remove_bg", summary="Cut out the main subject", engine=parts.runner.remove_bg.engine, models=[]
        )
    )
    operations += [
        words.Operation(path=f"/utils/{name}", summary=summary, engine="local", models=[])
        for name, summary in UTILITIES.items()
    ]
    return words.OperationsReply(
        version=__version__,
        upstream="emulator" if parts.emulator is not None else "dashscope",
        matting=CLASSICAL if parts.by_model is None else parts.by_model.choice.label,
        svg_renderer=settings.svg_renderer,
        prepare=settings.prepare == "on",
        operations=operations,
        limits=words.Limits(
            **asdict(picture_limits(settings)),
            max_json_bytes=settings.max_json_bytes,
            max_form_fields=MAX_FIELDS,
            max_url_characters=MAX_URL_CHARACTERS,
            body_seconds=settings.body_seconds,
            source_seconds=settings.source_seconds,
            worker_seconds=settings.worker_seconds,
            max_waiting_pictures=settings.workers_waiting,
        ),
    )

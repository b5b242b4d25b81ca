"""The wiring: parts become the application; with `parts`, the only file that knows every part."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict

from fastapi import FastAPI
from starlette.types import Lifespan

from imgapi import __version__
from imgapi.api.access import Access, BodyLimits
from imgapi.api.door import Door
from imgapi.api.edits import CutOuts, edits_router
from imgapi.api.failures import DocumentedErrors, install_handlers
from imgapi.api.files import Files, files_router
from imgapi.api.gate import Gate
from imgapi.api.keys import Keyring, KeysInvalidError, read_keys
from imgapi.api.metrics import Measured, metrics_router
from imgapi.api.openapi import install_document
from imgapi.api.pages import pages_router
from imgapi.api.playground import playground_router
from imgapi.api.quotas import Quotas
from imgapi.api.service import service_router
from imgapi.api.tasks import tasks_router
from imgapi.api.utils import Utilities, utils_router
from imgapi.clock import Clock, SystemClock
from imgapi.contract import service as words
from imgapi.errors import InvalidParameter
from imgapi.matting.models import CLASSICAL
from imgapi.parts.pixels import picture_limits
from imgapi.parts.service import build_parts
from imgapi.parts.tasks import Parts
from imgapi.parts.upstream import EMULATOR_PATH
from imgapi.results.links import Links
from imgapi.results.outputs import OutputFolder
from imgapi.settings import Settings, SettingsInvalidError, environment_name
from imgapi.sources.urls import MAX_URL_CHARACTERS
from imgapi.tasks.census import take_census
from imgapi.tasks.database import Database
from imgapi.tasks.engine import DurableEngine
from imgapi.tasks.plan import Engine
from imgapi.tasks.webhooks import check_webhook_url

UTILITIES = {
    "photo_resize_url": "Resize the picture behind a URL",
    "photo_resize": "Resize an uploaded picture",
    "convert_to_png": "Convert a picture to PNG",
}
# What is posted there takes a place among the pictures in hand, from its head on.
UPLOADS = ("/utils/photo_resize", "/utils/convert_to_png", "/files")


def create_app(
    settings: Settings, *, clock: Clock | None = None, engine: Callable[[Database, str], Engine] = DurableEngine
) -> FastAPI:
    """Build the application; its parts start and stop with its lifespan.

    Args:
        settings: Read once by the caller.
        clock: Time for tasks; the machine's own when unset.
        engine: Makes what runs tasks, for a database and the id of this process.

    Raises:
        SettingsInvalidError: A setting names what this installation can't do.
    """
    parts = build_parts(settings, clock or SystemClock(), engine)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with running(parts):
            yield

    app = _application(settings, lifespan)
    app.state.parts = parts
    install_handlers(app)
    app.include_router(edits_router(parts.runner, _cut_outs(parts), settings.webhook_url, _webhook_check(settings)))
    app.include_router(tasks_router(parts.runner, parts.deliverer))
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
    links = Links(f"{settings.own_url}/files/")
    app.include_router(files_router(Files(parts.stores.files, links, parts.workers, picture_limits(settings))))
    app.include_router(service_router(_operations(settings, parts), parts.stores.results, lambda: _ails(parts)))
    app.include_router(
        metrics_router(parts.metrics, lambda: take_census(parts.database), lambda: parts.workers.in_hand)
    )
    if settings.docs == "on":
        app.include_router(pages_router())
        app.include_router(playground_router())
    if parts.emulator is not None:
        app.mount(EMULATOR_PATH, DocumentedErrors(parts.emulator.links_app))
    install_document(app, settings.own_url)
    if (keyring := read_keyring(settings)) is not None:
        app.add_middleware(Gate, keyring=keyring, quotas=Quotas(parts.clock))
    app.add_middleware(Access, limits=_body_limits(settings), places=dict.fromkeys(UPLOADS, parts.workers.expecting))
    app.add_middleware(Measured, metrics=parts.metrics)
    return app


def complete_routes(app: FastAPI) -> None:
    """Make the routes complete, which FastAPI does when it is first asked for one: it takes as long as fifty requests.

    Not while other threads run, since Pydantic's warnings on the way are held back for the whole process.
    """
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "headers": []})


def door_of(app: FastAPI) -> Door:
    """Make what turns away who finds the application's line full, for the server's protocol."""
    parts: Parts = app.state.parts
    return Door(dict.fromkeys(UPLOADS, parts.workers.check_room), parts.metrics)


@asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[None]:
    """Run the parts: what others stand on first, and the other way round at the end.

    Raises:
        DatabaseUnusableError: The tasks database can't be used.
    """
    async with AsyncExitStack() as stack:
        stack.callback(parts.database.close)
        await parts.database.open()
        # Behind the lock on the file: of two that start together for the first time, one makes the secret.
        await asyncio.to_thread(parts.seal.unlock)
        stack.push_async_callback(parts.workers.close)
        await parts.workers.start()
        if parts.by_model is not None:
            stack.push_async_callback(parts.by_model.close)
        stack.push_async_callback(parts.fetcher.aclose)
        await parts.fetcher.start()
        for store in (parts.stores.results, parts.stores.inputs, parts.stores.files):
            stack.push_async_callback(store.aclose)
        if parts.emulator is not None:
            await stack.enter_async_context(parts.emulator)
        stack.push_async_callback(parts.dashscope.http.aclose)
        stack.push_async_callback(parts.dashscope.http_submit.aclose)
        parts.changes.start()
        stack.push_async_callback(parts.changes.close)
        await parts.runner.engine.launch(parts.runner.life)
        stack.push_async_callback(parts.runner.close, parts.settings.shutdown_seconds)
        stack.push_async_callback(parts.housekeeping.close)
        await parts.housekeeping.start()
        delivering = asyncio.create_task(parts.deliverer.run(), name="webhooks")
        stack.push_async_callback(parts.poster.aclose)
        stack.push_async_callback(parts.deliverer.close)
        yield
        parts.runner.stop()
        del delivering


def _application(settings: Settings, lifespan: Lifespan[FastAPI]) -> FastAPI:
    """Make the application without FastAPI's pages, which load from another host."""
    return FastAPI(
        title="imgapi",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs == "on" else None,
    )


def _ails(parts: Parts) -> str | None:
    """Say why the service is not ready for work; None when it is."""
    if parts.runner.is_stopping:
        return "The service is stopping; another takes its place, so try again soon."
    if not parts.housekeeping.is_current:
        return "The tasks database can't be reached; what is under way goes on when it is back."
    return None


def _cut_outs(parts: Parts) -> CutOuts:
    return CutOuts(parts.stores.results, parts.workers, picture_limits(parts.settings))


def _webhook_check(settings: Settings) -> Callable[[str], str]:
    def check(url: str) -> str:
        return check_webhook_url(
            url, allow_private=settings.allow_private_sources, ports=frozenset(settings.source_ports)
        )

    if settings.webhook_url is not None:
        try:
            check(settings.webhook_url)
        except InvalidParameter as exc:
            message = f"{environment_name('webhook_url')} has a wrong value: {exc.message}"
            raise SettingsInvalidError(message) from exc
    return check


def _body_limits(settings: Settings) -> BodyLimits:
    largest_data_urls = 3 * (settings.max_picture_bytes * 4 // 3 + 1024)
    return BodyLimits(
        json_bytes=largest_data_urls + settings.max_json_bytes,
        plain_json_bytes=settings.max_json_bytes,
        multipart_bytes=settings.max_picture_bytes + settings.max_field_bytes,
        seconds=settings.body_seconds,
        total_bytes=settings.bodies_max_bytes,
        form_fields=settings.max_form_fields,
        field_bytes=settings.max_field_bytes,
    )


def read_keyring(settings: Settings) -> Keyring | None:
    """Read the keys that callers must send; None where none were given out.

    Raises:
        SettingsInvalidError: The file can't be used.
    """
    if settings.api_keys_file is None:
        return None
    try:
        return read_keys(settings.api_keys_file)
    except KeysInvalidError as exc:
        raise SettingsInvalidError(f"{environment_name('api_keys_file')} has a wrong value: {exc}.") from exc


def _operations(settings: Settings, parts: Parts) -> words.OperationsReply:
    engine = "local-preview" if parts.emulator is not None else "dashscope"
    operations = [
        words.Operation(path=f"/{name}", summary=edit.summary, engine=engine, models=list(edit.model_names))
        for name, edit in parts.runner.edits.items()
    ]
    operations.append(
        words.Operation(
            path="/remove_bg", summary="Cut out the main subject", engine=parts.runner.life.remove_bg.engine, models=[]
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
            max_form_fields=settings.max_form_fields,
            max_field_bytes=settings.max_field_bytes,
            max_bodies_bytes=settings.bodies_max_bytes,
            max_url_characters=MAX_URL_CHARACTERS,
            body_seconds=settings.body_seconds,
            source_seconds=settings.source_seconds,
            worker_seconds=settings.worker_seconds,
            svg_seconds=settings.svg_seconds,
            max_waiting_pictures=settings.workers_waiting,
        ),
    )

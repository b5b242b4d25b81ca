"""All parts of a service together; nothing runs yet."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.routing import Mount, Route

from imgapi.api.metrics import Metrics
from imgapi.api.pages import sample_picture
from imgapi.clock import Clock
from imgapi.contract.samples import SAMPLES_PATH
from imgapi.edits.prepare import Preparer
from imgapi.matting.cutout import Cutout, cut_out
from imgapi.parts.files import kept_file, open_stores, own_path
from imgapi.parts.pixels import make_by_model, make_workers, picture_limits
from imgapi.parts.tasks import Below, Parts, make_tasks
from imgapi.parts.upstream import (
    EMULATOR_PATH,
    make_dashscope,
    make_emulator,
    make_fetcher,
)
from imgapi.settings import Settings
from imgapi.tasks.database import Database
from imgapi.tasks.plan import Engine


def build_parts(settings: Settings, clock: Clock, engine: Callable[[Database, str], Engine]) -> Parts:
    """Make the parts; nothing runs yet.

    Args:
        settings: Read once by the caller.
        clock: Time for tasks.
        engine: Makes what runs tasks, for a database and the id of this process.

    Raises:
        SettingsInvalidError: A setting names what this installation can't do.
    """
    workers = make_workers(settings)
    stores = open_stores(settings)
    own_files = Starlette(
        routes=[
            Route(f"{own_path(settings)}/{kind}/{{name}}", kept_file(store))
            for kind, store in (("results", stores.results), ("files", stores.files))
        ]
        + [Route("/inputs/{name}", kept_file(stores.inputs))]
        + [Route(f"{own_path(settings)}{SAMPLES_PATH}{{name}}", sample_picture)]
    )
    own_prefixes = ["/results/", "/files/", SAMPLES_PATH]
    is_emulated = settings.dashscope_api_key is None
    if is_emulated:
        own_prefixes.append(f"{EMULATOR_PATH}/results/")
    fetcher = make_fetcher(settings, own_files, own_prefixes)
    emulator = make_emulator(settings, fetcher, workers) if is_emulated else None
    if emulator is not None:
        own_files.router.routes.append(Mount(f"{own_path(settings)}{EMULATOR_PATH}", emulator.links_app))
    metrics = Metrics()
    dashscope = make_dashscope(settings, emulator, clock, metrics.count_call)
    by_model = make_by_model(settings, clock)

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
    below = Below(workers, fetcher, emulator, dashscope, by_model, preparer, stores, metrics)
    return make_tasks(settings, clock, engine, below)

"""The parts that keep files, and serve them to this process itself."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from imgapi.results.locations import is_bucket, open_store
from imgapi.results.store import ResultStore
from imgapi.settings import Settings, SettingsInvalidError, environment_name


@dataclass(frozen=True, slots=True)
class Stores:
    """The kept files, by kind."""

    results: ResultStore
    inputs: ResultStore
    files: ResultStore


def open_stores(settings: Settings) -> Stores:
    """Open the stores of kept files.

    Raises:
        SettingsInvalidError: Where results are to be kept is no such place.
    """
    place = settings.results or settings.data_dir
    # A bucket's size is its owner's to bound.
    results_bytes = None if is_bucket(place) else settings.results_max_bytes
    files_bytes = settings.files_max_bytes
    try:
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        return Stores(
            results=open_store(
                place,
                "results",
                ttl_seconds=settings.results_ttl,
                max_total_bytes=results_bytes,
                environment=environment,
            ),
            inputs=open_store(
                place, "inputs", ttl_seconds=settings.max_queue_seconds + settings.task_seconds, environment=environment
            ),
            files=open_store(
                place,
                "files",
                ttl_seconds=settings.files_seconds,
                max_count=settings.files_max_count,
                max_total_bytes=files_bytes,
                environment=environment,
            ),
        )
    except ValueError as exc:
        raise SettingsInvalidError(f"{environment_name('results')} has a wrong value: {exc}.") from exc


async def sweep(stores: Stores) -> None:
    """Delete what is past its time in every store.

    Raises:
        CapabilityMissing: One of them can't be swept now; the others were.
    """
    swept = (stores.results.sweep(), stores.inputs.sweep(), stores.files.sweep())
    for outcome in await asyncio.gather(*swept, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def own_path(settings: Settings) -> str:
    """Read the path below which callers reach this service; empty where it is the root."""
    return urlsplit(settings.own_url).path


def kept_file(store: ResultStore) -> Callable[[Request], Awaitable[Response]]:
    """Make the route by which this process itself reads a kept file."""

    async def answer(request: Request) -> Response:
        content = await store.get(request.path_params["name"])
        return Response(status_code=HTTPStatus.GONE) if content is None else Response(content)

    return answer

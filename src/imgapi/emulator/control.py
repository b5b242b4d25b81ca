"""The control plane under `/_emulator/`: scripting faults, settings, and what has happened so far."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from imgapi.emulator.config import Pace, Progress
from imgapi.emulator.faults import FaultScript
from imgapi.emulator.ledger import Ledger
from imgapi.emulator.tasks import TaskBook

_MAX_BODY_BYTES: Final = 1024 * 1024


class PaceSettings(BaseModel):
    """The pace as the control plane takes it; see `config.Pace`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    progress: Progress = Progress.AT_ONCE
    pending_looks: Annotated[int, Field(ge=0, le=1000)] = 0
    looks: Annotated[int, Field(ge=0, le=1000)] = 2
    factor: Annotated[float, Field(ge=0, le=1000)] = 1.0
    spread: Annotated[float, Field(ge=0, le=1)] = 0.25


class Settings(BaseModel):
    """What can be changed while the emulator runs; a field left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pace: PaceSettings | None = None
    enforce_limits: bool | None = None


class Control:
    """The routes of the control plane.

    Args:
        book: The tasks, with pace and limits.
        faults: The script.
        ledger: The record.
        reset: Puts the emulator back to its start.
    """

    def __init__(
        self, book: TaskBook, faults: FaultScript, ledger: Ledger, reset: Callable[[], Awaitable[None]]
    ) -> None:
        self._book = book
        self._faults = faults
        self._ledger = ledger
        self._reset = reset

    def routes(self) -> list[Route]:
        """Return the routes, for an app of their own."""
        return [
            Route("/_emulator/reset", _Guarded(self._reset_all, {"POST"})),
            Route("/_emulator/faults", _Guarded(self._take_faults, {"GET", "POST", "DELETE"})),
            Route("/_emulator/requests", _Guarded(self._list_requests, {"GET"})),
            Route("/_emulator/ledger", _Guarded(self._show_ledger, {"GET"})),
            Route("/_emulator/settings", _Guarded(self._take_settings, {"GET", "POST"})),
        ]

    async def _reset_all(self, _: Request) -> Response:
        await self._reset()
        return JSONResponse({"reset": True})

    async def _take_faults(self, request: Request) -> Response:
        if request.method == "DELETE":
            self._faults.reset()
        elif request.method == "POST":
            document = await _read_json(request)
            rules = document if isinstance(document, list) else [document]
            self._faults.script(*rules)
        return JSONResponse({"faults": self._faults.waiting()})

    async def _list_requests(self, _: Request) -> Response:
        return JSONResponse({"requests": [record.describe(with_body=True) for record in self._ledger.calls]})

    async def _show_ledger(self, _: Request) -> Response:
        return JSONResponse(dict(self._ledger.describe()))

    async def _take_settings(self, request: Request) -> Response:
        if request.method == "POST":
            settings = Settings.model_validate(await _read_json(request))
            if settings.pace is not None:
                self._book.pace = Pace(**settings.pace.model_dump())
            if settings.enforce_limits is not None:
                self._book.enforce_limits = settings.enforce_limits
                self._book.pump()
        return JSONResponse({"pace": asdict(self._book.pace), "enforce_limits": self._book.enforce_limits})


class _Guarded:
    """A control route that answers every mistake with a sentence."""

    def __init__(self, handler: Callable[[Request], Awaitable[Response]], methods: set[str]) -> None:
        self._handler = handler
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one call."""
        request = Request(scope, receive)
        try:
            if request.method not in self._methods:
                response: Response = JSONResponse({"error": f"use {' or '.join(sorted(self._methods))}"}, 405)
            else:
                response = await self._handler(request)
        except ValidationError as error:
            response = JSONResponse({"error": _in_words(error)}, 400)
        except ValueError as error:
            response = JSONResponse({"error": str(error)}, 400)
        await response(scope, receive, send)


async def _read_json(request: Request) -> Mapping[str, object] | list[Mapping[str, object]]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise ValueError(f"the body has more than {_MAX_BODY_BYTES} bytes")
    try:
        document = await run_in_threadpool(json.loads, body)
    except (ValueError, RecursionError) as error:
        raise ValueError("the body is no JSON") from error
    if isinstance(document, dict | list):
        return document
    raise ValueError("the body is neither a JSON object nor a list")


def _in_words(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(str(part) for part in row['loc']) or 'body'}: {row['msg']}" for row in error.errors())

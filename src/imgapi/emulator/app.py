"""The emulator put together: one ASGI app that speaks DashScope's protocol, one with the result links alone."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from imgapi.clock import Clock, SystemClock
from imgapi.emulator import painters
from imgapi.emulator.answers import Answer, Refusal, error_answer, storage_error
from imgapi.emulator.catalogue import SERVICES
from imgapi.emulator.config import EmulatorConfig, ModelLimits, Pace, Progress, Rate
from imgapi.emulator.control import Control
from imgapi.emulator.delivery import deliver
from imgapi.emulator.desk import Desk, DeskEndpoint, Exchange
from imgapi.emulator.faults import CallKind, ConnectionCut, Effect, FaultScript
from imgapi.emulator.inputs import Inputs
from imgapi.emulator.jobs import Jobs
from imgapi.emulator.ledger import Ledger
from imgapi.emulator.limits import RateGate
from imgapi.emulator.links import ResultLinks, Signer
from imgapi.emulator.painters import Painting, PaintJob
from imgapi.emulator.queries import Queries
from imgapi.emulator.shelf import Shelf
from imgapi.emulator.submission import Submission
from imgapi.emulator.tasks import TaskBook
from imgapi.emulator.uploads import UploadForm, Uploads
from imgapi.emulator.workshop import Artisan, RunPixels, Workshop
from imgapi.matting import cutout
from imgapi.matting.cutout import Cutout

__all__ = ["ConnectionCut", "Emulator", "EmulatorConfig", "ModelLimits", "Pace", "Progress", "Rate"]

_NO_BODY_BYTES: Final = 1024 * 1024
_MAX_FORM_FIELDS: Final = 20
_MAX_FIELD_BYTES: Final = 64 * 1024
_CHUNK_BYTES: Final = 64 * 1024
_GET: Final = frozenset({"GET"})
_POST: Final = frozenset({"POST"})


class Emulator:
    """A stand-in for DashScope. Use as an asynchronous context manager; tasks live and end within it.

    Attributes:
        app: Everything: the API under `/api/v1`, result links, the upload form, the control plane.
        links_app: The result links only; safe to show to callers of the service.
        faults: What is to go wrong.
        ledger: What has happened.

    Args:
        config: Figures and the public URL.
        fetch: Downloads an input picture's http(s) URL with the service's own guard; raises `CallerError`.
        run_pixels: Runs pixel functions off the event loop, as `pictures.workers.Workers.run` does.
        paint: Makes pictures of a `PaintJob`; runs in a worker process.
        cut_out: Cuts out the subject, where an instruction asks for a new background; runs in a worker process.
        clock: What everything is measured with; the machine's own time unless given.
    """

    def __init__(
        self,
        config: EmulatorConfig,
        *,
        fetch: Callable[[str], Awaitable[bytes]],
        run_pixels: RunPixels,
        paint: Callable[[PaintJob], Painting] = painters.paint,
        cut_out: Callable[[bytes], Cutout] = cutout.cut_out,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.ledger = Ledger(config.max_requests)
        self.faults = FaultScript(config.seed)
        self._config = config
        self._clock = clock
        self._shelf = Shelf(config.max_total_bytes, clock)
        signer = Signer()
        self._gate = RateGate(clock)
        self._links = ResultLinks(config.public_url, config.lifetime_seconds, self._shelf, signer, clock)
        self._uploads = Uploads(config, self._shelf, signer, clock)
        self._fetch = fetch
        inputs = Inputs(self._fetch_input, self._shelf, config.lifetime_seconds)
        workshop = Workshop(inputs, run_pixels, Artisan(paint, cut_out), clock, config.seed)
        jobs = Jobs(workshop, inputs, self._links, clock)
        self._book = TaskBook(config, clock, self.ledger, jobs.run_task)
        self._submission = Submission(
            config,
            book=self._book,
            jobs=jobs,
            inputs=inputs,
            gate=self._gate,
            ledger=self.ledger,
            clock=clock,
        )
        self._queries = Queries(self._book, inputs, self._gate, config.query_rate, clock)
        self._desk = Desk(self.ledger, self.faults, clock, config.api_keys, self._identify)
        links = [Route("/results/{key:path}", self._result_endpoint())]
        control = Control(self._book, self.faults, self.ledger, self.reset).routes()
        self.app: ASGIApp = _Front([*self._api_routes(), *links, *control], clock)
        self.links_app: ASGIApp = _Front(links, clock)

    async def __aenter__(self) -> Self:
        await self._shelf.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._book.close()
        await self._shelf.__aexit__(kind, error, trace)

    @property
    def pace(self) -> Pace:
        """How tasks submitted from now on progress."""
        return self._book.pace

    @pace.setter
    def pace(self, pace: Pace) -> None:
        self._book.pace = pace

    @property
    def kept_bytes(self) -> int:
        """Bytes of all pictures kept now."""
        return self._shelf.total_bytes

    async def reset(self) -> None:
        """Go back to the start: no tasks, pictures, faults or records, pace and limits as configured."""
        await self._book.close()
        await self._shelf.clear()
        self._book.pace = self._config.pace
        self._book.enforce_limits = self._config.enforce_limits
        self._gate.reset()
        self.faults.reset()
        self.ledger.reset()

    async def _fetch_input(self, url: str) -> bytes:
        own = await self._links.open_own(url)
        return own if own is not None else await self._fetch(url)

    def _api_routes(self) -> list[Route]:
        base, limit = "/api/v1", self._config.max_body_bytes
        endpoint, queries = self._desk.endpoint, self._queries
        submits = [
            Route(
                f"{base}/services/{service.path}",
                endpoint(CallKind.SUBMIT, _POST, self._submission.handler(service), limit),
            )
            for service in SERVICES
        ]
        upload_limit = self._config.max_upload_bytes + _NO_BODY_BYTES
        return [
            *submits,
            Route(f"{base}/tasks", endpoint(CallKind.LIST, _GET, queries.list, _NO_BODY_BYTES)),
            Route(f"{base}/tasks/{{task_id}}", endpoint(CallKind.POLL, _GET, queries.query, _NO_BODY_BYTES)),
            Route(f"{base}/tasks/{{task_id}}/cancel", endpoint(CallKind.CANCEL, _POST, queries.cancel, _NO_BODY_BYTES)),
            Route(f"{base}/uploads", endpoint(CallKind.POLICY, _GET, self._grant_upload, _NO_BODY_BYTES)),
            Route("/uploads", endpoint(CallKind.UPLOAD, _POST, self._take_upload, upload_limit)),
        ]

    def _result_endpoint(self) -> DeskEndpoint:
        return self._desk.endpoint(CallKind.RESULT, frozenset({"GET", "HEAD"}), self._fetch_result, _NO_BODY_BYTES)

    def _identify(self, exchange: Exchange) -> tuple[str | None, str | None]:
        """Tell the model and the task of a call, as far as they are known when it arrives."""
        path = exchange.request.path_params
        kind = exchange.record.kind
        if kind is CallKind.SUBMIT:
            model = exchange.document.get("model") if isinstance(exchange.document, dict) else None
            return (model if isinstance(model, str) else None), None
        if kind is CallKind.POLICY:
            return exchange.request.query_params.get("model"), None
        task_id = self._links.owner(path.get("key", "")) if kind is CallKind.RESULT else path.get("task_id")
        task = self._book.find(task_id) if task_id is not None else None
        return (task.model.name if task is not None else None), task_id

    async def _grant_upload(self, exchange: Exchange) -> Answer:
        query = exchange.request.query_params
        if self._book.enforce_limits and not self._gate.admits(
            f"policy {query.get('model', '')[:64]}", self._config.policy_rate
        ):
            raise Refusal(429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later.")
        return self._uploads.grant(query)

    async def _take_upload(self, exchange: Exchange) -> Answer:
        form = await _read_form(exchange)
        if form is None:
            return storage_error(400, "MalformedPOSTRequest", "The body of your POST request is not well-formed.")
        return await self._uploads.take(form)

    async def _fetch_result(self, exchange: Exchange) -> Answer:
        request = exchange.request
        expired = exchange.effect.expire_result
        return await self._links.fetch(
            request.method, request.path_params["key"], request.query_params, expired=expired
        )


class _Front:
    """Routes calls with or without a final slash, never redirects, words unknown paths as the upstream does."""

    def __init__(self, routes: list[Route], clock: Clock) -> None:
        self._clock = clock
        self._router = Router(routes, redirect_slashes=False, default=self._refuse)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one call."""
        if scope["type"] == "http":
            scope = {**scope, "path": scope["path"].rstrip("/") or "/"}
        await self._router(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        answer = error_answer(404, "NotFound", "The requested path does not exist.")
        await deliver(answer, Effect(), self._clock, (scope, receive, send))


async def _read_form(exchange: Exchange) -> UploadForm | None:
    """Parse a multipart form; None when it is none."""
    if "content-type" not in exchange.request.headers:
        return None

    async def stream() -> AsyncGenerator[bytes]:
        for start in range(0, len(exchange.body), _CHUNK_BYTES):
            yield exchange.body[start : start + _CHUNK_BYTES]

    parser = MultiPartParser(
        exchange.request.headers,
        stream(),
        max_files=1,
        max_fields=_MAX_FORM_FIELDS,
        max_part_size=_MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError, KeyError):
        return None
    try:
        fields: dict[str, str] = {}
        content: bytes | None = None
        for name, value in form.multi_items():
            if isinstance(value, str):
                fields[name] = value
            elif name == "file":
                content = await value.read()
        return UploadForm(fields, content)
    finally:
        await form.close()

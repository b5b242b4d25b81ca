"""Where a call arrives: noted, struck by a fault if one is scripted, handled, answered."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from imgapi.clock import Clock
from imgapi.emulator.answers import Answer, Refusal, error_answer, invalid, refusal_answer
from imgapi.emulator.delivery import cut, deliver, scripted_answer
from imgapi.emulator.faults import CallKind, ConnectionCut, Effect, FaultScript
from imgapi.emulator.ledger import CallRecord, Ledger

_log = logging.getLogger(__name__)
_MAX_NAME: Final = 200
_BIG_BODY: Final = 256 * 1024
_CALLS_WITH_JSON: Final = frozenset({CallKind.SUBMIT, CallKind.CANCEL})
_CALLS_OF_STORAGE: Final = frozenset({CallKind.UPLOAD, CallKind.RESULT})


@dataclass(slots=True)
class Exchange:
    """One call while it is handled.

    `document` is the parsed JSON body of a submit, None when it is none. `effect` is the fault that strikes this call.
    """

    request: Request
    record: CallRecord
    body: bytes = b""
    document: object = None
    effect: Effect = field(default_factory=Effect)


Handler = Callable[[Exchange], Awaitable[Answer]]
Identify = Callable[[Exchange], tuple[str | None, str | None]]


@dataclass(frozen=True, slots=True)
class Desk:
    """What every call has in common.

    Args:
        ledger: Where calls are noted.
        faults: What is to go wrong.
        clock: What delays are measured with.
        api_keys: The keys that are let in; None lets any non-empty one in.
        identify: Tells the model and the task a call is about, as far as known.
    """

    ledger: Ledger
    faults: FaultScript
    clock: Clock
    api_keys: frozenset[str] | None
    identify: Identify

    def endpoint(self, kind: CallKind, methods: frozenset[str], handler: Handler, max_bytes: int) -> "DeskEndpoint":
        """Make the ASGI app of one route."""
        return DeskEndpoint(self, kind, methods, handler, max_bytes)

    def check_key(self, request: Request) -> None:
        """Refuse a call without a key, or with one that is not let in.

        Raises:
            Refusal: 401 `InvalidApiKey`.
        """
        key = _read_key(request)
        if not key:
            raise Refusal(401, "InvalidApiKey", "No API-key provided.")
        if self.api_keys is not None and key not in self.api_keys:
            raise Refusal(401, "InvalidApiKey", "Invalid API-key provided.")


class DeskEndpoint:
    """An ASGI app that takes the calls of one kind."""

    def __init__(self, desk: Desk, kind: CallKind, methods: frozenset[str], handler: Handler, max_bytes: int) -> None:
        self._desk = desk
        self._kind = kind
        self._methods = methods
        self._handler = handler
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one call."""
        request = Request(scope, receive)
        exchange = Exchange(request, self._note(request))
        try:
            await self._take(exchange, scope, receive, send)
        except ClientDisconnect:
            return
        finally:
            exchange.record.ended = self._desk.clock.monotonic()

    def _note(self, request: Request) -> CallRecord:
        clock = self._desk.clock
        # The query of a result link is its signature.
        query = "" if self._kind is CallKind.RESULT else request.url.query
        return self._desk.ledger.open(
            self._kind,
            at=clock.time(),
            started=clock.monotonic(),
            where=(request.method, request.url.path, query),
            key=bool(_read_key(request)),
        )

    async def _take(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        early = self._strike(exchange, sending=True)
        if early is not None:
            await cut(scope, receive)
            return
        refused = await self._read(exchange)
        exchange.effect = self._strike(exchange, sending=False) or exchange.effect
        effect = exchange.effect
        answer = refused
        if answer is None and not effect.prevents:
            answer = await self._handle(exchange)
        if effect.delay_seconds:
            await self._desk.clock.sleep(effect.delay_seconds)
        if effect.cut is not None:
            await cut(scope, receive)
            return
        final = scripted_answer(effect, answer)
        exchange.record.status = final.status
        await deliver(final, effect, self._desk.clock, (scope, receive, send))

    def _strike(self, exchange: Exchange, *, sending: bool) -> Effect | None:
        model, task_id = self._desk.identify(exchange)
        record = exchange.record
        record.model = model[:_MAX_NAME] if model else None
        record.task_id = task_id[:_MAX_NAME] if task_id else None
        effect = self._desk.faults.strikes(self._kind, model, task_id, sending=sending)
        record.fault = record.fault or effect is not None
        return effect

    async def _read(self, exchange: Exchange) -> Answer | None:
        """Read the body within its bound; an answer when it is too large."""
        try:
            exchange.body = await _read_body(exchange.request, self._max_bytes)
        except Refusal as refusal:
            return refusal_answer(refusal)
        if self._kind in _CALLS_WITH_JSON:
            self._desk.ledger.note_body(exchange.record, exchange.body)
        if self._kind is CallKind.SUBMIT:
            exchange.document = await _parse(exchange.body)
        return None

    async def _handle(self, exchange: Exchange) -> Answer:
        request = exchange.request
        try:
            if request.method not in self._methods:
                return error_answer(405, "MethodNotAllowed", "Request method is not supported.")
            if self._kind not in _CALLS_OF_STORAGE:
                self._desk.check_key(request)
            return await self._handler(exchange)
        except Refusal as refusal:
            return refusal_answer(refusal)
        except (ConnectionCut, ClientDisconnect):
            raise
        except Exception:  # noqa: BLE001 - the border of the emulator: no framework's own error page may leave it
            _log.exception("emulated %s call failed", self._kind.value)
            return error_answer(500, "InternalError", "An internal error has occured, please try again later.")


def read_submission(exchange: Exchange) -> Mapping[str, Any]:
    """Return the JSON object of a submit.

    Raises:
        Refusal: The body is no JSON, or no object.
    """
    if exchange.document is None:
        raise Refusal(400, "BadRequest.IllegalInput", "The input parameter requires json format.")
    if not isinstance(exchange.document, dict):
        raise invalid("Required body invalid, please check the request body format.")
    return exchange.document


def _read_key(request: Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


async def _read_body(request: Request, max_bytes: int) -> bytes:
    too_large = Refusal(400, "BadRequest.TooLarge", "Payload Too Large.")
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > max_bytes:
        raise too_large
    chunks: list[bytes] = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > max_bytes:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


async def _parse(body: bytes) -> object:
    return await asyncio.to_thread(_load_json, body) if len(body) > _BIG_BODY else _load_json(body)


def _load_json(body: bytes) -> object:
    """Parse JSON; None for what is none, for `null`, for NaN and for nesting beyond the parser's depth."""
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None


def _refuse_constant(name: str) -> object:
    raise ValueError(name)

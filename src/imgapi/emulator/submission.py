"""The submit calls: what is checked, in which order, and what an accepted one becomes (`docs/upstream.md`)."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, Final

from imgapi.clock import Clock
from imgapi.emulator.answers import Answer, Refusal, TaskFailure, invalid, json_answer, new_request_id, told
from imgapi.emulator.catalogue import MODELS, Model, Service
from imgapi.emulator.config import EmulatorConfig, Progress
from imgapi.emulator.desk import Exchange, Handler, read_submission
from imgapi.emulator.documents import describe_synchronous
from imgapi.emulator.faults import Effect
from imgapi.emulator.inputs import Inputs, check_resolving
from imgapi.emulator.jobs import Jobs
from imgapi.emulator.ledger import Ledger
from imgapi.emulator.limits import RateGate
from imgapi.emulator.orders import Order
from imgapi.emulator.rules import read_order
from imgapi.emulator.tasks import Fate, Outcome, TaskBook

_NO_SYNCHRONOUS: Final = "current user api does not support synchronous calls."
_NO_ASYNCHRONOUS: Final = "current user api does not support asynchronous calls."


class Submission:
    """Takes submits, asynchronous and synchronous.

    Args:
        config: Retired models and whether inputs are inspected.
        book: Where accepted tasks go.
        jobs: Carries out synchronous calls.
        inputs: Fetches the pictures.
        gate: Holds the submit rates.
        ledger: Counts synchronous calls.
        clock: What the run time of a synchronous call is measured with.
    """

    def __init__(
        self,
        config: EmulatorConfig,
        *,
        book: TaskBook,
        jobs: Jobs,
        inputs: Inputs,
        gate: RateGate,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._config = config
        self._book = book
        self._jobs = jobs
        self._inputs = inputs
        self._gate = gate
        self._ledger = ledger
        self._clock = clock

    def handler(self, service: Service) -> Handler:
        """Make the handler of one submit path."""

        async def handle(exchange: Exchange) -> Answer:
            return await self._submit(service, exchange)

        return handle

    async def _submit(self, service: Service, exchange: Exchange) -> Answer:
        """Check in the order the upstream is thought to: mode, JSON, model, rate, fields, pictures."""
        _check_mode(service, exchange)
        body = read_submission(exchange)
        model = self._check_model(service, body, exchange.effect)
        self._check_rate(model)
        order = read_order(model, body)
        resolves = exchange.request.headers.get("x-dashscope-ossresourceresolve", "").lower() == "enable"
        check_resolving(order, resolves=resolves)
        task_id = str(uuid.uuid4())
        exchange.record.task_id = task_id
        try:
            order = await self._inputs.inspect(order, task_id, everything=self._config.inspect_inputs)
            fate = _read_fate(exchange.effect)
            if service.is_async:
                return self._queue(order, task_id, fate)
            return await self._run_now(order, task_id, fate)
        except BaseException:
            # Refused, broken or hung up: nobody will come for the pictures.
            await self._inputs.release(order, task_id)
            raise

    def _queue(self, order: Order, task_id: str, fate: Fate) -> Answer:
        request_id = new_request_id()
        self._book.create(order, task_id, request_id, fate)
        output = {"task_status": "PENDING", "task_id": task_id}
        return json_answer(200, {"output": output, "request_id": request_id})

    def _check_model(self, service: Service, body: Mapping[str, Any], effect: Effect) -> Model:
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise Refusal(400, "BadRequest.EmptyModel", 'Required parameter "model" missing from request.')
        if effect.retired or name in self._config.retired:
            raise Refusal(403, "Endpoint.AccessDenied", "Workspace endpoint access denied.")
        model = MODELS.get(name)
        if model is None:
            raise Refusal(*service.unknown_model)
        if name not in service.models:
            raise invalid("url error, please check url！")
        return model

    def _check_rate(self, model: Model) -> None:
        if not self._book.enforce_limits:
            return
        if not self._gate.admits(f"submit {model.name}", self._book.limits_of(model).submits):
            raise Refusal(429, *model.throttled)

    async def _run_now(self, order: Order, task_id: str, fate: Fate) -> Answer:
        with self._book.taking_place(order.model):
            self._ledger.accept(order.model.name)
            seconds = self._book.draw_seconds(order) if self._book.pace.progress is Progress.SECONDS else 0.0
            outcome, _ = await asyncio.gather(self._jobs.run(order, task_id, fate), self._clock.sleep(seconds))
        if outcome.failure is not None:
            raise _as_refusal(outcome)
        self._ledger.bill(outcome.image_count)
        answer = json_answer(200, describe_synchronous(order.model, outcome, new_request_id()))
        return told(answer, outcome.warnings, outcome.ignored)


def _check_mode(service: Service, exchange: Exchange) -> None:
    wants_async = exchange.request.headers.get("x-dashscope-async", "").lower() == "enable"
    if service.is_async and not wants_async:
        raise Refusal(403, "AccessDenied", _NO_SYNCHRONOUS)
    if not service.is_async and wants_async:
        raise Refusal(403, "AccessDenied", _NO_ASYNCHRONOUS)


def _read_fate(effect: Effect) -> Fate:
    failure = None
    if effect.fail is not None:
        failure = TaskFailure(effect.fail, effect.message or "The task failed, as scripted.")
    return Fate(effect.hold, failure, effect.fail_items, effect.expire_result)


def _as_refusal(outcome: Outcome) -> Refusal:
    failure = outcome.failure or TaskFailure("InternalError", "internal error")
    return Refusal(500 if failure.code.startswith("InternalError") else 400, failure.code, failure.message)

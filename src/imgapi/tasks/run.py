"""The life of one edit: from the request to the documented reply."""

import asyncio
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from imgapi.clock import Clock
from imgapi.contract.edits import EditReply, RemoveBgRequest
from imgapi.contract.fields import Request
from imgapi.dashscope.client import DashScope, ModelRetired, Report
from imgapi.dashscope.faults import classify, to_error
from imgapi.dashscope.wire import FailedPicture, SubmitBody, TaskOutput, TaskStatus, read_pictures
from imgapi.edits.edit import Candidate, Edit, Finished
from imgapi.edits.prepare import Inputs, Preparer
from imgapi.edits.remove_bg import OPERATION, RemoveBg
from imgapi.errors import (
    EditFailed,
    ImgapiError,
    Overloaded,
    StillRunning,
    TaskLost,
    UpstreamMisconfigured,
)
from imgapi.tasks.forecast import Forecast
from imgapi.tasks.pacing import Pacing, Spacing
from imgapi.tasks.polling import Poller


class Log(Protocol):
    """Where the events of a task are written; each with the task's id."""

    def info(self, event: str, **fields: Any) -> Any:
        """Write an event of ordinary life."""
        ...

    def warning(self, event: str, **fields: Any) -> Any:
        """Write an event that an operator should look at."""
        ...


@dataclass(slots=True)
class RetiredModels:
    """The models that the upstream refused as retired or unknown, remembered for a while.

    Args:
        clock: Time.
        seconds: How long a model is passed over before it is tried again.
    """

    clock: Clock
    seconds: float = 3600.0
    _until: dict[str, float] = field(default_factory=dict, init=False)

    def __contains__(self, model: object) -> bool:
        return isinstance(model, str) and self._until.get(model, 0.0) > self.clock.monotonic()

    def remember(self, model: str) -> bool:
        """Remember a model as retired; return whether that is news."""
        is_news = model not in self
        self._until[model] = self.clock.monotonic() + self.seconds
        return is_news


class Stage(Enum):
    """How far an edit has come, which decides what a stop leaves behind."""

    HERE = "nothing was sent upstream"
    SUBMITTING = "a submit may have been received"
    ACCEPTED = "the upstream has accepted it"


@dataclass(slots=True)
class Life:
    """One edit under way."""

    task_id: str
    is_local: bool
    stage: Stage = Stage.HERE
    upstream_task_id: str | None = None

    def stopped(self) -> ImgapiError:
        """Say what a stop of the service left behind."""
        if self.stage is Stage.HERE:
            return Overloaded("The service is stopping; nothing was started, so try again soon.", retry_after=10.0)
        if self.stage is Stage.SUBMITTING:
            message = "The service stopped while it submitted this edit; it may have been started upstream."
            return TaskLost(message, detail="stopped while submitting")
        message = "The service stopped before the edit ended; the upstream may still finish it."
        return StillRunning(message, detail="stopped", upstream_task_id=self.upstream_task_id)


@dataclass(slots=True)
class TaskRunner:
    """Runs edits; each lives on when its caller hangs up.

    Args:
        edits: The edits that run upstream, by operation.
        remove_bg: The edit that runs here.
        preparer: Makes inputs fit.
        dashscope: The upstream.
        pacing: Keeps each model's limits.
        poller: Sees tasks end.
        clock: Time.
        log: The intent to submit is written before the submit, the upstream's id right after.
        deadline_seconds: How long a task may take from its acceptance to its end.
        max_tasks: How many edits may be under way, waiting ones included.
        retired: Models to pass over.
    """

    edits: Mapping[str, Edit[Any, Any]]
    remove_bg: RemoveBg
    preparer: Preparer
    dashscope: DashScope
    pacing: Pacing
    poller: Poller
    clock: Clock
    log: Log
    deadline_seconds: float
    max_tasks: int
    retired: RetiredModels
    forecast: Forecast = field(default_factory=Forecast)
    _under_way: dict[asyncio.Task[EditReply], Life] = field(default_factory=dict, init=False)
    _is_closing: bool = field(default=False, init=False)

    async def run(self, operation: str, request: Request) -> EditReply:
        """Run an edit and return its documented reply.

        Raises:
            ImgapiError: The edit did not end well; the error carries the task's id.
        """
        if len(self._under_way) >= self.max_tasks:
            message = f"{self.max_tasks} edits are already under way; nothing was started, so try again later."
            raise Overloaded(message, retry_after=5.0)
        life = Life(str(uuid.uuid4()), is_local=operation == OPERATION)
        if self._is_closing:
            raise life.stopped()
        work: Coroutine[Any, Any, EditReply]
        if isinstance(request, RemoveBgRequest):
            work = self.remove_bg.run(request, life.task_id)
        else:
            work = self._run_upstream(self.edits[operation], request, life)
        task = asyncio.create_task(work, name=f"{operation} {life.task_id}")
        self._under_way[task] = life
        task.add_done_callback(self._forget)
        self.log.info("edit accepted", task_id=life.task_id, operation=operation)
        try:
            # The caller may be gone at any time; the task has perhaps been paid for and goes on.
            return await asyncio.shield(task)
        except ImgapiError as exc:
            exc.task_id = life.task_id
            raise
        except asyncio.CancelledError:
            if not task.cancelled():
                raise
            stopped = life.stopped()
            stopped.task_id = life.task_id
            raise stopped from None

    def _forget(self, task: asyncio.Task[EditReply]) -> None:
        life = self._under_way.pop(task)
        names = {"task_id": life.task_id, "upstream_task_id": life.upstream_task_id}
        if task.cancelled():
            self.log.warning("edit abandoned", **names, reason=life.stage.value)
        elif (error := task.exception()) is not None:
            detail = error.detail if isinstance(error, ImgapiError) else repr(error)
            self.log.warning("edit failed", **names, reason=type(error).__name__, detail=detail)
        else:
            self.log.info("edit succeeded", **names)

    async def close(self, grace_seconds: float) -> None:
        """Refuse new edits and end those that have sent nothing yet; give the others the grace period, then stop them.

        Whoever waits is told what was left behind; what is left is named in the log with the upstream's id.
        """
        self._is_closing = True
        for task, life in self._under_way.items():
            if life.stage is Stage.HERE and not life.is_local:
                task.cancel()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=grace_seconds)
        left = list(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.poller.close()

    async def _run_upstream(self, edit: Edit[Any, Any], request: Request, life: Life) -> EditReply:
        inputs = Inputs(request)
        for candidate in edit.candidates:
            if candidate.model in self.retired:
                continue
            try:
                return await self._try_model(edit, candidate, inputs, life)
            except ModelRetired as exc:
                if self.retired.remember(candidate.model):
                    self.log.warning(
                        "model retired", model=candidate.model, operation=edit.operation, detail=exc.detail
                    )
        message = "No model serves this edit any more; the operator of this service has to choose another."
        raise UpstreamMisconfigured(message, detail=", ".join(edit.model_names))

    async def _try_model(
        self, edit: Edit[Any, Any], candidate: Candidate[Any], inputs: Inputs, life: Life
    ) -> EditReply:
        submitted_at = self.clock.time()
        lane = self.pacing.lane(candidate.model, candidate.usual_seconds)
        async with AsyncExitStack() as place:
            with self.dashscope.breaker.attempt(candidate.model):
                prepared = await self.preparer.prepare(candidate, inputs)
                await place.enter_async_context(lane.place())
                await lane.spacing.wait()
                scheduled_at = self.clock.time()
                body = candidate.body(inputs.request, prepared.pictures)
                accepted = await self._submit(edit, candidate, body, lane.spacing, life)
            try:
                report = await self._see_end(edit, candidate, accepted, inputs.request)
            except ImgapiError as exc:
                exc.upstream_task_id = life.upstream_task_id
                raise
        urls, failures = read_pictures(report.output)
        finished = Finished(
            task_id=life.task_id,
            upstream_task_id=life.upstream_task_id,
            engine=report.engine or accepted.engine or f"dashscope:{candidate.model}",
            output=report.output,
            prepared=prepared.changes,
            submitted_at=submitted_at,
            scheduled_at=scheduled_at,
            ended_at=self.clock.time(),
            urls=urls,
            failures=failures,
            warnings=(*prepared.warnings, *(word for word in report.warnings if word not in prepared.warnings)),
            ignored=[name for name in report.ignored if name in type(inputs.request).model_fields],
        )
        reply: EditReply = edit.reply(finished)
        return reply

    async def _submit(
        self, edit: Edit[Any, Any], candidate: Candidate[Any], body: SubmitBody, turns: Spacing, life: Life
    ) -> Report:
        self.log.info("submit intended", task_id=life.task_id, operation=edit.operation, model=candidate.model)
        life.stage = Stage.SUBMITTING
        try:
            report = await self.dashscope.submit(candidate.path, body, asynchronous=candidate.asynchronous, turns=turns)
        except ModelRetired:
            life.stage = Stage.HERE
            raise
        life.stage, life.upstream_task_id = Stage.ACCEPTED, report.output.task_id
        self.log.info("submit accepted", task_id=life.task_id, upstream_task_id=life.upstream_task_id)
        return report

    async def _see_end(
        self, edit: Edit[Any, Any], candidate: Candidate[Any], accepted: Report, request: Request
    ) -> Report:
        """Return the report of a task that has at least one picture.

        Raises:
            ImgapiError: It has none.
        """
        report = accepted
        if candidate.asynchronous and accepted.output.task_id:
            kind = f"{edit.operation}/{candidate.model}/{getattr(request, 'n', 1)}"
            times = self.forecast.of(kind, candidate.usual_seconds)
            try:
                report = await self.poller.follow(
                    accepted.output.task_id, times, deadline_seconds=self.deadline_seconds
                )
            except StillRunning as exc:
                await self._give_up(accepted.output.task_id, exc)
                raise
        urls, failures = read_pictures(report.output)
        status = report.output.status
        if urls and (status is TaskStatus.SUCCEEDED or not candidate.asynchronous):
            return report
        raise _ending(report.output, failures)

    async def _give_up(self, upstream_task_id: str, error: StillRunning) -> None:
        """At the deadline, cancel a task that never began; only then is it certain that nothing will be paid."""
        if error.detail == TaskStatus.PENDING and await self.dashscope.cancel(upstream_task_id):
            message = "The upstream did not begin the edit in time, so it was canceled; try again later."
            raise EditFailed(message, detail="canceled while PENDING at the deadline") from error


def _ending(output: TaskOutput, failures: Sequence[FailedPicture]) -> ImgapiError:
    """Say why a task ended without a picture."""
    if output.status is TaskStatus.UNKNOWN:
        return TaskLost("The upstream no longer knows the task; it was not sent again.", detail="UNKNOWN")
    if output.status is TaskStatus.CANCELED:
        return EditFailed("The task was canceled at the upstream.", detail="CANCELED")
    if output.code:
        return to_error(classify(output.code, output.message or ""))
    if failures:
        return to_error(classify(failures[0].code, failures[0].message))
    return EditFailed("The model ended without a picture; try again.", detail="no usable result")

"""The life of one edit: from the request to the documented reply."""

import asyncio
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from imgapi.clock import Clock
from imgapi.contract.edits import EditReply, RemoveBgRequest
from imgapi.contract.fields import Request
from imgapi.dashscope.client import DashScope, ModelRetired, Report
from imgapi.dashscope.faults import classify, to_error
from imgapi.dashscope.wire import FailedPicture, TaskOutput, TaskStatus, read_pictures
from imgapi.edits.edit import Candidate, Edit, Finished
from imgapi.edits.prepare import Inputs, Prepared, Preparer
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
from imgapi.tasks.pacing import Pacing
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
    _under_way: dict[str, asyncio.Task[EditReply]] = field(default_factory=dict, init=False)

    async def run(self, operation: str, request: Request) -> EditReply:
        """Run an edit and return its documented reply.

        Raises:
            ImgapiError: The edit did not end well; the error carries the task's id.
        """
        if len(self._under_way) >= self.max_tasks:
            message = f"{self.max_tasks} edits are already under way; nothing was started, so try again later."
            raise Overloaded(message, retry_after=5.0)
        task_id = str(uuid.uuid4())
        work: Coroutine[Any, Any, EditReply]
        if operation == OPERATION and isinstance(request, RemoveBgRequest):
            work = self.remove_bg.run(request, task_id)
        else:
            work = self._run_upstream(self.edits[operation], request, task_id)
        task = asyncio.create_task(work, name=f"{operation} {task_id}")
        self._under_way[task_id] = task
        task.add_done_callback(lambda done: self._forget(task_id, done))
        self.log.info("edit accepted", task_id=task_id, operation=operation)
        try:
            # The caller may be gone at any time; the task has perhaps been paid for and goes on.
            return await asyncio.shield(task)
        except ImgapiError as exc:
            exc.task_id = task_id
            raise

    def _forget(self, task_id: str, task: asyncio.Task[EditReply]) -> None:
        self._under_way.pop(task_id, None)
        if task.cancelled():
            self.log.warning("edit abandoned", task_id=task_id)
        elif (error := task.exception()) is not None:
            detail = error.detail if isinstance(error, ImgapiError) else repr(error)
            self.log.warning("edit failed", task_id=task_id, reason=type(error).__name__, detail=detail)
        else:
            self.log.info("edit succeeded", task_id=task_id)

    async def close(self, grace_seconds: float) -> None:
        """Let running edits end within the grace period, then stop; what is left is named in the log."""
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=grace_seconds)
        left = list(self._under_way.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.poller.close()

    async def _run_upstream(self, edit: Edit[Any, Any], request: Request, task_id: str) -> EditReply:
        inputs = Inputs(request)
        for candidate in edit.candidates:
            if candidate.model in self.retired:
                continue
            try:
                return await self._try_model(edit, candidate, inputs, task_id)
            except ModelRetired as exc:
                if self.retired.remember(candidate.model):
                    self.log.warning(
                        "model retired", model=candidate.model, operation=edit.operation, detail=exc.detail
                    )
        message = "No model serves this edit any more; the operator of this service has to choose another."
        raise UpstreamMisconfigured(message, detail=", ".join(edit.model_names))

    async def _try_model(
        self, edit: Edit[Any, Any], candidate: Candidate[Any], inputs: Inputs, task_id: str
    ) -> EditReply:
        submitted_at = self.clock.time()
        prepared = await self.preparer.prepare(candidate, inputs)
        lane = self.pacing.lane(candidate.model, candidate.usual_seconds)
        async with lane.place():
            await lane.spacing.wait()
            scheduled_at = self.clock.time()
            accepted = await self._submit(edit, candidate, inputs.request, prepared, task_id)
            upstream_task_id = accepted.output.task_id
            try:
                report = await self._see_end(edit, candidate, accepted, inputs.request)
            except ImgapiError as exc:
                exc.upstream_task_id = upstream_task_id
                raise
        urls, failures = read_pictures(report.output)
        finished = Finished(
            task_id=task_id,
            upstream_task_id=upstream_task_id,
            engine=report.engine or accepted.engine or f"dashscope:{candidate.model}",
            output=report.output,
            prepared=prepared.changes,
            submitted_at=submitted_at,
            scheduled_at=scheduled_at,
            ended_at=self.clock.time(),
            urls=urls,
            failures=failures,
        )
        reply: EditReply = edit.reply(finished)
        return reply

    async def _submit(
        self, edit: Edit[Any, Any], candidate: Candidate[Any], request: Request, prepared: Prepared, task_id: str
    ) -> Report:
        body = candidate.body(request, prepared.pictures)
        self.log.info("submit intended", task_id=task_id, operation=edit.operation, model=candidate.model)
        report = await self.dashscope.submit(candidate.path, body, asynchronous=candidate.asynchronous)
        self.log.info("submit accepted", task_id=task_id, upstream_task_id=report.output.task_id)
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

"""The steps of one task's life; each begins by reading how far the task has come, so that it can be done again."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from imgapi.clock import Clock, internet_time
from imgapi.contract.edits import RemoveBgRequest
from imgapi.contract.fields import Request
from imgapi.dashscope.client import DashScope, ModelRetired, Report
from imgapi.dashscope.wire import FailedPicture, TaskOutput, TaskStatus, read_pictures
from imgapi.edits.edit import Candidate, Finished, usage
from imgapi.edits.models import ModelLimits
from imgapi.edits.prepare import Inputs, Preparer
from imgapi.edits.remove_bg import OPERATION, RemoveBg
from imgapi.errors import (
    EditFailed,
    ImgapiError,
    LedgerUnavailable,
    Overloaded,
    StillRunning,
    TaskLost,
    UpstreamMisconfigured,
)
from imgapi.results.store import expires_at
from imgapi.tasks.catalogue import Catalogue, Log
from imgapi.tasks.changes import Changes
from imgapi.tasks.endings import billed_on_failure, ending
from imgapi.tasks.forecast import RunTimes
from imgapi.tasks.keeping import Keeper, Kept
from imgapi.tasks.ledger import End, Ledger, public_error
from imgapi.tasks.pacing import SUBMIT_SHARE, LanePace
from imgapi.tasks.plan import Outcome
from imgapi.tasks.polling import Poller
from imgapi.tasks.record import Billed, Stage, Status, TaskRecord
from imgapi.tasks.written import Written

# A submit of unknown fate may run upstream: its place is kept for so many usual run times from when it was sent.
LOST_RUNS = 1.5
_CROWDED_TRIES = 20
# A task that was left alone for longer than it may take is still looked at: it has probably ended well.
LATE_LOOK_SECONDS = 30.0


@dataclass(slots=True)
class Life:
    """Does the steps.

    Args:
        ledger: What is written after each.
        changes: Told when something happens to a task.
        catalogue: The edits.
        written: Opens what was written of a task.
        remove_bg: The edit that runs here.
        preparer: Makes inputs fit.
        keeper: Keeps results.
        forget_inputs: Deletes the pictures that a request carried.
        dashscope: The upstream.
        poller: Sees tasks end.
        clock: Time.
        log: The intent to submit is written before the submit, the upstream's id right after.
        pending_seconds: How long a task may wait upstream before it is canceled there.
        deadline_seconds: How long a task may take from its acceptance to its end.
        is_charged: Whether there is an account that pays for what succeeds.
        max_preparing: How many tasks may hold their pictures in memory.
    """

    ledger: Ledger
    changes: Changes
    catalogue: Catalogue
    written: Written
    remove_bg: RemoveBg
    preparer: Preparer
    keeper: Keeper
    forget_inputs: Callable[[Sequence[str]], Awaitable[None]]
    dashscope: DashScope
    poller: Poller
    clock: Clock
    log: Log
    pending_seconds: float
    deadline_seconds: float
    is_charged: bool = True
    max_preparing: int = 8
    submitting: set[str] = field(default_factory=set, init=False)
    _preparing: asyncio.Semaphore = field(init=False)
    _working: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Bound how many tasks hold their pictures in memory."""
        self._preparing = asyncio.Semaphore(self.max_preparing)
        self._working = asyncio.Semaphore(self.catalogue.local_places)

    async def prepare(self, task_id: str) -> Outcome:
        """Make the inputs fit; do the whole of a local edit."""
        return await self._step(task_id, self._prepare)

    async def submit(self, task_id: str) -> Outcome:
        """Wait for a place and hand the task over, at most once."""
        return await self._step(task_id, self._submit)

    async def follow(self, task_id: str) -> Outcome:
        """See its end upstream."""
        return await self._step(task_id, self._follow)

    async def keep(self, task_id: str) -> Outcome:
        """Keep what it made, and end it."""
        return await self._step(task_id, self._keep)

    async def _step(self, task_id: str, do: Callable[[TaskRecord], Awaitable[Outcome]]) -> Outcome:
        record = await self.ledger.take_up(task_id)
        if record is None:
            return Outcome.ENDED
        try:
            if record.stage is Stage.SUBMITTING:
                message = "The service stopped while it submitted this edit; it may have been started upstream."
                raise TaskLost(message, detail="stopped while submitting")  # noqa: TRY301 - ends like any failure
            outcome = await do(record)
        except LedgerUnavailable:
            # Nothing can be written, this end included; the life is begun anew when the database is back.
            raise
        except ImgapiError as exc:
            outcome = await self._fail(task_id, exc)
        except Exception as exc:  # noqa: BLE001 - a life is a border: its task must end
            error = ImgapiError("Something failed inside imgapi; the log has it.", detail=repr(exc))
            outcome = await self._fail(task_id, error)
        if outcome is Outcome.ENDED:
            await self._clear(record)
        return outcome

    async def _clear(self, record: TaskRecord) -> None:
        """Delete what only this task needed; what can't be deleted now expires by itself."""
        if record.inputs == "[]":
            return
        current = await self.ledger.get(record.id)
        if current is not None and not current.status.is_terminal:
            # Another process has taken it over, and needs them.
            return
        with suppress(ImgapiError):
            await self.forget_inputs(json.loads(record.inputs))

    # --- the inputs

    async def _prepare(self, record: TaskRecord) -> Outcome:
        if record.stage is not Stage.ACCEPTED:
            return {Stage.WAITING: Outcome.READY, Stage.SUBMITTED: Outcome.ACCEPTED}.get(record.stage, Outcome.MADE)
        request = self.written.request(record)
        if record.operation == OPERATION:
            async with self._working:
                return await self._do_here(record, request)
        async with self._preparing:
            while (candidate := self.catalogue.candidate(record.operation)) is not None:
                try:
                    return await self._prepare_for(record, candidate, request)
                except ModelRetired as exc:
                    self._note_retired(record, candidate.model, exc)
        message = "No model serves this edit any more; the operator of this service has to choose another."
        names = self.catalogue.edits[record.operation].model_names
        raise UpstreamMisconfigured(message, detail=", ".join(names))

    async def _prepare_for(self, record: TaskRecord, candidate: Candidate[Any], request: Request) -> Outcome:
        lane, price = self.catalogue.lane(candidate.model), self.catalogue.limits[candidate.model].price_cny
        if record.lane != lane and not await self.ledger.change_lane(record.id, lane, price):
            return Outcome.ENDED
        with self.dashscope.breaker.attempt(candidate.model):
            prepared = await self._unhurried(lambda: self.preparer.prepare(candidate, Inputs(request)))
        kept = {
            "pictures": {name: [each.url, each.width, each.height] for name, each in prepared.pictures.items()},
            "changes": prepared.changes,
            "warnings": prepared.warnings,
        }
        is_mine = await self.ledger.advance(
            record.id,
            (Stage.ACCEPTED,),
            stage=Stage.WAITING,
            model=candidate.model,
            prepared=self.written.seal.close(json.dumps(kept)),
            prepared_at=self.clock.time(),
        )
        return Outcome.READY if is_mine else Outcome.ENDED

    async def _do_here(self, record: TaskRecord, request: Request) -> Outcome:
        if not isinstance(request, RemoveBgRequest) or not await self.ledger.begin_local(record.id):
            return Outcome.ENDED
        reply = await self._unhurried(lambda: self.remove_bg.run(request, record.id))
        names = [name for link in reply.results if (name := self.keeper.links.read(link.url)) is not None]
        expiry = internet_time(min(map(expires_at, names)))
        links = [link.model_copy(update={"expires_at": expiry}) for link in reply.results]
        reply = reply.model_copy(update={"results": links, "billed": False, "usage": usage(1, 0.0)})
        sealed = self.written.seal.close(reply.model_dump_json(exclude_none=True))
        if await self.ledger.settle(record.id, End(Status.SUCCEEDED, "false", 1, sealed, results=names)):
            self.log.info("edit succeeded", task_id=record.id, upstream_task_id=None)
        return Outcome.ENDED

    async def _unhurried(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Do pixel work, waiting while others crowd the workers: the task was accepted and has time."""
        for _ in range(_CROWDED_TRIES):
            try:
                return await work()
            except Overloaded as exc:
                await self.clock.sleep(exc.retry_after)
        return await work()

    # --- the submit

    async def _submit(self, record: TaskRecord) -> Outcome:
        if record.stage is not Stage.WAITING:
            return {Stage.ACCEPTED: Outcome.AGAIN, Stage.SUBMITTED: Outcome.ACCEPTED}.get(record.stage, Outcome.MADE)
        candidate = self._candidate(record)
        if candidate is None:
            return await self._leave_model(record)
        if not await self._wait_for_place(record, self.catalogue.limits[candidate.model]):
            return Outcome.ENDED
        return await self._hand_over(record, candidate)

    async def _hand_over(self, record: TaskRecord, candidate: Candidate[Any]) -> Outcome:
        limits = self.catalogue.limits[candidate.model]
        body = candidate.body(self.written.request(record), self.written.pictures(record))
        pace = LanePace(self.ledger.database, self.clock, record.lane, SUBMIT_SHARE * limits.submits_per_second)
        with ExitStack() as sending:
            sending.enter_context(self.dashscope.breaker.attempt(candidate.model))
            if not await self._begin(record, pace):
                return Outcome.ENDED
            self.submitting.add(record.id)
            sending.callback(self.submitting.discard, record.id)
            names = {"task_id": record.id, "operation": record.operation, "model": candidate.model}
            self.log.info("submit intended", **names)
            try:
                report = await self.dashscope.submit(
                    candidate.path, body, asynchronous=candidate.asynchronous, turns=pace
                )
            except ModelRetired as exc:
                self._note_retired(record, candidate.model, exc)
                return await self._leave_model(record)
            await self.ledger.accepted(record.id, report.output.task_id)
            self.log.info("submit accepted", task_id=record.id, upstream_task_id=report.output.task_id)
        if candidate.asynchronous and report.output.task_id:
            return Outcome.ACCEPTED
        return await self._take_report(record, report, is_polled=False)

    async def _wait_for_place(self, record: TaskRecord, limits: ModelLimits) -> bool:
        """Wait until the task has one of its model's running places; False when it is no longer ours to submit."""
        with self.changes.watch(record.id) as watch:
            if record.id in await self.ledger.grant(record.lane, limits.running):
                return True
            while True:
                current = await self.ledger.get(record.id)
                if current is None or current.stage is not Stage.WAITING or current.owner != self.ledger.owner:
                    return False
                if current.has_place:
                    return True
                await watch.wait()

    async def _begin(self, record: TaskRecord, pace: LanePace) -> bool:
        while True:
            pause = await self.ledger.begin_submit(record.id, record.lane, pace.per_second)
            if pause is None:
                return False
            if pause <= 0:
                return True
            await self.clock.sleep(pause)

    async def _leave_model(self, record: TaskRecord) -> Outcome:
        """Give a place back and prepare for the next model: of a retired one nothing was accepted."""
        following = self.catalogue.candidate(record.operation)
        lane = record.lane if following is None else self.catalogue.lane(following.model)
        price = record.price if following is None else self.catalogue.limits[following.model].price_cny
        is_mine = await self.ledger.change_lane(record.id, lane, price)
        await self._free_place(record)
        return Outcome.AGAIN if is_mine else Outcome.ENDED

    def _note_retired(self, record: TaskRecord, model: str, error: ModelRetired) -> None:
        if self.catalogue.retired.remember(model):
            self.log.warning("model retired", model=model, operation=record.operation, detail=error.detail)

    # --- the end upstream

    async def _follow(self, record: TaskRecord) -> Outcome:
        if record.stage is not Stage.SUBMITTED or record.upstream_task_id is None:
            return Outcome.MADE
        times = self.catalogue.times(record.operation, record.model or "", record.wanted)
        age = max(0.0, self.clock.time() - (record.submitted_at or self.clock.time()))
        try:
            report = await self._see_end(record.upstream_task_id, times, age)
        except ImgapiError as exc:
            exc.upstream_task_id = record.upstream_task_id
            raise
        return await self._take_report(record, report, is_polled=True)

    async def _see_end(self, upstream_task_id: str, times: RunTimes, age: float) -> Report:
        patience = min(self.pending_seconds, self.deadline_seconds)
        try:
            patience = patience - age if age < patience else LATE_LOOK_SECONDS
            return await self.poller.follow(upstream_task_id, times, deadline_seconds=patience, age_seconds=age)
        except StillRunning as exc:
            if exc.detail == TaskStatus.PENDING and await self.dashscope.cancel(upstream_task_id):
                message = "The upstream did not begin the edit in time, so it was canceled; try again later."
                raise EditFailed(message, detail="canceled while PENDING at the deadline") from exc
        age = max(age, self.pending_seconds)
        left = max(LATE_LOOK_SECONDS if age > self.pending_seconds else 0.0, self.deadline_seconds - age)
        return await self.poller.follow(upstream_task_id, times, deadline_seconds=left, age_seconds=age)

    async def _take_report(self, record: TaskRecord, report: Report, *, is_polled: bool) -> Outcome:
        """Record how the upstream ended a task, and give its place back."""
        if is_polled and report.output.status is TaskStatus.CANCELED:
            # Asked for here, with the answer to that still on its way, or at the upstream itself.
            await self.ledger.settle(record.id, End(Status.CANCELED, "false"))
            await self._free_place(record)
            return Outcome.ENDED
        urls, failures = read_pictures(report.output)
        if not urls or (is_polled and report.output.status is not TaskStatus.SUCCEEDED):
            raise ending(report.output, failures)
        kept = {
            "output": report.output.model_dump(exclude_none=True),
            "engine": report.engine,
            "warnings": report.warnings,
            "ignored": report.ignored,
        }
        await self.ledger.advance(
            record.id,
            (Stage.SUBMITTED,),
            stage=Stage.MADE,
            has_place=False,
            report=self.written.seal.close(json.dumps(kept)),
            billed="true" if self.is_charged else "false",
            made=len(urls),
        )
        await self._free_place(record)
        return Outcome.MADE

    # --- what it made

    async def _keep(self, record: TaskRecord) -> Outcome:
        if record.stage is not Stage.MADE or record.report is None:
            return Outcome.ENDED
        report = json.loads(self.written.seal.open(record.report))
        output = TaskOutput.model_validate(report["output"])
        urls, failures = read_pictures(output)
        kept = await self.keeper.keep(urls)
        finished = self._finish(record, report, output, failures, kept)
        reply = self.catalogue.edits[record.operation].reply(finished)
        sealed = self.written.seal.close(reply.model_dump_json(exclude_none=True))
        end = End(Status.SUCCEEDED, record.billed, len(urls), sealed, results=kept.names)
        if await self.ledger.settle(record.id, end):
            self.log.info("edit succeeded", task_id=record.id, upstream_task_id=record.upstream_task_id)
        return Outcome.ENDED

    def _finish(
        self,
        record: TaskRecord,
        report: dict[str, Any],
        output: TaskOutput,
        failures: Sequence[FailedPicture],
        kept: Kept,
    ) -> Finished:
        prepared = self.written.prepared(record)
        warnings = dict.fromkeys((*prepared["warnings"], *report["warnings"], *kept.warnings))
        fields = self.written.requests[record.operation].model_fields
        return Finished(
            task_id=record.id,
            upstream_task_id=record.upstream_task_id,
            engine=report["engine"] or f"dashscope:{record.model}",
            output=output,
            prepared=prepared["changes"],
            submitted_at=record.created_at,
            scheduled_at=record.started_at or record.created_at,
            ended_at=self.clock.time(),
            urls=kept.urls,
            expires_at=kept.expires_at,
            failures=tuple(failures),
            warnings=tuple(warnings),
            ignored=tuple(name for name in report["ignored"] if name in fields),
            billed=record.billed == "true",
            price_cny=record.price,
        )

    # --- ends

    async def _fail(self, task_id: str, error: ImgapiError) -> Outcome:
        """End a task with a failure: whoever waits must hear of it."""
        record = await self.ledger.get(task_id)
        if record is None:
            return Outcome.ENDED
        hold = None
        billed: Billed = "false"
        if isinstance(error, TaskLost | StillRunning) or type(error) is ImgapiError:
            billed = record.billed if record.stage is Stage.MADE else billed_on_failure(record)
        if record.stage is Stage.SUBMITTING and billed == "unknown":
            usual, _ = self.catalogue.times(record.operation, record.model or "", record.wanted).centre_and_spread()
            hold = LOST_RUNS * usual - (self.clock.time() - (record.submitted_at or 0.0))
        end = End(Status.FAILED, billed, record.made, error=public_error(error), hold_place_seconds=hold)
        if await self.ledger.settle(task_id, end):
            names = {"task_id": task_id, "upstream_task_id": record.upstream_task_id}
            self.log.warning("edit failed", **names, reason=type(error).__name__, detail=error.detail)
        await self._free_place(record)
        return Outcome.ENDED

    async def _free_place(self, record: TaskRecord) -> None:
        model = record.lane.rpartition("/")[2]
        if model in self.catalogue.limits:
            await self.ledger.grant(record.lane, self.catalogue.limits[model].running)

    def _candidate(self, record: TaskRecord) -> Candidate[Any] | None:
        candidates = self.catalogue.edits[record.operation].candidates
        named = next((each for each in candidates if each.model == record.model), None)
        return None if named is None or named.model in self.catalogue.retired else named

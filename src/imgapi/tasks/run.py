"""What can be done with tasks: start, wait for, look at, list, cancel and forget them."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imgapi.clock import Clock
from imgapi.contract.fields import Request
from imgapi.dashscope.client import DashScope
from imgapi.edits.remove_bg import OPERATION
from imgapi.errors import (
    ImgapiError,
    LedgerUnavailable,
    Overloaded,
    ResultExpired,
    StillRunning,
    TaskNotCancellable,
    TaskNotFound,
    UpstreamMisconfigured,
)
from imgapi.tasks.acceptance import NewTask, Room
from imgapi.tasks.catalogue import LOCAL_LANE
from imgapi.tasks.changes import Changes, Watch
from imgapi.tasks.cursors import read_cursor, write_cursor
from imgapi.tasks.lanes import Line
from imgapi.tasks.ledger import BEFORE_SUBMIT, End, Ledger
from imgapi.tasks.life import Life
from imgapi.tasks.plan import Engine
from imgapi.tasks.record import Stage, Status, TaskRecord, Terms
from imgapi.tasks.views import Views

# Between two words to whoever follows a task's events, so that no proxy takes the silence for an end.
KEEP_ALIVE_SECONDS = 15.0
# A waiting task's position moves by other tasks' doing.
POSITION_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a service takes on.

    Args:
        max_tasks: Tasks under way, waiting ones included.
        max_local_waiting: Local edits waiting for a worker.
        max_queue_seconds: How long a new task may have to wait for its place.
        max_wait_seconds: How long a caller is held.
    """

    max_tasks: int
    max_local_waiting: int
    max_queue_seconds: float
    max_wait_seconds: float


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a task; `number` is None for what is only a look at it."""

    number: int | None
    name: str
    task: dict[str, Any]


@dataclass(slots=True)
class TaskRunner:
    """The tasks of this service.

    Args:
        ledger: Where they are kept.
        changes: Tells of changes.
        life: Does their steps.
        engine: Runs their lives.
        views: Writes them for callers.
        bounds: How much is taken on.
        store_inputs: Keeps the pictures that requests carry; returns the request that names them, and their names.
        forget_files: Deletes kept files.
        dashscope: Cancels upstream.
        clock: Time.
    """

    ledger: Ledger
    changes: Changes
    life: Life
    engine: Engine
    views: Views
    bounds: Bounds
    store_inputs: Callable[[Request], Awaitable[tuple[Request, Sequence[str]]]]
    forget_files: Callable[[Sequence[str]], Awaitable[None]]
    dashscope: DashScope
    clock: Clock
    _closing: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def edits(self) -> Mapping[str, Any]:
        """The edits that run upstream, by operation."""
        return self.life.catalogue.edits

    @property
    def is_stopping(self) -> bool:
        """Whether new tasks are refused because the service stops."""
        return self._closing.is_set()

    async def accept(self, operation: str, request: Request, terms: Terms | None = None) -> str:
        """Record a task and let it begin; return its id.

        Raises:
            IdempotencyConflict: The idempotency key came with another body before.
            QuotaExceeded: The caller's key has no pictures left.
            Overloaded: There is no room, or the service is stopping; nothing was recorded.
            CallerError: A picture that the request carries can't be read.
            UpstreamError: The upstream can only say no now.
        """
        if self._closing.is_set():
            message = "The service is stopping; nothing was started, so try again soon."
            raise Overloaded(message, retry_after=10.0)
        terms = terms or Terms()
        digest = "" if terms.idempotency_key is None else await asyncio.to_thread(_digest, operation, request)
        # Whose task is there already is answered whatever holds for new ones.
        if (earlier := await self.ledger.earlier(terms, digest)) is not None:
            return earlier
        lane, price, room = self._plan(operation, request)
        stored, names = await self.store_inputs(request)
        new = NewTask(
            id=str(uuid.uuid4()),
            operation=operation,
            request=self.life.written.seal.close(stored.model_dump_json(exclude_unset=True)),
            digest=digest,
            wanted=getattr(request, "n", 1),
            lane=lane,
            price=price,
            inputs=names,
            webhook=None if terms.webhook is None else self.life.written.seal.close(terms.webhook),
        )
        task_id = new.id
        try:
            task_id, is_new = await self.ledger.accept(new, terms, room)
        finally:
            if task_id != new.id or not await self._is_recorded(new, names):
                await self.forget_files(names)
        if is_new:
            self.life.log.info("edit accepted", task_id=task_id, operation=operation)
            await self._start(task_id)
        return task_id

    async def _start(self, task_id: str) -> None:
        try:
            await self.engine.start(task_id)
        except Exception as exc:  # noqa: BLE001 - a border: the task is recorded, and housekeeping starts it anew
            self.life.log.warning("task not begun", task_id=task_id, reason=repr(exc))

    async def _is_recorded(self, new: NewTask, names: Sequence[str]) -> bool:
        return not names or await self.ledger.get(new.id) is not None

    def _plan(self, operation: str, request: Request) -> tuple[str, float, Room]:
        """Find the lane a task will stand in, its price, and what room there must be."""
        bounds, catalogue = self.bounds, self.life.catalogue
        if operation == OPERATION:
            places, seconds = self.views.pace(operation, LOCAL_LANE, 1)
            room = Room(bounds.max_tasks, bounds.max_local_waiting, places, seconds, bounds.max_queue_seconds)
            return LOCAL_LANE, 0.0, room
        candidate = catalogue.candidate(operation)
        if candidate is None:
            message = "No model serves this edit any more; the operator of this service has to choose another."
            raise UpstreamMisconfigured(message, detail=", ".join(catalogue.edits[operation].model_names))
        # What the upstream would certainly refuse is not even recorded.
        self.dashscope.breaker.refuse_if_open(candidate.model)
        lane = catalogue.lane(candidate.model)
        places, seconds = self.views.pace(operation, lane, getattr(request, "n", 1))
        room = Room(bounds.max_tasks, None, places, seconds, bounds.max_queue_seconds)
        return lane, catalogue.limits[candidate.model].price_cny, room

    async def run(self, operation: str, request: Request, terms: Terms | None = None) -> dict[str, Any]:
        """Start a task, hold its caller until its end, and return its documented reply.

        Raises:
            ImgapiError: The task did not end well, or not in time; the error carries its id.
        """
        task_id = await self.accept(operation, request, terms)
        record = await self.hold(task_id, self.bounds.max_wait_seconds)
        if record is None or not record.status.is_terminal:
            raise self._still_running(task_id, record)
        return self.outcome(record)

    def outcome(self, record: TaskRecord) -> dict[str, Any]:
        """The documented reply of a task that has ended well.

        Raises:
            ImgapiError: It has not; the failure that it ended with.
        """
        if record.status is Status.SUCCEEDED:
            return self.views.reply(record)
        raise self.views.failure(record)

    def _still_running(self, task_id: str, record: TaskRecord | None) -> StillRunning:
        reason = "The service is stopping" if self._closing.is_set() else "The edit takes longer than a caller is held"
        message = f"{reason}; the task goes on, so ask for it at /tasks/{task_id}."
        upstream = None if record is None else record.upstream_task_id
        error = StillRunning(message, task_id=task_id, upstream_task_id=upstream)
        error.billed = "unknown" if upstream is not None else False
        return error

    async def hold(self, task_id: str, seconds: float) -> TaskRecord | None:
        """Wait for a task's end, at most so long and not beyond a stop of the service; return it as it stands then.

        Raises:
            LedgerUnavailable: It can't be looked up now; it goes on, and the error carries its id.
        """
        until = self.clock.monotonic() + seconds
        with self.changes.watch(task_id) as watch:
            while True:
                try:
                    record = await self.ledger.get(task_id)
                except LedgerUnavailable as exc:
                    exc.task_id, exc.billed = task_id, "unknown"
                    raise
                left = until - self.clock.monotonic()
                if record is None or record.status.is_terminal or left <= 0 or self._closing.is_set():
                    return record
                await watch.wait(left)

    async def view(self, task_id: str, caller: str = "") -> dict[str, Any]:
        """Tell how a task stands.

        Raises:
            TaskNotFound: It is unknown, or another caller's.
            ResultExpired: It was there, and is forgotten.
        """
        return self.views.task(*await self._look(task_id, caller))

    async def _look(self, task_id: str, caller: str) -> tuple[TaskRecord, Line]:
        found = await self.ledger.look(task_id)
        if found is None or found[0].caller != caller:
            raise TaskNotFound("There is no task of this id; it may never have been, or be long forgotten.")
        if found[0].stage is Stage.EXPIRED:
            raise ResultExpired("This task has expired, and its results with it; run the edit again.")
        return found

    async def body(self, task_id: str) -> dict[str, Any] | None:
        """A task as webhooks tell it; None when it is forgotten."""
        found = await self.ledger.look(task_id)
        return None if found is None or found[0].stage is Stage.EXPIRED else self.views.task(*found)

    async def list(
        self, caller: str, *, status: str | None, operation: str | None, limit: int, cursor: str | None
    ) -> dict[str, Any]:
        """List a caller's tasks, the newest first.

        Raises:
            InvalidParameter: The cursor is none of ours.
        """
        before = None if cursor is None else read_cursor(cursor)
        found = await self.ledger.list(caller, status=status, operation=operation, limit=limit + 1, before=before)
        page: dict[str, Any] = {"tasks": [self.views.task(*each) for each in found[:limit]]}
        if len(found) > limit:
            page["next_cursor"] = write_cursor(found[limit - 1][0])
        return page

    async def cancel(self, task_id: str, caller: str = "") -> dict[str, Any]:
        """Cancel a task, here while it waits, upstream while it waits there; tell how it stands and where it was.

        Raises:
            TaskNotFound: It is unknown.
            TaskNotCancellable: It has gone too far.
        """
        record, _ = await self._look(task_id, caller)
        end = End(Status.CANCELED, "false")
        where = "canceled_here"
        if not await self.ledger.settle(task_id, end, start=BEFORE_SUBMIT, is_mine=False):
            where = "canceled_upstream"
            await self._cancel_upstream(task_id, caller, end)
        await self._free_place(record.lane)
        return {**await self.view(task_id, caller), "cancel": where}

    async def _cancel_upstream(self, task_id: str, caller: str, end: End) -> None:
        record, _ = await self._look(task_id, caller)
        if record.status.is_terminal:
            raise TaskNotCancellable(f"The task has ended: it is {record.status}.", task_id=task_id)
        if record.stage is Stage.SUBMITTING:
            message = "The task is being handed to the upstream at this moment; try again in a few seconds."
            raise TaskNotCancellable(message, task_id=task_id)
        upstream = record.upstream_task_id
        if record.stage is Stage.SUBMITTED and upstream is not None and await self.dashscope.cancel(upstream):
            await self.ledger.settle(task_id, end, start=(Stage.SUBMITTED,), is_mine=False)
            return
        message = "The task has begun and can't be canceled any more; it will end by itself, and is paid for."
        raise TaskNotCancellable(message, task_id=task_id, upstream_task_id=upstream)

    def places(self, lane: str) -> int | None:
        """How many tasks of a lane may run; None for a lane that no model has."""
        limits = self.life.catalogue.limits.get(lane.rpartition("/")[2])
        return None if limits is None else limits.running

    async def _free_place(self, lane: str) -> None:
        if (places := self.places(lane)) is not None:
            await self.ledger.grant(lane, places)

    async def forget(self, task_id: str, caller: str = "") -> None:
        """Forget a task that has ended, and its results.

        Raises:
            TaskNotFound: It is unknown.
            TaskNotCancellable: It has not ended.
        """
        record, _ = await self._look(task_id, caller)
        if not record.status.is_terminal:
            message = "The task has not ended; cancel it first, or wait for its end."
            raise TaskNotCancellable(message, task_id=task_id)
        await self.ledger.remove(task_id)
        await self.forget_files([*json.loads(record.inputs), *json.loads(record.results)])
        await self.engine.forget([task_id])

    async def events(self, task_id: str, caller: str = "", after: int = 0) -> AsyncIterator[Event | None]:
        """Follow a task: what has happened since an event's number, then what happens, until its end.

        None stands for a silence that has lasted long. A look at a waiting task has no number.

        Raises:
            TaskNotFound: It is unknown.
        """
        await self._look(task_id, caller)
        return self._follow(task_id, caller, after)

    async def _follow(self, task_id: str, caller: str, after: int) -> AsyncIterator[Event | None]:
        position: int | None = None
        silent_since = self.clock.monotonic()
        with self.changes.watch(task_id) as watch:
            while not self._closing.is_set():
                try:
                    record, line = await self._look(task_id, caller)
                    is_last = record.status.is_terminal
                    news = await self.ledger.events(task_id, after)
                    if news and not is_last:
                        # It may have gone on between the two: what is told of an event is never older than it.
                        record, line = await self._look(task_id, caller)
                except ImgapiError:
                    # Forgotten meanwhile, or not to be looked up now: whoever listens asks again.
                    return
                told = bool(news)
                for number, name in news:
                    after = number
                    yield Event(number, name, self.views.task(record, line))
                if is_last:
                    return
                if record.status is Status.QUEUED and line.ahead + 1 != position and not told:
                    told = True
                    yield Event(None, "queued", self.views.task(record, line))
                position = line.ahead + 1
                now = self.clock.monotonic()
                if told:
                    silent_since = now
                elif now - silent_since >= KEEP_ALIVE_SECONDS:
                    silent_since = now
                    yield None
                await self._pause(watch, record)

    async def _pause(self, watch: Watch, record: TaskRecord) -> None:
        await watch.wait(POSITION_SECONDS if record.status is Status.QUEUED else KEEP_ALIVE_SECONDS)

    def stop(self) -> None:
        """Refuse new tasks from now on, and tell held callers where theirs will be."""
        self._closing.set()
        self.changes.wake_all()

    async def close(self, grace_seconds: float) -> None:
        """Let submits under way be recorded, within the grace, and leave every life to be resumed."""
        self.stop()
        until = self.clock.monotonic() + grace_seconds
        while self.life.submitting and self.clock.monotonic() < until:
            await self.clock.sleep(0.05)
        await self.engine.close()
        await self.life.poller.close()


def _digest(operation: str, request: Request) -> str:
    text = json.dumps([operation, request.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

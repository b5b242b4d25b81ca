"""The life of emulated tasks: queue, work, end, and how long any of it takes."""

import asyncio
import contextlib
import functools
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from imgapi.clock import Clock
from imgapi.emulator.answers import Refusal, TaskFailure
from imgapi.emulator.catalogue import Model
from imgapi.emulator.config import EmulatorConfig, ModelLimits, Pace, Progress
from imgapi.emulator.ledger import Ledger
from imgapi.emulator.orders import Order

_SCHEDULING_SECONDS: Final = (0.036, 0.051)
_SIDE_STAGE_SHARE: Final = 0.1
_PATIENCE_SECONDS: Final = 30.0


class Status(StrEnum):
    """The statuses a task is stored with; the side stages of a try-on are only shown."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will change any more."""
        return self in {Status.SUCCEEDED, Status.FAILED, Status.CANCELED}


@dataclass(frozen=True, slots=True)
class Fate:
    """What a scripted fault makes of a task."""

    hold: str | None = None
    failure: TaskFailure | None = None
    fail_items: tuple[int, ...] = ()
    expire_result: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a task: a link, or a code and a message."""

    url: str | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the work of a task ended.

    Args:
        items: Its pictures.
        failure: Why there are none.
        size: That of its pictures, where the answer tells it.
        warnings: What may be wrong with the pictures, in a painter's words.
        ignored: The parameters that had no effect.
    """

    items: tuple[Item, ...] = ()
    failure: TaskFailure | None = None
    size: tuple[int, int] | None = None
    warnings: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def image_count(self) -> int:
        """The pictures that were made, which are those that are billed."""
        return sum(item.url is not None for item in self.items)


@dataclass(slots=True, eq=False)
class Task:
    """One accepted order; times are seconds since the epoch."""

    task_id: str
    order: Order
    request_id: str
    fate: Fate
    pace: Pace
    run_seconds: float
    submitted: float
    status: Status = Status.PENDING
    scheduled: float | None = None
    began: float = 0.0
    ended: float | None = None
    outcome: Outcome = field(default_factory=Outcome)
    looks: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    runner: "asyncio.Task[None] | None" = None

    @property
    def model(self) -> Model:
        """Who serves it."""
        return self.order.model


class TaskBook:
    """Every task the emulator knows; owns the background work.

    Args:
        config: Bounds, limits, pace and seed.
        clock: What everything is measured with.
        ledger: Where accepted, running and billed work is counted.
        work: Carries out a task; never raises.
    """

    def __init__(
        self, config: EmulatorConfig, clock: Clock, ledger: Ledger, work: Callable[[Task], Awaitable[Outcome]]
    ) -> None:
        self.pace = config.pace
        self.enforce_limits = config.enforce_limits
        self._config = config
        self._clock = clock
        self._ledger = ledger
        self._work = work
        self._random = random.Random(config.seed)  # noqa: S311 - repeatable on purpose, no secret
        self._tasks: dict[str, Task] = {}
        self._queues: dict[str, deque[Task]] = {}
        self._running: Counter[str] = Counter()
        self._runners: set[asyncio.Task[None]] = set()

    def __iter__(self) -> Iterator[Task]:
        """Go through the known tasks, newest first."""
        self._forget_expired()
        return iter(list(reversed(self._tasks.values())))

    def limits_of(self, model: Model) -> ModelLimits:
        """Return the limits in force for a model."""
        return self._config.limits.get(model.name, model.limits)

    def make_room(self, model: Model) -> None:
        """Make sure one more task can be known.

        Raises:
            Refusal: Every known task is still under way.
        """
        self._forget_expired()
        if len(self._tasks) < self._config.max_tasks:
            return
        oldest = next((task_id for task_id, task in self._tasks.items() if task.status.is_terminal), None)
        if oldest is None:
            raise Refusal(429, *model.throttled)
        del self._tasks[oldest]

    def create(self, order: Order, task_id: str, request_id: str, fate: Fate) -> Task:
        """Accept an order as a new task and queue it."""
        self.make_room(order.model)
        task = Task(
            task_id=task_id,
            order=order,
            request_id=request_id,
            fate=fate,
            pace=self.pace,
            run_seconds=self.draw_seconds(order),
            submitted=self._clock.time(),
        )
        self._tasks[task_id] = task
        self._ledger.accept(order.model.name)
        if task.fate.hold != Status.PENDING and not _waits_for_looks(task):
            self._enqueue(task)
        return task

    def draw_seconds(self, order: Order) -> float:
        """Draw the run time of one job."""
        usual = order.model.usual_seconds(order.operation) * self.pace.factor
        return usual * self._random.uniform(1 - self.pace.spread, 1 + self.pace.spread)

    def find(self, task_id: str) -> Task | None:
        """Return a task; None when it never was, or is forgotten."""
        self._forget_expired()
        return self._tasks.get(task_id)

    async def look(self, task: Task) -> None:
        """Count one look at a task, and let it go on if that is what it waits for."""
        if task.status.is_terminal:
            return
        waited = _waits_for_looks(task)
        task.looks += 1
        if task.pace.progress is not Progress.LOOKS or task.fate.hold is not None:
            return
        if waited and not _waits_for_looks(task):
            self._enqueue(task)
        if task.looks > task.pace.pending_looks + task.pace.looks:
            task.release.set()
            if task.status is Status.RUNNING:
                # The look that ends a task sees its end, however fast looks follow each other.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(task.done.wait(), _PATIENCE_SECONDS)

    def cancel(self, task_id: str) -> bool:
        """Cancel a task that is PENDING; say whether it was."""
        task = self.find(task_id)
        if task is None or task.status is not Status.PENDING:
            return False
        queue = self._queues.get(task.model.name, deque())
        if task in queue:
            queue.remove(task)
        if task.runner is not None:
            task.runner.cancel()
        self._end(task, Status.CANCELED)
        return True

    def shown_status(self, task: Task) -> str:
        """Return the status a query sees, the side stages of a try-on included."""
        if task.status is not Status.RUNNING or not task.model.has_side_stages or task.fate.hold:
            return task.status.value
        if task.pace.progress is Progress.SECONDS:
            share = (self._clock.monotonic() - task.began) / max(task.run_seconds, 1e-9)
            early, late = share < _SIDE_STAGE_SHARE, share > 1 - _SIDE_STAGE_SHARE
        else:
            nth = task.looks - task.pace.pending_looks
            early = nth == 1 < task.pace.looks
            late = nth == task.pace.looks > 2  # noqa: PLR2004 - with two looks, the second is the plain RUNNING
        if early:
            return "PRE-PROCESSING"
        return "POST-PROCESSING" if late else task.status.value

    @contextlib.contextmanager
    def taking_place(self, model: Model) -> Iterator[None]:
        """Count a synchronous job as running.

        Raises:
            Refusal: The model has no place left, and a synchronous call can't be queued.
        """
        if not self._has_place(model):
            raise Refusal(429, *model.throttled)
        self._take_place(model)
        try:
            yield
        finally:
            self._running[model.name] -= 1
            self._start_next(model)

    async def close(self) -> None:
        """Stop all work and forget every task."""
        runners = list(self._runners)
        self._queues.clear()
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        self._tasks.clear()

    def pump(self) -> None:
        """Start what may start, after limits have changed."""
        for queue in list(self._queues.values()):
            if queue:
                self._start_next(queue[0].model)

    def _enqueue(self, task: Task) -> None:
        self._queues.setdefault(task.model.name, deque()).append(task)
        self._start_next(task.model)

    def _start_next(self, model: Model) -> None:
        queue = self._queues.get(model.name, deque())
        while queue and self._has_place(model):
            task = queue.popleft()
            self._take_place(model)
            if task.pace.progress is not Progress.SECONDS:
                self._begin(task)
            task.runner = asyncio.create_task(self._run(task))
            self._runners.add(task.runner)
            # A callback, not a `finally`: a runner that is cancelled before its first step never reaches one.
            task.runner.add_done_callback(functools.partial(self._free_place, model))

    def _free_place(self, model: Model, runner: "asyncio.Task[None]") -> None:
        self._runners.discard(runner)
        self._running[model.name] -= 1
        self._start_next(model)

    def _has_place(self, model: Model) -> bool:
        most = self.limits_of(model).running
        return not self.enforce_limits or most is None or self._running[model.name] < most

    def _take_place(self, model: Model) -> None:
        self._running[model.name] += 1
        self._ledger.note_running(model.name, self._running[model.name])

    def _begin(self, task: Task) -> None:
        task.status = Status.RUNNING
        task.scheduled = self._clock.time()
        task.began = self._clock.monotonic()

    async def _run(self, task: Task) -> None:
        work = asyncio.create_task(self._live(task))
        alarm = asyncio.create_task(self._clock.sleep(self._config.internal_timeout_seconds))
        try:
            await asyncio.wait({work, alarm}, return_when=asyncio.FIRST_COMPLETED)
            late = TaskFailure("InternalError.Timeout", "An internal timeout error has occured during execution.")
            outcome = work.result() if work.done() else Outcome(failure=late)
            task.outcome = outcome
            self._ledger.bill(outcome.image_count)
            self._end(task, Status.FAILED if outcome.failure else Status.SUCCEEDED)
        finally:
            work.cancel()
            alarm.cancel()
            await asyncio.gather(work, alarm, return_exceptions=True)

    async def _live(self, task: Task) -> Outcome:
        if task.pace.progress is Progress.SECONDS:
            await self._clock.sleep(self._random.uniform(*_SCHEDULING_SECONDS))
            self._begin(task)
        making = asyncio.ensure_future(self._work(task))
        try:
            if task.fate.hold is not None:
                await asyncio.Event().wait()
            elif task.pace.progress is Progress.LOOKS:
                await task.release.wait()
            elif task.pace.progress is Progress.SECONDS:
                await self._clock.sleep(task.run_seconds)
            return await making
        finally:
            making.cancel()

    def _end(self, task: Task, status: Status) -> None:
        task.status = status
        task.ended = self._clock.time()
        # The links of the pictures are used up, and thousands of ended tasks are remembered.
        task.order = replace(task.order, pictures={})
        task.done.set()

    def _forget_expired(self) -> None:
        oldest_known = self._clock.time() - self._config.lifetime_seconds
        for task in list(self._tasks.values()):
            if task.submitted > oldest_known:
                break
            del self._tasks[task.task_id]
            queue = self._queues.get(task.model.name, deque())
            if task in queue:
                queue.remove(task)
            if task.runner is not None and not task.runner.done():
                task.runner.cancel()


def _waits_for_looks(task: Task) -> bool:
    return task.pace.progress is Progress.LOOKS and 0 < task.pace.pending_looks >= task.looks

"""Polling: one loop looks at every task in flight, rarely before its likely end and closely around it.

The account's query limit is shared by all tasks (docs/upstream.md#limits), so looks are spaced here and nowhere
else. When many are due at once, one call to the task list tells which of them still run; the others get a look.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field

from imgapi.clock import Clock, read_documented_time, rest
from imgapi.dashscope.client import DashScope, Report, Turns
from imgapi.dashscope.wire import TaskOutput, TaskStatus, read_status
from imgapi.errors import StillRunning, UpstreamError, UpstreamThrottled
from imgapi.tasks.forecast import LONGEST_SECONDS, PENDING_SECONDS, RunTimes

# A task may be invisible for a moment after its submit.
GRACE_SECONDS = 10.0
# A task that was submitted longer ago was left by a process: nobody knows what has become of it meanwhile.
FRESH_SECONDS = 1.0
CROWD = 8
SWEEP_SECONDS = 0.6
# A list that takes longer than this no longer keeps tasks from looks of their own.
LIST_PATIENCE_SECONDS = 2.0
MOST_PAGES = 5


@dataclass(slots=True, eq=False)
class Watch:
    """A task that is followed; instants are of the monotonic clock unless they say otherwise."""

    upstream_task_id: str
    times: RunTimes
    submitted: float
    deadline: float
    ended: asyncio.Future[Report]
    due: float = 0.0
    running_since: float | None = None
    seen_pending: float | None = None
    status: TaskStatus = TaskStatus.PENDING
    looks: int = 0
    troubles: int = 0
    is_being_looked_at: bool = False
    # The list does not show it as waiting or running: only a look of its own will tell more.
    needs_own_look: bool = False


@dataclass(slots=True)
class Poller:
    """Follows tasks to their end.

    Args:
        dashscope: Answers queries and lists.
        clock: Time.
        spacing: Keeps all queries of this account below its limit, those of other processes included.
    """

    dashscope: DashScope
    clock: Clock
    spacing: Turns
    _watches: set[Watch] = field(default_factory=set, init=False)
    _looks: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _sweeping: asyncio.Task[None] | None = field(default=None, init=False)
    _loop: asyncio.Task[None] | None = field(default=None, init=False)
    _wake: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _swept: float = field(default=float("-inf"), init=False)

    async def follow(
        self, upstream_task_id: str, times: RunTimes, *, deadline_seconds: float, age_seconds: float = 0.0
    ) -> Report:
        """Wait until a task has ended and return its last report.

        Args:
            upstream_task_id: The upstream's id of it.
            times: The run times of its kind.
            deadline_seconds: How long to wait from now.
            age_seconds: How long ago it was submitted.

        Raises:
            StillRunning: The deadline has passed; `detail` is the status last seen.
        """
        now = self.clock.monotonic()
        watch = Watch(
            upstream_task_id,
            times,
            submitted=now - age_seconds,
            deadline=now + deadline_seconds,
            ended=asyncio.get_running_loop().create_future(),
            due=now + (times.next_look(age_seconds) if age_seconds < FRESH_SECONDS else 0.0),
        )
        self._watches.add(watch)
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._run(), name="poller")
        self._wake.set()
        try:
            return await watch.ended
        finally:
            self._watches.discard(watch)
            self._wake.set()

    async def close(self) -> None:
        """Stop looking; whoever follows a task is canceled with it."""
        tasks = [task for task in (self._loop, *self._looks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for watch in self._watches:
            watch.ended.cancel()

    async def _run(self) -> None:
        try:
            while self._watches:
                await self._wait_until_due()
                self._end_overdue()
                await self._look_at_most_urgent()
        except Exception as exc:  # noqa: BLE001 - the loop is a border: whoever waits must hear of it
            for watch in self._watches:
                if not watch.ended.done():
                    watch.ended.set_exception(exc)

    async def _wait_until_due(self) -> None:
        self._wake.clear()
        now = self.clock.monotonic()
        instants = [min(w.due, w.deadline) for w in self._watches if not w.is_being_looked_at]
        instants += [w.deadline for w in self._watches if w.is_being_looked_at]
        pause = min(instants, default=now) - now
        if pause > 0:
            await rest(self.clock, self._wake, pause)

    def _end_overdue(self) -> None:
        now = self.clock.monotonic()
        for watch in self._watches:
            if now >= watch.deadline and not watch.ended.done():
                error = StillRunning(
                    "The edit takes longer than this server waits; the upstream may still finish it.",
                    detail=watch.status.value,
                    upstream_task_id=watch.upstream_task_id,
                )
                watch.ended.set_exception(error)

    async def _look_at_most_urgent(self) -> None:
        now = self.clock.monotonic()
        due = [w for w in self._watches if w.due <= now and not w.is_being_looked_at and not w.ended.done()]
        if not due:
            await asyncio.sleep(0)
            return
        # Those that have probably ended come first: their looks are the ones that are sure to be needed.
        ended = [w for w in due if w.needs_own_look]
        is_sweeping = self._sweeping is not None and not self._sweeping.done()
        pause = self._swept + (LIST_PATIENCE_SECONDS if is_sweeping else SWEEP_SECONDS) - now
        is_crowd = not ended and len(due) >= CROWD
        if is_crowd and pause > 0:
            self._wake.clear()
            await rest(self.clock, self._wake, pause)
            return
        await self.spacing.wait()
        if is_crowd and not is_sweeping:
            self._swept = self.clock.monotonic()
            self._sweeping = self._start(self._sweep(), "look at the list")
            return
        watch = min(ended or due, key=lambda w: w.due)
        if not watch.ended.done():
            watch.is_being_looked_at = True
            self._start(self._look(watch), f"look at {watch.upstream_task_id}")

    def _start(self, look: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
        """Look beside the loop, which goes on however long the answer takes."""
        task = asyncio.create_task(look, name=name)
        self._looks.add(task)
        task.add_done_callback(self._looks.discard)
        return task

    async def _look(self, watch: Watch) -> None:
        watch.looks += 1
        watch.needs_own_look = False
        try:
            report = await self.dashscope.query(watch.upstream_task_id)
        except UpstreamError as exc:
            await self._postpone(watch, exc)
        except Exception as exc:  # noqa: BLE001 - the task is a border: whoever waits must hear of it
            if not watch.ended.done():
                watch.ended.set_exception(exc)
        else:
            watch.troubles = 0
            self._take_in(watch, report)
        finally:
            watch.is_being_looked_at = False
            self._wake.set()

    async def _postpone(self, watch: Watch, error: UpstreamError) -> None:
        """A look that told nothing is never the end of a task."""
        watch.troubles += 1
        pause = min(LONGEST_SECONDS, 0.5 * 1.6 ** min(watch.troubles, 10))
        if isinstance(error, UpstreamThrottled):
            await self.spacing.slow_down(max(2.0, min(error.retry_after, 10.0)))
            pause = max(pause, 1.0)
        watch.due = self.clock.monotonic() + pause

    def _take_in(self, watch: Watch, report: Report) -> None:
        status = report.output.status
        now = self.clock.monotonic()
        if status is TaskStatus.UNKNOWN and now - watch.submitted < GRACE_SECONDS:
            watch.due = now + 1.0
            return
        if status.is_terminal:
            if status is TaskStatus.SUCCEEDED:
                self._learn(watch, report.output)
            if not watch.ended.done():
                watch.ended.set_result(report)
            return
        self._reschedule(watch, status, report.output)

    def _reschedule(self, watch: Watch, status: TaskStatus, output: TaskOutput | None = None) -> None:
        now = self.clock.monotonic()
        if status is TaskStatus.POST_PROCESSING:
            watch.times.has_late_stage = True
        if status is TaskStatus.PENDING:
            watch.seen_pending = now
            watch.due = now + PENDING_SECONDS
        else:
            if watch.running_since is None:
                watch.running_since = _running_since(watch, output, now)
            watch.due = now + watch.times.next_look(now - watch.running_since)
        watch.status = status

    def _learn(self, watch: Watch, output: TaskOutput) -> None:
        scheduled, ended = read_documented_time(output.scheduled_time), read_documented_time(output.end_time)
        if scheduled is not None and ended is not None:
            watch.times.learn(ended - scheduled)
        else:
            began = watch.submitted if watch.running_since is None else watch.running_since
            watch.times.learn(self.clock.monotonic() - began)

    async def _sweep(self) -> None:
        """Look at all tasks at once through the account's task list."""
        alive: dict[str, TaskStatus] = {}
        try:
            await self._list(TaskStatus.RUNNING, alive)
            if any(w.seen_pending is not None and w.running_since is None for w in self._watches):
                await self.spacing.wait()
                await self._list(TaskStatus.PENDING, alive)
            if any(w.times.has_late_stage for w in self._watches):
                await self.spacing.wait()
                await self._list(TaskStatus.POST_PROCESSING, alive)
        except UpstreamThrottled as exc:
            await self.spacing.slow_down(max(2.0, min(exc.retry_after, 10.0)))
        except UpstreamError:
            # The tasks that the list did not tell of get looks of their own.
            pass
        self._apply(alive)
        self._wake.set()

    async def _list(self, status: TaskStatus, alive: dict[str, TaskStatus]) -> None:
        page, pages = 1, 1
        while page <= min(pages, MOST_PAGES):
            if page > 1:
                await self.spacing.wait()
            statuses, pages = await self.dashscope.list_statuses(status.value, page=page)
            alive |= {task_id: read_status(text) for task_id, text in statuses.items()}
            page += 1

    def _apply(self, alive: dict[str, TaskStatus]) -> None:
        now = self.clock.monotonic()
        for watch in self._watches:
            if watch.due > now or watch.is_being_looked_at:
                continue
            status = alive.get(watch.upstream_task_id, TaskStatus.UNKNOWN)
            if status.is_terminal:
                watch.needs_own_look = True
            else:
                self._reschedule(watch, status)


def _running_since(watch: Watch, output: TaskOutput | None, now: float) -> float:
    """Estimate when a task began to run: by the upstream's own times if it tells them, else between two looks."""
    if output is not None:
        submitted, scheduled = read_documented_time(output.submit_time), read_documented_time(output.scheduled_time)
        if submitted is not None and scheduled is not None and 0 <= scheduled - submitted <= now - watch.submitted + 1:
            return watch.submitted + scheduled - submitted
    return watch.submitted if watch.seen_pending is None else (watch.seen_pending + now) / 2

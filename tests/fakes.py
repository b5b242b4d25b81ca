"""Stand-ins that tests drive by hand: a clock that never really waits, and upstreams that answer from a script."""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr

from engines import InlineExecutor
from imgapi.clock import Clock, documented_time
from imgapi.dashscope.client import Account, DashScope, Patience, Report
from imgapi.tasks.database import Database
from imgapi.tasks.forecast import RunTimes
from imgapi.tasks.pacing import LanePace
from imgapi.tasks.polling import Poller

T = TypeVar("T")
Step = Callable[[httpx.Request], Awaitable[httpx.Response]]

BASE_URL = "https://dashscope.test/api/v1"
KEY = "sk-0123456789abcdef"
WORKSPACE = "llm-workspace-77"
EPOCH_SECONDS = 1_777_861_230.123  # 2026-05-04 10:20:30.123 at UTC+8


class VirtualClock:
    """Time that passes only when a test lets it pass; who sleeps is woken in order, without real waiting."""

    def __init__(self) -> None:
        self._now = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self.sleeps: list[float] = []
        self.wall_offset = 0.0

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Let time pass where nobody sleeps."""
        self._now += seconds

    def time(self) -> float:
        """Seconds since the epoch."""
        return EPOCH_SECONDS + self.wall_offset + self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until a test has let that much time pass."""
        self.sleeps.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), turn))
        await turn

    async def settle(self) -> None:
        """Let everything run that can run without time passing."""
        ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]  # the only exact answer to "is all idle?"
        await asyncio.sleep(0)
        while ready:  # noqa: ASYNC110 - no event tells of idleness
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Let time pass, waking sleepers in order."""
        target = self._now + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            await self._wake_next()
        self._now = target
        await self.settle()

    async def run(self, work: Awaitable[T], *, within_seconds: float = 100_000.0) -> T:
        """Jump from sleeper to sleeper until the work is done; fail when it never ends."""
        task = asyncio.ensure_future(work)
        await self.settle()
        while not task.done():
            self._drop_woken()
            assert self._sleepers, "everything waits and nobody sleeps: the work would never end"
            assert self._sleepers[0][0] <= within_seconds, f"not done after {within_seconds} s"
            await self._wake_next()
        return await task

    async def _wake_next(self) -> None:
        instant, _, turn = heapq.heappop(self._sleepers)
        if turn.done():
            return
        self._now = max(self._now, instant)
        turn.set_result(None)
        await self.settle()

    def _drop_woken(self) -> None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)


def answers(
    status: int, body: object = None, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
) -> Step:
    """Answer with a status and either JSON or raw bytes."""

    async def step(_request: httpx.Request) -> httpx.Response:
        if content is not None:
            return httpx.Response(status, content=content, headers=headers)
        return httpx.Response(status, json=body, headers=headers)

    return step


def refuses(status: int, code: str, message: str = "", *, headers: Mapping[str, str] | None = None) -> Step:
    """Answer as the upstream refuses: flat, without `output`."""
    return answers(status, {"code": code, "message": message, "request_id": "r-0"}, headers=headers)


def fails(error: Exception) -> Step:
    """Fail as the network does."""

    async def step(_request: httpx.Request) -> httpx.Response:
        raise error

    return step


def slowly(clock: VirtualClock, seconds: float, then: Step) -> Step:
    """Take some time to answer."""

    async def step(request: httpx.Request) -> httpx.Response:
        await clock.sleep(seconds)
        return await then(request)

    return step


class _BrokenBody(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"output": {"task_'
        message = "peer closed connection without sending complete message body"
        raise httpx.RemoteProtocolError(message)


def breaks_off(status: int = 200) -> Step:
    """Begin an answer and cut it."""

    async def step(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, stream=_BrokenBody())

    return step


@dataclass
class Scripted:
    """An upstream that answers step by step, the last step for ever, and remembers every request."""

    steps: Iterable[Step]
    clock: VirtualClock
    requests: list[httpx.Request] = field(default_factory=list)
    instants: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._left = deque(self.steps)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        await request.aread()
        self.requests.append(request)
        self.instants.append(self.clock.monotonic())
        step = self._left.popleft() if len(self._left) > 1 else self._left[0]
        return await step(request)


Handler = Callable[[httpx.Request], Awaitable[httpx.Response]]


def client(
    handler: Handler,
    clock: VirtualClock,
    *,
    workspace: str | None = None,
    patience: Patience | None = None,
    follow_redirects: bool = False,
) -> DashScope:
    """Make a DashScope client whose network is a handler."""

    async def handle(request: httpx.Request) -> httpx.Response:
        return await handler(request)

    http, http_submit = (
        httpx.AsyncClient(transport=httpx.MockTransport(handle), follow_redirects=follow_redirects) for _ in range(2)
    )
    account = Account(BASE_URL, SecretStr(KEY), workspace)
    return DashScope(http, http_submit, account, clock, patience or Patience(), jitter=lambda: 0.5)


@dataclass
class SimulatedTask:
    """One task of the simulated upstream; instants are of the virtual clock."""

    task_id: str
    submitted: float
    begins: float
    ends: float
    output: Mapping[str, Any]
    looks: list[float] = field(default_factory=list)


class TaskSimulator:
    """The upstream's task side on virtual time: queries, the list, and a record of each."""

    def __init__(self, clock: VirtualClock, *, answer_seconds: float = 0.02) -> None:
        self.clock = clock
        self.answer_seconds = answer_seconds
        self.tasks: dict[str, SimulatedTask] = {}
        self.queries: list[float] = []
        self.lists: list[float] = []
        self.tells_times = True
        self.running_word = "RUNNING"

    def submit(
        self,
        task_id: str,
        run_seconds: float,
        *,
        pending_seconds: float = 0.04,
        output: Mapping[str, Any] | None = None,
    ) -> None:
        """Accept a task that will run for so long; `output` is told when it has succeeded."""
        now = self.clock.monotonic()
        begins = now + pending_seconds
        told = output or {"results": [{"url": f"https://results.test/{task_id}.png"}]}
        self.tasks[task_id] = SimulatedTask(task_id, now, begins, begins + run_seconds, told)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one query or one page of the list, as of half-way through the exchange."""
        self.queries.append(self.clock.monotonic())
        await self.clock.sleep(self.answer_seconds / 2)
        if request.url.path.rstrip("/").endswith("/tasks"):
            body = self._list(request)
        else:
            body = self._query(request.url.path.rsplit("/", 1)[1])
        await self.clock.sleep(self.answer_seconds / 2)
        return httpx.Response(200, json=body)

    def _status(self, task: SimulatedTask) -> str:
        now = self.clock.monotonic()
        return "PENDING" if now < task.begins else self.running_word if now < task.ends else "SUCCEEDED"

    def _query(self, task_id: str) -> dict[str, Any]:
        task = self.tasks.get(task_id)
        if task is None:
            return {"request_id": "r-1", "output": {"task_id": task_id, "task_status": "UNKNOWN"}}
        task.looks.append(self.clock.monotonic())
        status = self._status(task)
        output: dict[str, Any] = {"task_id": task_id, "task_status": status}
        if self.tells_times:
            output["submit_time"] = documented_time(EPOCH_SECONDS + task.submitted)
            output["scheduled_time"] = documented_time(EPOCH_SECONDS + task.begins)
        if status == "SUCCEEDED":
            output |= task.output
            if self.tells_times:
                output["end_time"] = documented_time(EPOCH_SECONDS + task.ends)
        return {"request_id": "r-1", "output": output}

    def _list(self, request: httpx.Request) -> dict[str, Any]:
        self.lists.append(self.clock.monotonic())
        page, size = int(request.url.params["page_no"]), int(request.url.params["page_size"])
        rows = [
            {"task_id": task.task_id, "status": self._status(task), "model_name": "m"}
            for task in reversed(self.tasks.values())
            if self._status(task) == request.url.params["status"]
        ]
        pages = max(1, -(-len(rows) // size))
        return {"total": len(rows), "total_page": pages, "data": rows[(page - 1) * size : page * size]}


def busiest_second(instants: Iterable[float]) -> int:
    """Count the most events that fall into any one second."""
    ordered = sorted(instants)
    return max((sum(1 for other in ordered if start <= other < start + 1.0) for start in ordered), default=0)


def open_database(clock: Clock, url: str = "sqlite://") -> Database:
    """Open a tasks database whose transactions run at once, so that virtual time never passes beside them."""
    database = Database(url, clock, InlineExecutor())
    database._open()
    return database


def make_pace(clock: Clock, per_second: float, database: Database | None = None, name: str = "queries") -> LanePace:
    """Make the pace of a lane, in a database of its own where none is given."""
    return LanePace(database or open_database(clock), clock, name, per_second)


class PollingScene:
    """One poller and its upstream."""

    def __init__(self, handler: Handler, clock: VirtualClock, per_second: float = 17.0) -> None:
        self.clock = clock
        self.poller = Poller(client(handler, clock), clock, make_pace(clock, per_second))

    def follow(self, task_id: str = "t-1", usual: float = 12.0, deadline: float = 600.0) -> asyncio.Task[Report]:
        """Follow a task in the background."""
        return asyncio.create_task(self.poller.follow(task_id, RunTimes(usual), deadline_seconds=deadline))

"""A task runner with everything around it standing in, on virtual time."""

import asyncio
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from engines import InlineExecutor, PlainEngine
from fakes import KEY, Step, TaskSimulator, VirtualClock, client, make_pace, open_database
from imgapi.contract.edits import (
    ChangeClothReply,
    EditReply,
    ExpandReply,
    FixRequest,
    PicturesReply,
    RemoveBgReply,
    RemoveBgRequest,
    ResultLink,
    TaskMetrics,
)
from imgapi.contract.fields import Request
from imgapi.edits.catalogue import EDITS
from imgapi.edits.edit import Candidate, PreparedPicture
from imgapi.edits.models import LIMITS
from imgapi.edits.prepare import Inputs, Prepared
from imgapi.errors import ImgapiError
from imgapi.parts.tasks import REQUESTS
from imgapi.results.kept_names import make_name
from imgapi.results.links import Links
from imgapi.tasks.catalogue import Catalogue, RetiredModels
from imgapi.tasks.changes import Changes
from imgapi.tasks.housekeeping import Housekeeping
from imgapi.tasks.keeping import Keeper, Kept
from imgapi.tasks.ledger import Ledger
from imgapi.tasks.life import Life
from imgapi.tasks.polling import Poller
from imgapi.tasks.record import TaskRecord, Terms
from imgapi.tasks.run import Bounds, TaskRunner
from imgapi.tasks.sealing import Seal
from imgapi.tasks.tables import replicas
from imgapi.tasks.views import Views
from imgapi.tasks.written import Written

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgapi.edits.prepare import Preparer
    from imgapi.edits.remove_bg import RemoveBg
    from imgapi.tasks.database import Database

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
URL = "https://example.com/photo.jpg"
ACCOUNT = "account"
TTL_SECONDS = 7 * 86400.0
REPLIES: Mapping[str, type[EditReply]] = {
    "change_bg": PicturesReply,
    "change_cloth": ChangeClothReply,
    "expand": ExpandReply,
    "fix": PicturesReply,
    "remove_bg": RemoveBgReply,
    "remove_watermark": PicturesReply,
}
FIX = FixRequest(base_image_url=URL)


class Upstream:
    """Takes submits by a script per model, and sees the accepted tasks through."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.simulator = TaskSimulator(clock)
        self.run_seconds = 9.0
        self.pending_seconds = 0.04
        self.output: dict[str, Any] = {}
        self.scripts: dict[str, list[Step]] = {}
        self.submits: list[dict[str, Any]] = []
        self.cancels: list[str] = []
        self.headers: dict[str, str] = {}
        self.before_submit: Callable[[], None] = lambda: None
        self.on_cancel: Step = self._cancel_at_once

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one call."""
        if request.method == "GET":
            answer = await self.simulator(request)
            answer.headers.update(self.headers)
            return answer
        if request.url.path.endswith("/cancel"):
            return await self.on_cancel(request)
        self.before_submit()
        body = json.loads(await request.aread())
        self.submits.append(body)
        if script := self.scripts.get(body["model"]):
            return await (script.pop(0) if len(script) > 1 else script[0])(request)
        return self.accept()

    def accept(self) -> httpx.Response:
        """Make a task."""
        task_id = f"up-{len(self.simulator.tasks) + 1}"
        self.simulator.submit(task_id, self.run_seconds, pending_seconds=self.pending_seconds, output=self.output)
        return httpx.Response(200, json={"output": {"task_id": task_id, "task_status": "PENDING"}})

    async def _cancel_at_once(self, request: httpx.Request) -> httpx.Response:
        return self.cancel(request)

    def cancel(self, request: httpx.Request) -> httpx.Response:
        """Cancel a task that has not begun; refuse any other (docs/upstream.md)."""
        self.cancels.append(request.url.path)
        task = self.simulator.tasks[request.url.path.split("/")[-2]]
        now = self.clock.monotonic()
        if now >= task.begins:
            refusal = {"code": "UnsupportedOperation", "message": "Failed to cancel the task", "request_id": "r"}
            return httpx.Response(400, json=refusal)
        task.begins = task.ends = now
        task.output = {"task_status": "CANCELED"}
        return httpx.Response(200, json={"request_id": "r"})

    @property
    def models(self) -> list[str]:
        """The models asked, in order."""
        return [body["model"] for body in self.submits]


class StandInPreparer:
    """Takes every picture as it is, or fails by a script."""

    def __init__(self) -> None:
        self.error: ImgapiError | None = None
        self.changes: tuple[str, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self.refused_models: dict[str, ImgapiError] = {}

    async def prepare(self, candidate: Candidate[Any], inputs: Inputs) -> Prepared:
        """Name the pictures of the request."""
        if self.error or candidate.model in self.refused_models:
            raise self.error or self.refused_models[candidate.model]
        pictures = {name: PreparedPicture(getattr(inputs.request, name), 800, 600) for name in candidate.inputs}
        return Prepared(pictures, self.changes, self.warnings)


class StandInRemoveBg:
    """Answers the local edit at once."""

    async def run(self, _request: RemoveBgRequest, task_id: str) -> EditReply:
        """Answer."""
        now = "2026-05-04 10:20:30.123"
        return PicturesReply(
            task_id=task_id,
            task_status="SUCCEEDED",
            submit_time=now,
            scheduled_time=now,
            end_time=now,
            engine="local-preview",
            results=[ResultLink(url=f"https://imgapi.test/results/{make_name(2e9, '.png')}")],
            task_metrics=TaskMetrics(TOTAL=1, SUCCEEDED=1, FAILED=0),
        )


class StandInKeeper:
    """Passes links on."""

    async def keep(self, urls: Sequence[str]) -> Kept:
        """Keep nothing."""
        return Kept(urls)

    @property
    def links(self) -> Links:
        """The links of kept files."""
        return Links("https://imgapi.test/results/")


class MemoryLog:
    """Keeps events in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        """Keep an event."""
        self.events.append((event, fields))

    warning = info

    def named(self, event: str) -> list[dict[str, Any]]:
        """The fields of all events of a name."""
        return [fields for name, fields in self.events if name == event]


class House:
    """A runner with everything around it standing in, on virtual time.

    Args:
        of: Another house, whose database and upstream this one shares: the next process, or one beside it.
        is_beside: The other is alive as well.
        owner: The id of this process.
        max_tasks: Tasks under way.
        max_queue_seconds: How long a new one may have to wait.
        max_wait_seconds: How long a caller is held.
        pending_seconds: How long a task may wait upstream.
        deadline_seconds: How long a task is followed.
        keeper: Keeps results; passes the upstream's links on when None.
        url: Where tasks are kept; in memory when nothing is said.
    """

    def __init__(
        self,
        of: "House | None" = None,
        *,
        is_beside: bool = False,
        owner: str = "first",
        max_tasks: int = 200,
        max_queue_seconds: float = 100_000.0,
        max_wait_seconds: float = 100_000.0,
        pending_seconds: float = 600.0,
        deadline_seconds: float = 10_000.0,
        keeper: Keeper | None = None,
        url: str = "sqlite://",
    ) -> None:
        self.clock: VirtualClock = VirtualClock() if of is None else of.clock
        self.upstream: Upstream = Upstream(self.clock) if of is None else of.upstream
        self.database: Database = open_database(self.clock, url) if of is None else of.database
        self.preparer = StandInPreparer()
        self.log = MemoryLog()
        self.keeper = keeper or StandInKeeper()
        self.forgotten: list[str] = []
        self.planned: list[str] = []
        dashscope = client(self.upstream, self.clock)
        dashscope.announce = dashscope.breaker.announce = lambda event, subject: self.log.warning(
            event, subject=subject
        )
        self.is_beside = is_beside
        # What PostgreSQL tells between processes.
        self.changes: Changes = of.changes if of is not None and is_beside else Changes(self.database, self.clock)
        changes = self.changes
        ledger = Ledger(self.database, changes, owner, TTL_SECONDS, planned=lambda: self.planned.append("delivery"))
        catalogue = Catalogue(EDITS, LIMITS, ACCOUNT, 2, RetiredModels(self.clock, 3600.0))
        seal = Seal(lambda: "a secret of the tests")
        life = Life(
            ledger=ledger,
            changes=changes,
            catalogue=catalogue,
            written=Written(seal, REQUESTS),
            remove_bg=cast("RemoveBg", StandInRemoveBg()),
            preparer=cast("Preparer", self.preparer),
            keeper=cast("Keeper", self.keeper),
            forget_inputs=self._forget,
            dashscope=dashscope,
            poller=Poller(dashscope, self.clock, make_pace(self.clock, 17.0, self.database, f"{ACCOUNT}/queries")),
            clock=self.clock,
            log=self.log,
            pending_seconds=pending_seconds,
            deadline_seconds=deadline_seconds,
        )
        self.engine = PlainEngine()
        self.runner = TaskRunner(
            ledger=ledger,
            changes=changes,
            life=life,
            engine=self.engine,
            views=Views(seal, catalogue),
            bounds=Bounds(max_tasks, 60, max_queue_seconds, max_wait_seconds),
            store_inputs=self._take_out,
            forget_files=self._forget,
            dashscope=dashscope,
            clock=self.clock,
        )
        self.housekeeping = Housekeeping(
            database=self.database,
            changes=changes,
            engine=self.engine,
            owner=owner,
            clock=self.clock,
            places=self.runner.places,
            grant=ledger.grant,
            forget_files=self._forget,
            sweep_files=self._sweep,
            report=lambda event, subject: self.log.warning(event, subject=subject),
            ttl_seconds=TTL_SECONDS,
        )
        self._is_open = False

    async def open(self) -> None:
        """Begin to run, and take up what was left; a house opens by itself at its first task."""
        if not self._is_open:
            self._is_open = True
            # Virtual time knows nothing of work in threads.
            asyncio.get_running_loop().set_default_executor(InlineExecutor())
            await self.engine.launch(self.runner.life)
            if self.is_beside:
                await self.housekeeping._beat()
            else:
                await self.housekeeping.enter()
            # Nobody beats on virtual time: this process lives until it dies.
            await self._live_until(math.inf)

    async def stop(self) -> None:
        """Stop as a service does, leaving what is under way."""
        await self.runner.close(0.0)

    async def _live_until(self, instant: float) -> None:
        mine = replicas.update().where(replicas.c.id == self.runner.ledger.owner).values(seen_at=instant)
        await self.database.run(lambda connection: connection.execute(mine))

    async def die(self) -> None:
        """Stop as a killed process does: no word to anybody."""
        await self._live_until(0.0)
        await self.engine.close()
        await self.runner.life.poller.close()

    async def accept(self, operation: str = "fix", request: Request = FIX, terms: Terms | None = None) -> str:
        """Start a task; return its id."""
        await self.open()
        return await self.runner.accept(operation, request, terms)

    async def hold(self, operation: str = "fix", request: Request = FIX, terms: Terms | None = None) -> Any:
        """Start a task and be held until its end; return the documented reply."""
        await self.open()
        reply = await self.runner.run(operation, request, terms)
        return REPLIES[operation].model_validate(reply)

    async def run(self, operation: str = "fix", request: Request = FIX, terms: Terms | None = None) -> Any:
        """Run an edit on virtual time."""
        return await self.clock.run(self.hold(operation, request, terms))

    async def fail(self, kind: type[ImgapiError], operation: str = "fix", request: Request = FIX) -> ImgapiError:
        """Run an edit that has to fail, and return how."""
        with pytest.raises(kind) as caught:
            await self.run(operation, request)
        assert caught.value.task_id is not None
        assert UUID.fullmatch(caught.value.task_id)
        assert KEY not in caught.value.sentence
        return caught.value

    async def end(self, task_id: str) -> dict[str, Any]:
        """Wait on virtual time until a task has ended; return it as callers see it."""
        await self.clock.run(self.runner.hold(task_id, 100_000.0))
        return await self.runner.view(task_id)

    async def record(self, task_id: str) -> TaskRecord:
        """Read a task's row."""
        record = await self.runner.ledger.get(task_id)
        assert record is not None
        return record

    async def _take_out(self, request: Request) -> tuple[Request, Sequence[str]]:
        return request, ()

    async def _forget(self, names: Sequence[str]) -> None:
        self.forgotten += names

    async def _sweep(self) -> None:
        pass

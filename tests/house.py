"""A task runner with everything around it standing in, on virtual time."""

import json
import re
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from fakes import KEY, PollingScene, Step, TaskSimulator, VirtualClock
from imgapi.contract.edits import EditReply, FixRequest, PicturesReply, RemoveBgRequest, ResultLink, TaskMetrics
from imgapi.contract.fields import Request
from imgapi.edits.catalogue import EDITS
from imgapi.edits.edit import Candidate, PreparedPicture
from imgapi.edits.models import LIMITS
from imgapi.edits.prepare import Inputs, Prepared
from imgapi.errors import ImgapiError
from imgapi.tasks.pacing import Pacing
from imgapi.tasks.run import RetiredModels, TaskRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from imgapi.edits.prepare import Preparer
    from imgapi.edits.remove_bg import RemoveBg

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
URL = "https://example.com/photo.jpg"
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

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one call."""
        if request.method == "GET":
            answer = await self.simulator(request)
            answer.headers.update(self.headers)
            return answer
        if request.url.path.endswith("/cancel"):
            self.cancels.append(request.url.path)
            return httpx.Response(200, json={"request_id": "r"})
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

    async def run(self, request: RemoveBgRequest, task_id: str) -> EditReply:
        """Answer."""
        now = "2026-05-04 10:20:30.123"
        return PicturesReply(
            task_id=task_id,
            task_status="SUCCEEDED",
            submit_time=now,
            scheduled_time=now,
            end_time=now,
            engine="local-preview",
            results=[ResultLink(url=request.image_url)],
            task_metrics=TaskMetrics(TOTAL=1, SUCCEEDED=1, FAILED=0),
        )


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
    """A runner with everything around it standing in."""

    def __init__(self, *, max_tasks: int = 50, max_waiting: int = 20, deadline_seconds: float = 600.0) -> None:
        self.clock = VirtualClock()
        self.upstream = Upstream(self.clock)
        self.preparer = StandInPreparer()
        self.log = MemoryLog()
        scene = PollingScene(self.upstream, self.clock)
        dashscope = scene.poller.dashscope
        dashscope.announce = dashscope.breaker.announce = lambda event, subject: self.log.warning(
            event, subject=subject
        )
        self.runner = TaskRunner(
            edits=EDITS,
            remove_bg=cast("RemoveBg", StandInRemoveBg()),
            preparer=cast("Preparer", self.preparer),
            dashscope=dashscope,
            pacing=Pacing(self.clock, LIMITS, max_waiting),
            poller=scene.poller,
            clock=self.clock,
            log=self.log,
            deadline_seconds=deadline_seconds,
            max_tasks=max_tasks,
            retired=RetiredModels(self.clock, 3600.0),
        )

    async def run(self, operation: str = "fix", request: Request = FIX) -> Any:
        """Run an edit on virtual time."""
        return await self.clock.run(self.runner.run(operation, request))

    async def fail(self, kind: type[ImgapiError], operation: str = "fix", request: Request = FIX) -> ImgapiError:
        """Run an edit that has to fail, and return how."""
        with pytest.raises(kind) as caught:
            await self.run(operation, request)
        assert caught.value.task_id is not None
        assert UUID.fullmatch(caught.value.task_id)
        assert KEY not in caught.value.sentence
        return caught.value

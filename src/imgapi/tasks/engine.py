"""The durable engine: DBOS runs each task's life as a workflow; the only file that imports it.

It is used narrowly (docs/decisions/0005-durable-tasks.md): a workflow per task, a step for each part of the plan, and
one queue on which the lives are resumed that a process has left. Everything it stores is a task's id and the word that
a step came to. What callers see, and what money hangs on, is in the ledger.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dbos import DBOS, DBOSConfig, Serializer, SetWorkflowID, error

from imgapi.tasks.database import Database
from imgapi.tasks.plan import Outcome, Step, Steps, live

NAME = "imgapi"
# Tasks outlive deploys, so all builds are one version to DBOS; `plan.live` says what that asks of a change.
VERSION = "1"
RESUMED = "imgapi-resumed"
RESUMED_LOOK_SECONDS = 1.0
_THREADS = 32
_ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")


class _Json(Serializer):
    """Keeps what workflows and steps take and give as JSON."""

    def serialize(self, data: Any) -> str:
        return json.dumps(data, default=repr)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)

    def name(self) -> str:
        return "imgapi_json"


class _Service:
    """The lives that this process runs; DBOS has one instance in a process, and so there is one of these."""

    steps: Steps | None = None
    lives: dict[str, "asyncio.Task[Any]"]

    def __init__(self) -> None:
        self.lives = {}


_service = _Service()


@DBOS.workflow(name="imgapi.edit", max_recovery_attempts=None)
async def _edit(task_id: str) -> str:
    steps, task = _service.steps, asyncio.current_task()
    if steps is None or task is None:
        raise RuntimeError("the engine is not running")
    _service.lives[task_id] = task
    try:
        await live(steps, _step_of(task_id))
    finally:
        _service.lives.pop(task_id, None)
    return "ended"


def _step_of(task_id: str) -> Step:
    async def step(name: str, do: Callable[[str], Awaitable[Outcome]]) -> Outcome:
        async def run(task_id: str) -> str:
            return (await do(task_id)).value

        return Outcome(await DBOS.run_step_async({"name": name}, run, task_id))

    return step


class DurableEngine:
    """Runs lives on DBOS.

    Args:
        database: Where DBOS keeps its tables, beside those of the ledger.
        owner: The id of this process, unlike any other's: two of one id would run a task twice.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    async def launch(self, steps: Steps) -> None:
        """Begin to run lives, in the event loop that calls this."""
        if _service.steps is not None:
            raise RuntimeError("one process runs one service: the durable engine is taken")
        logging.getLogger("dbos").setLevel(logging.ERROR)
        config = DBOSConfig(
            name=NAME,
            system_database_url=self._database.url.render_as_string(hide_password=False),
            system_database_engine=self._database.hasty_engine,
            application_version=VERSION,
            executor_id=self._owner,
            serializer=_Json(),
            log_level="ERROR",
            max_executor_threads=_THREADS,
            # Nothing here waits for DBOS's own notifications.
            use_listen_notify=False,
            enable_otlp=False,
        )
        DBOS(config=config)
        _service.steps = steps
        # Once, before anything is served, on the loop's own thread: DBOS runs workflows on the loop it is launched in.
        DBOS.launch()
        await DBOS.register_queue_async(RESUMED, polling_interval_sec=RESUMED_LOOK_SECONDS)

    @property
    def running(self) -> frozenset[str]:
        """The tasks whose lives go on in this process."""
        return frozenset(_service.lives)

    async def start(self, task_id: str) -> None:
        """Begin a life; it goes on by itself."""
        with SetWorkflowID(task_id):
            await DBOS.start_workflow_async(_edit, task_id)

    async def resume(self, task_id: str) -> None:
        """Go on with a life that its process has left, here or in another process."""
        status = await DBOS.get_workflow_status_async(task_id)
        try:
            if status is not None and status.status not in _ENDED:
                await DBOS.resume_workflow_async(task_id, queue_name=RESUMED)
                return
        except error.DBOSNonExistentWorkflowError:
            status = None
        if status is not None:
            # DBOS has seen its end, and the ledger has not: what was remembered of the steps is of no use.
            await DBOS.delete_workflow_async(task_id)
        await self.start(task_id)

    async def forget(self, task_ids: list[str]) -> None:
        """Remove what is kept of lives that have ended."""
        await DBOS.delete_workflows_async(task_ids)

    async def close(self) -> None:
        """Stop; lives that go on are left to be resumed."""
        for task in (lives := list(_service.lives.values())):
            task.cancel()
        await asyncio.gather(*lives, return_exceptions=True)
        loop = asyncio.get_running_loop()
        # DBOS had put its threads in the place of the loop's own, and ends them; others still need some.
        loop.set_default_executor(ThreadPoolExecutor(_THREADS))
        await asyncio.to_thread(DBOS.destroy)
        _service.steps = None

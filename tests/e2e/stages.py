"""The stage of the process tests: an upstream, a webhook receiver, some servers, and everything asked of them."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from e2e.callers import TERMINAL, Caller
from e2e.judge import Record, judge_ends, judge_fates
from e2e.processes import Emulator, Server
from e2e.receiver import Receiver

MODEL = "wanx2.1-imageedit"
WAIT_SECONDS = 20.0
LOOK_SECONDS = 0.05
# What the service seals and signs with, invented.
SECRET = "a-secret-of-these-tests-alone-0123456789"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Stage:
    """The processes of a test, and every task that was accepted on it.

    Attributes:
        prompts: The prompt of each task, by its id.
        ends: The JSON of each task that was seen to have ended, by its id.

    Args:
        emulator: The upstream; its limits are not enforced, so that its record shows what the servers do themselves.
        receiver: Where all webhooks go.
        servers: In the order of their start.
    """

    def __init__(self, emulator: Emulator, receiver: Receiver, servers: list[Server]) -> None:
        self.emulator = emulator
        self.receiver = receiver
        self.servers = servers
        self.prompts: dict[str, str] = {}
        self.ends: dict[str, dict[str, Any]] = {}
        self._record = Record()
        self._known = 0

    @property
    def server(self) -> Server:
        """The first server."""
        return self.servers[0]

    @property
    def _alive(self) -> Server:
        return next(server for server in self.servers if server.is_running)

    @property
    def record(self) -> Record:
        """The upstream's record until now."""
        return self._record.take(self.emulator.requests())

    def launch(self) -> None:
        """Start every process, side by side, and wait until all are ready."""
        for process in (self.emulator, *self.servers):
            process.launch()
        for process in (self.emulator, *self.servers):
            process.wait_until_ready()
        self.emulator.grant_everything()

    def restart(self) -> None:
        """Kill the first server as a power cut would, and start it again on the same data folder."""
        self.server.kill()
        self.server.start()

    def forget(self) -> None:
        """Put the upstream back to its start: no faults, at once, an empty record."""
        self.emulator.reset()
        self._record = Record()
        self.prompts.clear()
        self.ends.clear()

    async def accept(self, prompt: str, **headers: str) -> str:
        """Have the first server accept a task; return its id."""
        self._known = max(self.record.calls, default=0)
        async with Caller(self.server.address) as caller:
            task_id = await caller.accept(prompt, **headers)
        self.prompts[task_id] = prompt
        return task_id

    async def accept_all(self, prompts: Sequence[str]) -> list[str]:
        """Have the servers that run accept tasks at once, in turn; return their ids in order."""
        servers = [server for server in self.servers if server.is_running]
        async with contextlib.AsyncExitStack() as stack:
            callers = [await stack.enter_async_context(Caller(server.address)) for server in servers]
            turns = zip(prompts, itertools.cycle(callers), strict=False)
            task_ids = await asyncio.gather(*(caller.accept(prompt) for prompt, caller in turns))
        self.prompts |= dict(zip(task_ids, prompts, strict=True))
        return task_ids

    async def until_told(self, task_ids: list[str], seconds: float) -> None:
        """Wait until the ends of tasks were told by webhook, which costs the servers less than being asked."""

        def is_told() -> bool:
            # Taken now and then, the record loses none of the calls that the upstream forgets.
            self._record.take(self.emulator.requests())
            return all(self.receiver.of(task_id) for task_id in task_ids)

        await until(is_told, f"the ends of {len(task_ids)} tasks were told", seconds)

    async def look(self, task_id: str) -> dict[str, Any]:
        """Return a task's JSON, as a server that runs tells it."""
        async with Caller(self._alive.address) as caller:
            return await caller.look(task_id)

    async def end_of(self, task_id: str, seconds: float = WAIT_SECONDS) -> dict[str, Any]:
        """Wait until a task has ended; return its JSON."""
        return (await self.ends_of([task_id], seconds))[task_id]

    async def ends_of(self, task_ids: list[str], seconds: float = WAIT_SECONDS) -> dict[str, dict[str, Any]]:
        """Wait until tasks have ended; return their JSON by id."""
        async with Caller(self._alive.address) as caller:
            ended = await caller.wait_for_ends(task_ids, seconds)
        self.ends |= ended
        return ended

    async def until_called(self, kind: str) -> None:
        """Wait until the upstream has received a call since the last task was accepted, and still answers it."""

        def is_called() -> bool:
            return any(call["ended"] is None and call["number"] > self._known for call in self.record.of(kind))

        await until(is_called, f"the upstream received a {kind} call")

    async def check(self) -> None:
        """Hold every ended task against what the upstream, the webhooks and the events say of it."""
        await until(lambda: all(self.receiver.of(task_id) for task_id in self.ends), "every end was told by webhook")
        assert judge_ends(self.ends, self.receiver.deliveries) == []
        assert judge_fates(self.prompts, self.ends, self.record) == []
        async with Caller(self._alive.address) as caller:
            for task_id, seen in self.ends.items():
                task = await caller.look(task_id)
                assert task == seen, "a task that has ended never changes"
                events = await caller.events(task_id)
                assert [name for name in events if name in TERMINAL] == [task["status"]]
                assert events[-1] == task["status"]


@contextlib.contextmanager
def staged(folder: Path, count: int = 1, **variables: str) -> Iterator[Stage]:
    """Run a stage with so many servers until the block ends; they share what the variables say, and a results folder.

    Each has a port and a data folder of its own.
    """
    with Receiver() as receiver:
        emulator = Emulator(folder)
        shared = {
            "IMGAPI_RESULTS": str(folder / "results"),
            "IMGAPI_SECRET": SECRET,
            "IMGAPI_WEBHOOK_URL": receiver.url,
            "IMGAPI_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }
        servers = [
            Server(folder / f"server-{number}", emulator.base_url, **(shared | variables)) for number in range(count)
        ]
        stage = Stage(emulator, receiver, servers)
        try:
            stage.launch()
            yield stage
        finally:
            for process in (*servers, emulator):
                process.stop()


async def until(is_so: Callable[[], bool], words: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait until something is so.

    Raises:
        AssertionError: It was not in time; the words say what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(is_so):
        assert time.monotonic() < deadline, f"not within {seconds} s: {words}"
        await asyncio.sleep(LOOK_SECONDS)

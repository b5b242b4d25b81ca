"""Deliverers of webhooks on virtual time, with a receiver that answers from a script."""

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import sqlalchemy as sa

from engines import InlineExecutor
from fakes import VirtualClock
from imgapi.sources.messages import Answer
from imgapi.tasks import deliveries
from imgapi.tasks.database import Database
from imgapi.tasks.sealing import Seal
from imgapi.tasks.webhooks import Deliverer

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
URL = "https://shop.example/hook?token=receivers-token"
OK = Answer(204, "")
BUSY = Answer(503, "")

Script = Answer | Exception | Callable[[], Awaitable[Answer]]


class MemoryLog:
    """Keeps events in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        """Keep an event."""
        self.events.append((event, fields))

    warning = info

    def count(self, event: str) -> int:
        """How often an event of that name happened."""
        return sum(1 for name, _ in self.events if name == event)


class SharedInMemory(Database):
    """A database in memory that several deliverers use as processes do a PostgreSQL."""

    def now(self, _connection: sa.Connection) -> float:
        """The clock that all of them have."""
        return self._clock.time()

    async def open(self) -> None:
        """Make the tables."""
        await super().open()
        self.is_shared = True


class Scene:
    """Deliverers on one database and virtual time, with a receiver that answers from a script."""

    def __init__(self, *, is_shared: bool) -> None:
        self.clock = VirtualClock()
        kind = SharedInMemory if is_shared else Database
        self.database = kind("sqlite://", self.clock, InlineExecutor())
        self.seal = Seal(lambda: "the installation's")
        self.log = MemoryLog()
        self.script: deque[Script] = deque([OK])
        self.posts: list[tuple[float, str, bytes, Mapping[str, str]]] = []
        self.tasks: dict[str, Any] = {}
        self.jitter = 0.5
        self.attempt_seconds = 25.0
        self.running: list[asyncio.Task[None]] = []
        self.deliverers: list[Deliverer] = []

    async def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Take one message."""
        self.posts.append((self.clock.monotonic(), url, content, dict(headers)))
        step = self.script.popleft() if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, Answer) else await step()

    async def body_of(self, task_id: str) -> dict[str, Any] | None:
        """Tell a task's JSON."""
        found = self.tasks.get(task_id)
        if isinstance(found, Exception):
            raise found
        return found

    async def start(self) -> Deliverer:
        """Run a deliverer, as one process does."""
        deliverer = Deliverer(
            database=self.database,
            seal=self.seal,
            post=self.post,
            clock=self.clock,
            body_of=self.body_of,
            secret=lambda: SECRET,
            log=self.log,
            jitter=lambda: self.jitter,
            attempt_seconds=self.attempt_seconds,
        )
        self.deliverers.append(deliverer)
        self.running.append(asyncio.create_task(deliverer.run()))
        await self.clock.settle()
        return deliverer

    async def plan(self, task_id: str = "t-1", event: str = "task.succeeded", url: str = URL) -> str:
        """Have the end of a task told, and let what follows happen."""
        self.tasks.setdefault(task_id, {"task_id": task_id, "status": event.removeprefix("task.")})
        sealed = self.seal.close(url)

        def work(connection: sa.Connection) -> str:
            return deliveries.plan_delivery(
                connection, now=self.clock.time(), task_id=task_id, event=event, sealed_url=sealed
            )

        planned = await self.database.run(work)
        for deliverer in self.deliverers:
            deliverer.wake()
        await self.clock.settle()
        return planned

    async def listed(self, task_id: str = "t-1") -> list[dict[str, Any]]:
        """What callers are told, as JSON."""
        reply = await self.deliverers[-1].list(task_id)
        return [each.model_dump(exclude_none=True) for each in reply.deliveries]

    @property
    def instants(self) -> list[float]:
        """When messages were sent."""
        return [round(at, 3) for at, *_ in self.posts]


@asynccontextmanager
async def open_scene(*, is_shared: bool = False) -> AsyncIterator[Scene]:
    """Make a scene, and end whatever was started on it."""
    scene = Scene(is_shared=is_shared)
    await scene.database.open()
    yield scene
    for task in scene.running:
        task.cancel()
    for deliverer in scene.deliverers:
        await deliverer.close(grace_seconds=0.0)
    await asyncio.gather(*scene.running, return_exceptions=True)
    scene.database.close()


async def hang() -> Answer:
    """Never answer."""
    await asyncio.Event().wait()
    return OK

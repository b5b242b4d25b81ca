"""A plain engine for tests: lives are tasks of the event loop, and nothing outlives the process."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from imgapi.tasks.plan import Outcome, Steps, live

T = TypeVar("T")


class InlineExecutor(ThreadPoolExecutor):
    """Runs work at once, so that virtual time never passes beside it; event loops take it as their own too."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run it."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as exc:  # noqa: BLE001 - handed on as any executor does
            future.set_exception(exc)
        return future


class PlainEngine:
    """Runs lives in this process only; any number of services may have one."""

    def __init__(self, _database: object = None, _owner: str = "") -> None:
        self._steps: Steps | None = None
        self.lives: dict[str, asyncio.Task[None]] = {}

    async def launch(self, steps: Steps) -> None:
        """Begin to run lives."""
        self._steps = steps

    @property
    def running(self) -> frozenset[str]:
        """The tasks whose lives go on."""
        return frozenset(self.lives)

    async def start(self, task_id: str) -> None:
        """Begin a life."""
        assert self._steps is not None

        async def step(_name: str, do: Callable[[str], Awaitable[Outcome]]) -> Outcome:
            return await do(task_id)

        self.lives[task_id] = asyncio.create_task(live(self._steps, step))
        self.lives[task_id].add_done_callback(lambda _task: self.lives.pop(task_id, None))

    async def resume(self, task_id: str) -> None:
        """Begin a life again: its steps know how far it has come."""
        if task_id not in self.lives:
            await self.start(task_id)

    async def forget(self, task_ids: list[str]) -> None:
        """Forget nothing: nothing is kept."""

    async def close(self) -> None:
        """Stop all lives."""
        lives = list(self.lives.values())
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)

"""The plan of a task: the steps of its life, in order, each of which may be done again after a crash."""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol


class Outcome(StrEnum):
    """What a step came to; decides which step is next."""

    READY = "ready"
    # The model is gone: the inputs have to be prepared for the next.
    AGAIN = "again"
    ACCEPTED = "accepted"
    MADE = "made"
    ENDED = "ended"


# Runs one step; remembered by name, so that one that was done is not done again.
Step = Callable[[str, Callable[[str], Awaitable[Outcome]]], Awaitable[Outcome]]


class Steps(Protocol):
    """What the plan is made of; each takes the task's id."""

    async def prepare(self, task_id: str) -> Outcome:
        """Make the inputs fit; do the whole of a local edit."""
        ...

    async def submit(self, task_id: str) -> Outcome:
        """Wait for a place and hand the task over, at most once."""
        ...

    async def follow(self, task_id: str) -> Outcome:
        """See its end."""
        ...

    async def keep(self, task_id: str) -> Outcome:
        """Keep what it made, and end it."""
        ...


async def live(steps: Steps, step: Step) -> None:
    """Go through the life of one task.

    Tasks outlive deploys: a new step may be added at the end, but the order of those that are here stays.
    """
    outcome = await step("prepare", steps.prepare)
    while outcome in {Outcome.READY, Outcome.AGAIN}:
        outcome = await (step("submit", steps.submit) if outcome is Outcome.READY else step("prepare", steps.prepare))
    if outcome is Outcome.ACCEPTED:
        outcome = await step("follow", steps.follow)
    if outcome is Outcome.MADE:
        await step("keep", steps.keep)


class Engine(Protocol):
    """Runs lives, through crashes."""

    async def launch(self, steps: Steps) -> None:
        """Begin to run lives."""
        ...

    @property
    def running(self) -> frozenset[str]:
        """The tasks whose lives go on in this process."""
        ...

    async def start(self, task_id: str) -> None:
        """Begin a life; it goes on by itself."""
        ...

    async def resume(self, task_id: str) -> None:
        """Go on with a life that its process has left."""
        ...

    async def forget(self, task_ids: list[str]) -> None:
        """Remove what is kept of lives that have ended."""
        ...

    async def close(self) -> None:
        """Stop; lives that go on are left to be resumed."""
        ...

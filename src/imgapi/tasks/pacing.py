"""Pacing: how many submits and running tasks each model gets, and how many queries the account gets."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from imgapi.clock import Clock
from imgapi.edits.models import ModelLimits
from imgapi.errors import Overloaded

# At exactly the upstream's rate, a few milliseconds of jitter on the way make one submit too many in its second.
SUBMIT_SHARE = 0.95


@dataclass(slots=True)
class Spacing:
    """Lets one thing through at a time, at least `1 / per_second` apart.

    Spacing, not a bucket: a bucket's first burst crosses a limit that is counted per second.
    """

    clock: Clock
    per_second: float
    _next: float = field(default=0.0, init=False)
    _slowdown: float = field(default=1.0, init=False)
    _slow_until: float = field(default=0.0, init=False)

    async def wait(self) -> None:
        """Wait for the next turn; turns are given in the order of the calls."""
        now = self.clock.monotonic()
        turn = max(now, self._next)
        slow = self._slowdown if now < self._slow_until else 1.0
        self._next = turn + slow / self.per_second
        if turn > now:
            await self.clock.sleep(turn - now)

    def slow_down(self, seconds: float) -> None:
        """Halve the pace for some seconds: the other side said that it is too much."""
        now = self.clock.monotonic()
        self._slowdown = min(8.0, self._slowdown * 2) if now < self._slow_until else 2.0
        self._slow_until = now + seconds
        self._next = max(self._next, now + min(seconds, 1.0))


@dataclass(slots=True)
class Lane:
    """One model's way upstream: its spacing, its running tasks, and a bounded line of tasks waiting for a place."""

    spacing: Spacing
    places: int
    max_waiting: int
    usual_seconds: float
    _running: int = field(default=0, init=False)
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque, init=False)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of the model's running places; first come, first served.

        Raises:
            Overloaded: The line is full.
        """
        await self._enter()
        try:
            yield
        finally:
            self._leave()

    async def _enter(self) -> None:
        if self._running < self.places and not self._waiting:
            self._running += 1
            return
        if len(self._waiting) >= self.max_waiting:
            seconds = self.usual_seconds * (len(self._waiting) + 1) / self.places
            message = (
                f"{len(self._waiting)} tasks already wait for this model; nothing was started, so try again later."
            )
            raise Overloaded(message, retry_after=seconds)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            elif turn in self._waiting:
                # A place given back since the cancel has already passed this turn over.
                self._waiting.remove(turn)
            raise

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1


@dataclass(slots=True)
class Pacing:
    """The lanes of all models.

    Args:
        clock: Time.
        limits: By model.
        max_waiting: How many tasks may wait for one model.
    """

    clock: Clock
    limits: Mapping[str, ModelLimits]
    max_waiting: int = 60
    _lanes: dict[str, Lane] = field(default_factory=dict, init=False)

    def lane(self, model: str, usual_seconds: float) -> Lane:
        """The lane of a model, made at its first use."""
        if model not in self._lanes:
            limits = self.limits[model]
            spacing = Spacing(self.clock, SUBMIT_SHARE * limits.submits_per_second)
            self._lanes[model] = Lane(spacing, limits.running, self.max_waiting, usual_seconds)
        return self._lanes[model]

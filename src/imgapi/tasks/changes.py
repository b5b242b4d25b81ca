"""Changes: whoever waits for a task or a lane hears of it, whichever process made the change."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

from imgapi.clock import Clock, rest
from imgapi.tasks.database import CHANNEL, Database

# Where other processes change things, those who wait look again by themselves, should a word be lost.
LOOK_AGAIN_SECONDS = 15.0
_RECONNECT_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Watch:
    """Set when something has changed; cleared by whoever waits."""

    clock: Clock
    is_shared: bool
    event: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait(self, seconds: float | None = None) -> None:
        """Wait for the next change, at most so long."""
        if self.is_shared:
            seconds = LOOK_AGAIN_SECONDS if seconds is None else min(seconds, LOOK_AGAIN_SECONDS)
        if seconds is None:
            await self.event.wait()
        else:
            await rest(self.clock, self.event, seconds)
        self.event.clear()


@dataclass(slots=True)
class Changes:
    """Carries the news within this process, and from the others over PostgreSQL's LISTEN."""

    database: Database
    clock: Clock
    _watches: defaultdict[str, set[Watch]] = field(default_factory=lambda: defaultdict(set), init=False)
    _listening: asyncio.Task[None] | None = field(default=None, init=False)

    @contextmanager
    def watch(self, subject: str) -> Iterator[Watch]:
        """Watch a task, by its id, or a lane, by its name."""
        watch = Watch(self.clock, self.database.is_shared)
        self._watches[subject].add(watch)
        try:
            yield watch
        finally:
            self._watches[subject].discard(watch)
            if not self._watches[subject]:
                del self._watches[subject]

    def tell(self, subject: str) -> None:
        """Wake whoever watches a subject in this process."""
        for watch in self._watches.get(subject, ()):
            watch.event.set()

    def wake_all(self) -> None:
        """Wake whoever watches anything in this process."""
        for subject in list(self._watches):
            self.tell(subject)

    def start(self) -> None:
        """Begin to hear the other processes."""
        if self.database.is_shared:
            self._listening = asyncio.create_task(self._listen(), name="changes")

    async def close(self) -> None:
        """Stop hearing the other processes."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        address = self.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    # Whatever was said while nobody listened.
                    self.wake_all()
                    async for news in connection.notifies():
                        if (subject := self.database.read_word(news.payload)) is not None:
                            self.tell(subject)
            except psycopg.Error:
                # Who waits looks again by themselves meanwhile.
                await self.clock.sleep(_RECONNECT_SECONDS)

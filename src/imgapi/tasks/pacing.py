"""Pacing: how often something may be asked of the upstream, by all processes of an account together."""

from dataclasses import dataclass

import sqlalchemy as sa

from imgapi.clock import Clock
from imgapi.tasks import lanes
from imgapi.tasks.database import Database

# At exactly the upstream's rate, a few milliseconds of jitter on the way make one submit too many in its second.
SUBMIT_SHARE = 0.95


@dataclass(frozen=True, slots=True)
class LanePace:
    """Lets one thing through at a time, at least `1 / per_second` apart, in every process that names the same lane.

    Spacing, not a bucket: a bucket's first burst crosses a limit that is counted per second.

    Args:
        database: Holds the lane's row.
        clock: For waiting.
        name: The lane.
        per_second: Its pace.
    """

    database: Database
    clock: Clock
    name: str
    per_second: float

    async def wait(self) -> None:
        """Wait for the next turn; turns are given in the order of the calls."""

        def work(connection: sa.Connection) -> float:
            return lanes.reserve(connection, self.name, self.database.now(connection), self.per_second)

        pause = await self.database.run(work)
        if pause > 0:
            await self.clock.sleep(pause)

    async def slow_down(self, seconds: float) -> None:
        """Halve the pace for some seconds: the other side said that it is too much."""

        def work(connection: sa.Connection) -> None:
            lanes.slow_down(connection, self.name, self.database.now(connection), seconds)

        await self.database.run(work)

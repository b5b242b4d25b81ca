"""Housekeeping: this process says that it lives, takes up what dead ones left, and forgets what is old."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from imgapi.clock import Clock
from imgapi.tasks import deliveries
from imgapi.tasks.acceptance import IDEMPOTENCY_SECONDS
from imgapi.tasks.changes import Changes
from imgapi.tasks.database import Database
from imgapi.tasks.lanes import DEAD_SECONDS
from imgapi.tasks.plan import Engine
from imgapi.tasks.record import UNDER_WAY, Stage, Status
from imgapi.tasks.tables import events, idempotency, replicas, tasks

BEAT_SECONDS = 1.0
# Nobody else looks at the rows of a SQLite file.
ALONE_BEAT_SECONDS = 2.0
SWEEP_SECONDS = 60.0
# A process that the database has not heard of for so long is not ready for work.
UNHEARD_SECONDS = 15.0
# Bounds on one round, so that none takes long.
MOST_ADOPTED = 200
MOST_FORGOTTEN = 200
# A life that was just accepted or resumed may be on its way to its process.
SETTLING_SECONDS = 5.0
# That a task was there is remembered for so many times as long as what it made: 410, then 404.
REMEMBERED_TIMES = 4.0


@dataclass(slots=True)
class Housekeeping:
    """The loop.

    Args:
        database: Holds the row of each process.
        changes: Told of tasks that are taken up.
        engine: Resumes lives.
        owner: The id of this process.
        clock: Time.
        places: How many tasks of a lane may run; None for a lane that is not kept here.
        grant: Gives a lane's free places.
        forget_files: Deletes kept files by name.
        sweep_files: Deletes kept files past their time.
        report: Told what an operator may want to know.
        ttl_seconds: How long a task is kept after its end.
    """

    database: Database
    changes: Changes
    engine: Engine
    owner: str
    clock: Clock
    places: Callable[[str], int | None]
    grant: Callable[[str, int], Awaitable[object]]
    forget_files: Callable[[Sequence[str]], Awaitable[None]]
    sweep_files: Callable[[], Awaitable[None]]
    report: Callable[[str, str], object]
    ttl_seconds: float
    _loop: asyncio.Task[None] | None = field(default=None, init=False)
    _beaten: float = field(default=float("-inf"), init=False)

    @property
    def is_current(self) -> bool:
        """Whether the database has lately heard of this process."""
        return self.clock.monotonic() - self._beaten < UNHEARD_SECONDS

    async def start(self) -> None:
        """Enter this process among the living, take up what was left, and go on doing so."""
        await self.enter()
        self._loop = asyncio.create_task(self._run(), name="housekeeping")

    async def enter(self) -> None:
        """Enter this process among the living, and take up what was left."""
        if not self.database.is_shared:
            # The file is this process's alone: whoever else is entered is dead.
            await self.database.run(lambda connection: connection.execute(replicas.delete()))
        await self._beat()
        await self.adopt()

    async def close(self) -> None:
        """Stop, and strike this process off the living, so that others take its tasks up at once."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.gather(self._loop, return_exceptions=True)
        mine = replicas.delete().where(replicas.c.id == self.owner)
        await self.database.run(lambda connection: connection.execute(mine))

    async def _run(self) -> None:
        swept = float("-inf")
        while True:
            await self.clock.sleep(BEAT_SECONDS if self.database.is_shared else ALONE_BEAT_SECONDS)
            try:
                await self._beat()
                await self.adopt()
                await self.move_lines()
                if self.clock.monotonic() - swept >= SWEEP_SECONDS:
                    swept = self.clock.monotonic()
                    await self.sweep()
            except Exception as exc:  # noqa: BLE001 - the loop is a border: it goes on when the database is back
                self.report("housekeeping failed", repr(exc))

    async def _beat(self) -> None:
        """Say that this process lives."""

        def work(connection: sa.Connection) -> None:
            now = self.database.now(connection)
            mine = replicas.update().where(replicas.c.id == self.owner).values(seen_at=now)
            if connection.execute(mine).rowcount == 0:
                connection.execute(replicas.insert().values(id=self.owner, seen_at=now))

        await self.database.run(work)
        self._beaten = self.clock.monotonic()

    async def adopt(self) -> None:
        """Take up the tasks of dead processes, and those of this one whose life has stopped."""
        for task_id in await self.database.run(self._claim):
            self.report("task taken up", task_id)
            # Who had it may still wait with it.
            self.changes.tell(task_id)
            await self.engine.resume(task_id)

    def _claim(self, connection: sa.Connection) -> Sequence[str]:
        now = self.database.now(connection)
        running = self.engine.running
        living = sa.select(replicas.c.id).where(replicas.c.seen_at > now - DEAD_SECONDS)
        orphaned = sa.and_(
            tasks.c.status.in_(UNDER_WAY),
            sa.or_(
                tasks.c.owner.not_in(living),
                sa.and_(tasks.c.owner == self.owner, tasks.c.touched_at < now - SETTLING_SECONDS),
            ),
        )
        query = sa.select(tasks.c.id).where(orphaned).order_by(tasks.c.created_at).limit(MOST_ADOPTED + len(running))
        found = connection.execute(query.with_for_update(skip_locked=True)).scalars()
        ids = [task_id for task_id in found if task_id not in running][:MOST_ADOPTED]
        if ids:
            connection.execute(tasks.update().where(tasks.c.id.in_(ids)).values(owner=self.owner, touched_at=now))
        for task_id in ids:
            self.database.tell(connection, task_id)
        return ids

    async def move_lines(self) -> None:
        """Give places that fell free by time, or whose release was not heard of."""
        waiting = sa.select(tasks.c.lane).where(tasks.c.status == Status.QUEUED, tasks.c.stage == Stage.WAITING)
        lanes = await self.database.run(lambda connection: connection.execute(waiting.distinct()).scalars().all())
        for lane in lanes:
            if (places := self.places(lane)) is not None:
                await self.grant(lane, places)

    async def sweep(self) -> None:
        """Forget tasks past their time: first what they made, much later that they were."""
        expired, files = await self.database.run(self._expire)
        if files:
            await self.forget_files(files)
        if expired:
            await self.engine.forget(list(expired))
        await self.database.run(self._remove)
        await self.sweep_files()

    def _expire(self, connection: sa.Connection) -> tuple[Sequence[str], Sequence[str]]:
        now = self.database.now(connection)
        due = sa.and_(tasks.c.stage == Stage.ENDED, tasks.c.expires_at < now)
        rows = connection.execute(sa.select(tasks).where(due).limit(MOST_FORGOTTEN)).all()
        forget(connection, [row.id for row in rows])
        files = [name for row in rows for name in json.loads(row.inputs) + json.loads(row.results)]
        return [row.id for row in rows], files

    def _remove(self, connection: sa.Connection) -> None:
        now = self.database.now(connection)
        gone = sa.and_(
            tasks.c.stage == Stage.EXPIRED, tasks.c.expires_at < now - (REMEMBERED_TIMES - 1) * self.ttl_seconds
        )
        connection.execute(tasks.delete().where(gone))
        connection.execute(idempotency.delete().where(idempotency.c.created_at < now - IDEMPOTENCY_SECONDS))
        connection.execute(replicas.delete().where(replicas.c.seen_at < now - 100 * DEAD_SECONDS))


def forget(connection: sa.Connection, task_ids: Sequence[str]) -> None:
    """Leave of tasks only that they were."""
    if not task_ids:
        return
    empty: dict[str, Any] = dict.fromkeys(("request", "prepared", "report", "reply", "error", "webhook"))
    empty |= {"stage": Stage.EXPIRED, "inputs": "[]", "results": "[]"}
    connection.execute(tasks.update().where(tasks.c.id.in_(task_ids)).values(empty))
    connection.execute(events.delete().where(events.c.task_id.in_(task_ids)))
    connection.execute(idempotency.delete().where(idempotency.c.task_id.in_(task_ids)))
    deliveries.forget(connection, task_ids)

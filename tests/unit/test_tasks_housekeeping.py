"""Housekeeping: a process is seen to live, its tasks are taken up when it does not, and a bad moment passes."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
import sqlalchemy as sa

from engines import InlineExecutor
from house import House
from imgapi.tasks.housekeeping import ALONE_BEAT_SECONDS, SWEEP_SECONDS
from imgapi.tasks.lanes import DEAD_SECONDS
from imgapi.tasks.tables import replicas, tasks


class Absent(InlineExecutor):
    """A database that is away for a while."""

    is_away = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it, or fail as a driver does."""
        if self.is_away:
            future: Future[Any] = Future()
            future.set_exception(sa.exc.OperationalError("", {}, ConnectionError("away")))
            return future
        return super().submit(fn, *args, **kwargs)


class Filling(InlineExecutor):
    """A database whose disk is full from some transaction on: it can be read, and not written."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__()
        self._engine = engine
        self.full_in = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it."""
        self.full_in -= 1
        if self.full_in == 0:
            self.fill()
        return super().submit(fn, *args, **kwargs)

    def fill(self, *, is_full: bool = True) -> None:
        """Refuse to write, or no longer."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA query_only = {is_full:d}")


async def seen(house: House) -> dict[str, float]:
    """When each process was last seen."""
    query = sa.select(replicas.c.id, replicas.c.seen_at)
    return await house.database.run(lambda connection: {row.id: row.seen_at for row in connection.execute(query)})


async def start(house: House) -> None:
    """Keep house on virtual time."""
    await house.engine.launch(house.runner.life)
    house._is_open = True
    await house.housekeeping.start()


async def test_a_living_process_is_seen() -> None:
    """Its row is renewed often enough that nobody takes it for dead, and struck off when it stops."""
    house = House()
    await start(house)
    for _ in range(20):
        await house.clock.advance(1.0)
        assert house.clock.time() - (await seen(house))["first"] <= ALONE_BEAT_SECONDS < DEAD_SECONDS / 2
    await house.housekeeping.close()
    assert await seen(house) == {}
    await house.clock.advance(60.0)
    assert await seen(house) == {}


async def test_who_opens_a_file_is_alone() -> None:
    """On a file of its own a process takes everything up at once, without waiting until the last one counts as dead."""
    house = House()
    task_id = await house.accept()
    await house.engine.close()
    following = House(house, owner="second")
    await start(following)
    assert list(await seen(house)) == ["second"]
    await following.clock.settle()
    assert (await following.record(task_id)).owner == "second"
    assert following.log.named("task taken up") == [{"subject": task_id}]
    await following.housekeeping.close()


async def test_the_living_leave_each_other_alone() -> None:
    """A process beside another takes nothing up as long as that one is seen, and all of it soon after."""
    first = House()
    await first.open()
    second = House(first, owner="second", is_beside=True)
    await second.open()
    task_id = await first.accept()
    await second.housekeeping.adopt()
    assert not second.log.named("task taken up")
    await first._live_until(first.clock.time())
    first.clock.jump(DEAD_SECONDS - 0.5)
    await second.housekeeping.adopt()
    assert not second.log.named("task taken up")
    first.clock.jump(1.0)
    await second.housekeeping.adopt()
    assert second.log.named("task taken up") == [{"subject": task_id}]


async def test_a_task_is_taken_up_by_one() -> None:
    """Of two who find the same dead process, one has its tasks."""
    first = House()
    await first.open()
    second, third = (House(first, owner=owner, is_beside=True) for owner in ("second", "third"))
    begun = [await first.accept() for _ in range(4)]
    for house in (second, third):
        await house.open()
    await first.die()
    for house in (second, third):
        await house.housekeeping.adopt()
    assert len(second.log.named("task taken up")) == 4
    assert not third.log.named("task taken up")
    for task_id in begun:
        assert (await third.end(task_id))["status"] == "succeeded"
    assert len(first.upstream.submits) == 4


async def test_a_bad_moment_passes() -> None:
    """While the database is away each round is reported and nothing ends; afterwards all goes on."""
    house = House()
    executor = house.database._executor = Absent()
    await start(house)
    executor.is_away = True
    await house.clock.advance(4 * ALONE_BEAT_SECONDS)
    executor.is_away = False
    assert len(house.log.named("housekeeping failed")) == 4
    begun = house.clock.time()
    await house.clock.advance(2 * ALONE_BEAT_SECONDS)
    assert (await seen(house))["first"] > begun
    await house.housekeeping.close()


@pytest.mark.parametrize("calls", range(1, 16))
async def test_a_task_outlives_an_outage_at_any_moment(calls: int) -> None:
    """A disk that is full for half a minute, from any transaction on, neither ends the task nor pays twice."""
    house = House()
    executor = house.database._executor = Filling(house.database.engine)
    await start(house)
    task_id = await house.accept()
    executor.full_in = calls
    await house.clock.advance(0.5)
    executor.fill()
    await house.clock.advance(30.0)
    executor.full_in = 0
    executor.fill(is_full=False)
    await house.clock.advance(120.0)
    assert (await house.record(task_id)).status == "succeeded"
    assert len(house.upstream.submits) == 1
    await house.housekeeping.close()


async def test_rounds_sweep_now_and_then() -> None:
    """Old tasks and files are looked for at the start and about once a minute, not with each beat."""
    house = House()
    sweeps: list[float] = []

    async def sweep() -> None:
        sweeps.append(house.clock.monotonic())

    house.housekeeping.sweep_files = sweep
    await start(house)
    await house.clock.advance(10 * SWEEP_SECONDS)
    assert 9 <= len(sweeps) <= 11
    await house.housekeeping.close()


async def test_a_place_that_falls_free_by_time_is_given() -> None:
    """A waiting task whose wake-up was lost gets its place with the next round."""
    house = House()
    await start(house)
    begun = [await house.accept() for _ in range(3)]
    await house.clock.advance(2.0)
    # As a process does that dies between freeing a place and telling of it.
    free = tasks.update().where(tasks.c.id == begun[0]).values(has_place=False)
    await house.database.run(lambda connection: connection.execute(free))
    await house.clock.advance(ALONE_BEAT_SECONDS + 0.6)
    assert len(house.upstream.submits) == 3
    await house.housekeeping.close()

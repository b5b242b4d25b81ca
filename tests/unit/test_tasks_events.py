"""Events: what happens to a task is told in order, once, and with the task as it stands."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import Any

import pytest
import sqlalchemy as sa

from engines import InlineExecutor
from fakes import refuses
from house import House
from imgapi.contract.edits import RemoveBgRequest
from imgapi.errors import ResultExpired, TaskNotFound
from imgapi.tasks import ledger
from imgapi.tasks.record import UNDER_WAY, Payer, Status, Terms
from imgapi.tasks.run import KEEP_ALIVE_SECONDS, Event
from imgapi.tasks.tables import tasks

MODEL = "wanx2.1-imageedit"


class Follower:
    """Follows a task in the background, and remembers when it was told what."""

    def __init__(self, house: House, events: AsyncIterator[Event | None]) -> None:
        self.told: list[tuple[float, Event | None]] = []
        self._house = house
        self.work = asyncio.create_task(self._follow(events))

    async def _follow(self, events: AsyncIterator[Event | None]) -> None:
        async for event in events:
            self.told.append((self._house.clock.monotonic(), event))

    @property
    def events(self) -> list[Event]:
        """What was told, silences left out."""
        return [event for _, event in self.told if event is not None]

    @property
    def numbered(self) -> list[tuple[int, str]]:
        """What happened, looks left out."""
        return [(event.number, event.name) for event in self.events if event.number is not None]

    @property
    def silences(self) -> list[float]:
        """When it was only told that somebody is still there."""
        return [instant for instant, event in self.told if event is None]


async def follow(house: House, task_id: str, after: int = 0, caller: str = "") -> Follower:
    """Follow a task."""
    return Follower(house, await house.runner.events(task_id, caller, after))


LIFE = [(1, "queued"), (2, "submitted"), (3, "running"), (4, "succeeded")]


async def test_a_life_is_told_in_order() -> None:
    """Queued, submitted, running, succeeded: numbered from one, each when it happens, the last with the body."""
    house = House()
    task_id = await house.accept()
    follower = await follow(house, task_id)
    await house.clock.run(follower.work)
    assert follower.numbered == LIFE
    last = follower.events[-1].task
    assert last == await house.runner.view(task_id)
    assert last["results"]
    assert last["task_status"] == "SUCCEEDED"
    assert follower.told[0][0] == 0.0
    assert 9.0 <= follower.told[-1][0] < 12.0


async def test_a_waiting_task_hears_of_its_place() -> None:
    """While it waits each change of its position is told, without a number, the first included."""
    house = House()
    begun = [await house.accept() for _ in range(5)]
    follower = await follow(house, begun[4])
    await house.clock.run(follower.work)
    assert follower.numbered == LIFE
    queued = [event.task["queue_position"] for event in follower.events if event.name == "queued"]
    assert queued[0] >= 3
    assert queued == sorted(set(queued), reverse=True)
    assert queued[-1] == 1


@pytest.mark.parametrize("after", range(5))
async def test_a_follower_goes_on_after_the_last_it_saw(after: int) -> None:
    """What came after the number is told, and nothing twice; after the last there is nothing more."""
    house = House()
    task_id = (await house.run()).task_id
    follower = await follow(house, task_id, after)
    await house.clock.run(follower.work)
    assert follower.numbered == LIFE[after:]


async def test_a_follower_that_comes_back_misses_nothing() -> None:
    """Cut off while the task runs and back later, a follower hears the rest once."""
    house = House()
    task_id = await house.accept()
    first = await follow(house, task_id)
    await house.clock.advance(3.0)
    first.work.cancel()
    assert first.numbered == LIFE[:3]
    await house.clock.advance(60.0)
    second = await follow(house, task_id, first.numbered[-1][0])
    await house.clock.run(second.work)
    assert second.numbered == LIFE[3:]


async def test_silence_is_broken() -> None:
    """While nothing happens for long a word is sent every so often, so that no proxy cuts the line."""
    house = House()
    house.upstream.run_seconds = 100.0
    follower = await follow(house, await house.accept())
    await house.clock.run(follower.work)
    assert 5 <= len(follower.silences) <= 6
    gaps = [late - early for early, late in zip([0.0, *follower.silences], follower.silences, strict=False)]
    assert all(gap <= KEEP_ALIVE_SECONDS + 1.0 for gap in gaps)


async def test_a_long_wait_in_line_is_not_silent() -> None:
    """A task whose place does not move is kept company too."""
    house = House()
    house.upstream.run_seconds = 200.0
    begun = [await house.accept() for _ in range(3)]
    follower = await follow(house, begun[2])
    await house.clock.advance(100.0)
    assert 5 <= len(follower.silences) <= 6
    follower.work.cancel()


async def test_a_failure_is_told_with_its_error() -> None:
    """The last event of a task that failed has the documented error's fields."""
    house = House()
    house.upstream.scripts[MODEL] = [refuses(400, "DataInspectionFailed")]
    follower = await follow(house, await house.accept())
    await house.clock.run(follower.work)
    assert follower.numbered == [(1, "queued"), (2, "failed")]
    assert follower.events[-1].task["code"] == "content_refused"
    assert follower.events[-1].task["billed"] is False


async def test_a_cancel_is_told() -> None:
    """Who follows a task that is canceled hears of it at once, and that is the end."""
    house = House()
    begun = [await house.accept() for _ in range(3)]
    follower = await follow(house, begun[2])
    await house.clock.advance(3.0)
    await house.runner.cancel(begun[2])
    await house.clock.settle()
    assert follower.work.done()
    assert follower.numbered == [(1, "queued"), (2, "canceled")]
    assert follower.events[-1].task["status"] == "canceled"


async def test_a_local_edit_is_told_as_well() -> None:
    """What runs here is never submitted: queued, running, succeeded."""
    house = House()
    follower = await follow(house, await house.accept("remove_bg", RemoveBgRequest(image_url="https://e.test/a.png")))
    await house.clock.run(follower.work)
    assert follower.numbered == [(1, "queued"), (2, "running"), (3, "succeeded")]


async def test_many_follow_one_task() -> None:
    """Every follower hears everything."""
    house = House()
    task_id = await house.accept()
    followers = [await follow(house, task_id) for _ in range(20)]
    await house.clock.run(asyncio.gather(*(follower.work for follower in followers)))
    assert [follower.numbered for follower in followers] == [LIFE] * 20
    assert not house.runner.changes._watches


async def test_a_stop_ends_the_stream() -> None:
    """When the service stops, followers are let go, to come back to the next process."""
    house = House()
    task_id = await house.accept()
    follower = await follow(house, task_id)
    await house.clock.advance(3.0)
    await house.stop()
    await house.clock.settle()
    assert follower.work.done()
    await house.die()
    following = House(house, owner="second")
    await following.open()
    again = await follow(following, task_id, follower.numbered[-1][0])
    await following.clock.run(again.work)
    assert follower.numbered + again.numbered == LIFE


async def test_what_is_not_there_is_not_followed() -> None:
    """An unknown task, another caller's and an expired one are told apart from silence."""
    house = House()
    task_id = await house.accept(terms=Terms(Payer("shop")))
    for unknown, caller in (("nothing", "shop"), (task_id, ""), (task_id, "other")):
        with pytest.raises(TaskNotFound):
            await follow(house, unknown, 0, caller)
    await house.clock.run(house.runner.hold(task_id, 1000.0))
    house.clock.jump(8 * 86400.0)
    await house.housekeeping.sweep()
    with pytest.raises(ResultExpired):
        await follow(house, task_id, 0, "shop")


class Interposing(InlineExecutor):
    """Runs something else once, right before one of the transactions that follow."""

    def __init__(self) -> None:
        self.left = 0
        self.other: Callable[[], object] = lambda: None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run it."""
        self.left -= 1
        if self.left == 0:
            self.other()
        return super().submit(fn, *args, **kwargs)


@pytest.mark.parametrize("transaction", range(1, 8))
async def test_the_last_event_has_the_body_whatever_comes_between(transaction: int) -> None:
    """A task that ends between two looks of its follower is told once, and never without its final body."""
    house = House()
    task_id = await house.accept()
    await house.clock.advance(3.0)
    executor = house.database._executor = Interposing()
    follower = await follow(house, task_id)
    executor.other, executor.left = (lambda: end(house, task_id)), transaction
    await house.clock.advance(300.0)
    assert follower.work.done()
    last = follower.events[-1]
    assert last.name in {"succeeded", "canceled"}
    assert last.task["status"] == last.name
    assert follower.numbered == [*LIFE[:3], (4, last.name)]


def end(house: House, task_id: str) -> None:
    """End a task within the transaction of another, as a second process could between two of the first."""

    def work(connection: sa.Connection) -> None:
        row = ledger._end_row(ledger.End(Status.CANCELED, "false"), house.clock.time(), 1000.0)
        under_way = sa.and_(tasks.c.id == task_id, tasks.c.status.in_(UNDER_WAY))
        if connection.execute(tasks.update().where(under_way).values(row)).rowcount:
            ledger._add_events(connection, task_id, house.clock.time(), "canceled")

    house.database._transact(work)
    house.runner.changes.tell(task_id)

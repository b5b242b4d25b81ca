"""The stages of a task: wherever a process dies, the next one goes on from there and never submits twice."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, cast

import httpx
import pytest

from engines import PlainEngine
from fakes import Step, slowly
from house import House, StandInKeeper
from imgapi.contract.fields import Request
from imgapi.tasks.housekeeping import SETTLING_SECONDS
from imgapi.tasks.keeping import Kept
from imgapi.tasks.record import Stage

if TYPE_CHECKING:
    from imgapi.tasks.keeping import Keeper

MODEL = "wanx2.1-imageedit"
PLACES = 2


class SlowKeeper(StandInKeeper):
    """Takes a minute for each picture."""

    def __init__(self, house: House) -> None:
        self._clock = house.clock
        self.kept = 0

    async def keep(self, urls: Sequence[str]) -> Kept:
        """Keep pictures, slowly."""
        await self._clock.sleep(60.0)
        self.kept += 1
        return await super().keep(urls)


def slow_house() -> House:
    """A house that takes its time to keep results."""
    house = House()
    house.runner.life.keeper = cast("Keeper", SlowKeeper(house))
    return house


async def bring_to(house: House, stage: Stage) -> str:
    """Start a task and let it come to a stage."""
    if stage is Stage.WAITING:
        for _ in range(PLACES):
            await house.accept()
    if stage is Stage.SUBMITTING:
        house.upstream.scripts[MODEL] = [slowly(house.clock, 600.0, refuse_nothing(house))]
    task_id = await house.accept()
    if stage is not Stage.ACCEPTED:
        await house.clock.advance(30.0 if stage is Stage.MADE else 3.0)
    assert (await house.record(task_id)).stage is stage
    return task_id


def refuse_nothing(house: House) -> Step:
    """Answer as the upstream accepts."""

    async def step(_request: httpx.Request) -> httpx.Response:
        return house.upstream.accept()

    return step


# What must be true after the restart: the status, whether it is billed, and how often that task was submitted.
ENDS = {
    Stage.ACCEPTED: ("succeeded", True, 1),
    Stage.WAITING: ("succeeded", True, 1),
    Stage.SUBMITTING: ("failed", "unknown", 1),
    Stage.SUBMITTED: ("succeeded", True, 1),
    Stage.MADE: ("succeeded", True, 1),
}


@pytest.mark.parametrize("stage", ENDS)
async def test_a_task_goes_on_from_the_stage_it_was_left_at(stage: Stage) -> None:
    """Whatever a dead process had done of a task is not done again, and what it had not done is."""
    house = slow_house()
    task_id = await bring_to(house, stage)
    others = PLACES if stage is Stage.WAITING else 0
    await house.die()
    house.upstream.scripts.clear()
    following = House(house, owner="second")
    await following.open()
    end = await following.end(task_id)
    await following.clock.advance(60.0)
    assert (end["status"], end["billed"], len(house.upstream.submits) - others) == ENDS[stage]
    assert following.log.named("task taken up")


@pytest.mark.parametrize("stage", ENDS)
async def test_a_task_survives_one_death_after_the_other(stage: Stage) -> None:
    """Three processes that die at the same stage leave the fourth no more and no less to do than the first would."""
    house = slow_house()
    task_id = await bring_to(house, stage)
    submits = len(house.upstream.submits)
    for owner in ("second", "third", "fourth"):
        await house.die()
        house = House(house, owner=owner)
        await house.open()
    end = await house.end(task_id)
    assert (end["status"], end["billed"]) == ENDS[stage][:2]
    assert len(house.upstream.submits) == submits + (stage in {Stage.ACCEPTED, Stage.WAITING})


async def test_a_lost_task_is_told_with_its_code() -> None:
    """A submit that was cut off ends as `task_lost`, in a sentence that says what may have happened."""
    house = House()
    task_id = await bring_to(house, Stage.SUBMITTING)
    await house.die()
    following = House(house, owner="second")
    await following.open()
    end = await following.end(task_id)
    assert end["code"] == "task_lost"
    assert "may have been started upstream" in end["error"]
    assert end["usage"] == {"images": 0, "list_price_cny": 0.0}


async def test_a_long_sleep_loses_no_result() -> None:
    """A task that ended upstream while nobody lived for a day is still looked at, and its result told."""
    house = House(deadline_seconds=3600.0)
    task_id = await bring_to(house, Stage.SUBMITTED)
    await house.die()
    house.clock.jump(86_400.0)
    following = House(house, owner="second", deadline_seconds=3600.0)
    await following.open()
    assert (await following.end(task_id))["status"] == "succeeded"


@pytest.mark.parametrize("stage", [Stage.WAITING, Stage.SUBMITTED])
async def test_a_life_that_stopped_alone_is_taken_up_by_its_own_process(stage: Stage) -> None:
    """A life that ended without its task is begun again after a moment, in the process that had it."""
    house = House()
    task_id = await bring_to(house, stage)
    house.engine.lives[task_id].cancel()
    await house.clock.settle()
    await house.housekeeping.adopt()
    assert task_id not in house.engine.running
    house.clock.jump(SETTLING_SECONDS + 0.1)
    await house.housekeeping.adopt()
    assert task_id in house.engine.running
    assert (await house.end(task_id))["status"] == "succeeded"


async def test_a_life_that_goes_on_is_left_alone() -> None:
    """A task that has been running for long is not begun a second time."""
    house = House()
    house.upstream.run_seconds = 300.0
    await bring_to(house, Stage.SUBMITTED)
    await house.clock.advance(100.0)
    await house.housekeeping.adopt()
    assert not house.log.named("task taken up")


async def test_a_sleeper_that_wakes_up_does_nothing_twice() -> None:
    """A process that was only paused finds its tasks taken over, and submits none of them."""
    first = House()
    task_id = await bring_to(first, Stage.WAITING)
    second = House(first, owner="second", is_beside=True)
    await second.open()
    await first._live_until(0.0)
    await second.housekeeping.adopt()
    await first._live_until(1e12)
    assert (await second.end(task_id))["status"] == "succeeded"
    assert len(first.upstream.submits) == PLACES + 1
    assert task_id not in first.engine.running


async def test_who_has_lost_a_task_leaves_its_files_alone() -> None:
    """The pictures of a task that another process has taken over are still needed there."""
    first = House()
    await first.open()
    first.runner.store_inputs = stored("picture")
    task_id = await bring_to(first, Stage.WAITING)
    second = House(first, owner="second", is_beside=True)
    await second.open()
    await first._live_until(0.0)
    await second.housekeeping.adopt()
    await first.clock.settle()
    assert task_id not in first.engine.running
    assert first.forgotten == []
    await second.end(task_id)
    await second.clock.settle()
    assert "picture" in second.forgotten


def stored(name: str) -> Callable[[Request], Awaitable[tuple[Request, Sequence[str]]]]:
    """Keep the pictures of requests under a name."""

    async def store(request: Request) -> tuple[Request, Sequence[str]]:
        return request, [name]

    return store


class BrokenEngine(PlainEngine):
    """Fails to start lives; can resume them."""

    async def start(self, task_id: str) -> None:
        """Fail."""
        raise OSError(f"{task_id}: the database is away")

    async def resume(self, task_id: str) -> None:
        """Begin a life."""
        await super().start(task_id)


async def test_a_task_that_could_not_be_begun_is_begun_later() -> None:
    """An engine that fails to start a life loses no task: it is recorded, and housekeeping begins it."""
    house = House()
    house.engine = house.runner.engine = house.housekeeping.engine = BrokenEngine()
    task_id = await house.accept()
    assert house.log.named("task not begun")
    await house.clock.advance(SETTLING_SECONDS + 1.0)
    assert house.upstream.submits == []
    await house.housekeeping.adopt()
    assert (await house.end(task_id))["status"] == "succeeded"


async def test_accepting_goes_on_while_lives_are_resumed() -> None:
    """Tasks that are accepted during a restart don't overtake those that were left waiting."""
    house = House()
    left = [await house.accept() for _ in range(4)]
    await house.clock.advance(2.0)
    await house.die()
    following = House(house, owner="second")
    await following.open()
    late = await following.accept()
    await following.clock.run(asyncio.gather(*(following.runner.hold(each, 1000.0) for each in [*left, late])))
    instants = [(await following.record(each)).submitted_at or 0.0 for each in [*left, late]]
    assert instants == sorted(instants)

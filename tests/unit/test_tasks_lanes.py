"""Lanes: places, turns and pace that all processes of an account keep together."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import VirtualClock, busiest_second, make_pace, open_database
from house import FIX, URL, House
from imgapi.contract.edits import ChangeBgRequest, RemoveWatermarkRequest
from imgapi.edits.models import LIMITS
from imgapi.errors import QueueTooLong
from imgapi.tasks import lanes
from imgapi.tasks.record import Payer, Terms


async def test_turns_are_spaced_for_all_who_name_the_lane() -> None:
    """Two processes together never pass a lane's pace, in any second, and use it up."""
    clock = VirtualClock()
    database = open_database(clock)
    paces = [make_pace(clock, 17.0, database), make_pace(clock, 17.0, database)]
    instants: list[float] = []

    async def go(number: int) -> None:
        await paces[number % 2].wait()
        instants.append(clock.monotonic())

    await clock.run(asyncio.gather(*(go(number) for number in range(170))))
    assert min(later - earlier for earlier, later in pairwise(instants)) >= 1 / 17 - 1e-6
    assert busiest_second(instants) <= 18
    assert instants[-1] == pytest.approx(169 / 17, abs=0.01)


@given(st.lists(st.floats(min_value=0, max_value=0.4), min_size=1, max_size=60))
def test_no_second_is_ever_too_busy(gaps: list[float]) -> None:
    """However calls arrive, no window of one second holds more than the limit and one."""

    async def scene() -> int:
        clock = VirtualClock()
        pace = make_pace(clock, 5.0)
        instants: list[float] = []

        async def one() -> None:
            await pace.wait()
            instants.append(clock.monotonic())

        tasks = []
        for gap in gaps:
            await clock.advance(gap)
            tasks.append(asyncio.create_task(one()))
        await clock.run(asyncio.gather(*tasks))
        return busiest_second(instants)

    assert asyncio.run(scene()) <= 6


async def test_an_idle_lane_saves_nothing_up() -> None:
    """After a pause the pace is the same: no burst."""
    clock = VirtualClock()
    pace = make_pace(clock, 2.0)
    await clock.run(pace.wait())
    clock.jump(60.0)
    begun = clock.monotonic()
    for _ in range(3):
        await clock.run(pace.wait())
    assert clock.monotonic() - begun == pytest.approx(1.0)


async def test_a_lane_slows_down_when_told_to_and_recovers() -> None:
    """Too many requests halve the pace of the lane, more of them quarter it, and it ends."""
    clock = VirtualClock()
    pace = make_pace(clock, 10.0)

    async def measure() -> float:
        await clock.run(pace.wait())
        begun = clock.monotonic()
        await clock.run(pace.wait())
        return clock.monotonic() - begun

    assert await measure() == pytest.approx(0.1)
    await pace.slow_down(5.0)
    assert await measure() == pytest.approx(0.2)
    await pace.slow_down(5.0)
    assert await measure() == pytest.approx(0.4)
    clock.jump(10.0)
    assert await measure() == pytest.approx(0.1)


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
async def test_a_clock_that_is_set_does_not_stop_a_lane(jump: float) -> None:
    """An hour forth or back costs a turn or two, not an hour."""
    clock = VirtualClock()
    pace = make_pace(clock, 2.0)
    for _ in range(3):
        await clock.run(pace.wait())
    clock.wall_offset += jump
    begun = clock.monotonic()
    for _ in range(3):
        await clock.run(pace.wait())
    assert clock.monotonic() - begun < 3.0


def terms(name: str) -> Terms:
    """The terms of one caller's requests."""
    return Terms(Payer(name))


async def submits_by(house: House, callers: list[str]) -> list[str]:
    """Start a task for each caller in turn; return whose submits came in which order."""
    begun = [await house.accept(terms=terms(name)) for name in callers]
    for task_id in begun:
        await house.clock.run(house.runner.hold(task_id, 100_000.0))
    records = [await house.record(task_id) for task_id in begun]
    ordered = sorted(records, key=lambda record: record.submitted_at or 0.0)
    return [record.caller for record in ordered]


async def test_tasks_start_in_order() -> None:
    """Of one caller's tasks the first accepted is the first submitted."""
    house = House()
    begun = [await house.accept() for _ in range(6)]
    for task_id in begun:
        await house.clock.run(house.runner.hold(task_id, 100_000.0))
    starts = [(await house.record(task_id)).submitted_at for task_id in begun]
    assert starts == sorted(starts, key=lambda start: start or 0.0)


async def test_callers_take_turns() -> None:
    """Who comes after a caller's heap of tasks is served between them, not behind them."""
    order = await submits_by(House(), ["heap"] * 10 + ["one", "two"])
    assert order.index("one") <= 5
    assert order.index("two") <= 6


async def test_two_processes_share_the_places() -> None:
    """Never more run than the account allows, whichever process they were accepted by, and turns go across both."""
    first = House()
    await first.open()
    second = House(first, owner="second", is_beside=True)
    most = 0

    def count() -> None:
        nonlocal most
        running = [task for task in first.upstream.simulator.tasks.values() if task.ends > first.clock.monotonic()]
        most = max(most, len(running) + 1)

    first.upstream.before_submit = count
    begun = [await house.accept() for _ in range(4) for house in (first, second)]
    for task_id in begun:
        await first.clock.run(first.runner.hold(task_id, 100_000.0))
    assert most == 2
    assert len(first.upstream.submits) == 8


async def test_the_dead_hold_up_nobody() -> None:
    """Tasks of a process that is gone are passed over until they are taken up, and then have their turn."""
    first = House()
    await first.open()
    second = House(first, owner="second", is_beside=True)
    await second.open()
    left = [await first.accept() for _ in range(4)]
    await first.die()
    mine = await second.accept()
    assert (await second.end(mine))["status"] == "succeeded"
    second.clock.jump(lanes.DEAD_SECONDS + 1)
    await second.housekeeping.adopt()
    for task_id in left:
        end = await second.end(task_id)
        assert (end["status"], end["billed"]) in {("succeeded", True), ("failed", "unknown")}
    assert len(first.upstream.submits) <= 5


async def test_a_lost_submit_keeps_its_place_for_a_while() -> None:
    """What may run upstream counts as running until it has probably ended; then its place is free again."""
    house = House()

    async def hang(_request: Any) -> Any:
        await asyncio.Event().wait()

    house.upstream.scripts["wanx2.1-imageedit"] = [hang]
    lost = [await house.accept() for _ in range(2)]
    await house.clock.advance(2.0)
    await house.die()
    house.upstream.scripts.clear()
    following = House(house, owner="second")
    await following.open()
    for task_id in lost:
        assert (await following.end(task_id))["billed"] == "unknown"
    begun = following.clock.monotonic()
    waiting = await following.accept()
    await following.clock.advance(5.0)
    assert (await following.record(waiting)).submitted_at is None
    for _ in range(20):
        await following.clock.advance(1.0)
        await following.housekeeping.move_lines()
    assert (await following.record(waiting)).submitted_at is not None
    assert following.clock.monotonic() - begun < 26


async def test_a_line_that_is_too_long_refuses_before_anything_is_kept() -> None:
    """Who would wait longer than is allowed is told when to come again, and no task is recorded."""
    house = House(max_queue_seconds=30.0)
    await house.open()
    accepted = 0
    with pytest.raises(QueueTooLong) as caught:  # noqa: PT012 - which of them is refused is the question
        for _ in range(20):
            await house.runner.accept("fix", FIX)
            accepted += 1
    assert 4 <= accepted <= 10
    assert caught.value.retry_after > 0
    page = await house.runner.list("", status=None, operation=None, limit=100, cursor=None)
    assert len(page["tasks"]) == accepted


async def test_a_waiting_task_tells_its_place_and_its_time() -> None:
    """The position counts those ahead, and the estimate grows with it."""
    house = House()
    begun = [await house.accept() for _ in range(5)]
    await house.clock.advance(2.0)
    views = [await house.runner.view(task_id) for task_id in begun]
    assert [view["status"] for view in views] == ["running", "running", "queued", "queued", "queued"]
    assert [view["queue_position"] for view in views[2:]] == [1, 2, 3]
    estimates = [view["estimated_seconds"] for view in views[2:]]
    assert estimates == sorted(estimates)
    assert estimates[0] >= 9.0


async def test_each_model_has_a_line_of_its_own() -> None:
    """Tasks of one model wait for each other, whatever edit they are of, and not for those of another model."""
    house = House()
    edited = [await house.accept() for _ in range(3)]
    await house.accept("remove_watermark", RemoveWatermarkRequest(image_url=URL))
    await house.accept("change_bg", ChangeBgRequest(base_image_url=URL, ref_image_url=URL))
    await house.clock.advance(3.0)
    assert sorted(house.upstream.models) == ["wanx-background-generation-v2", *["wanx2.1-imageedit"] * 2]
    assert (await house.runner.view(edited[2]))["queue_position"] == 1


def test_documented_limits() -> None:
    """The limits of each model are those of docs/upstream.md#limits."""
    documented = {
        "wanx-background-generation-v2": (2, 1),
        "aitryon": (10, 5),
        "aitryon-plus": (10, 5),
        "wanx2.1-imageedit": (2, 2),
        "wan2.7-image": (5, 5),
    }
    assert {name: (LIMITS[name].submits_per_second, LIMITS[name].running) for name in documented} == documented
    assert LIMITS["qwen-image-2.0"].submits_per_second == 2

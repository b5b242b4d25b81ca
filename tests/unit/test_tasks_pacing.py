"""Pacing: spaced turns, bounded lines, places that are always given back."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import VirtualClock, busiest_second
from imgapi.edits.models import LIMITS, ModelLimits
from imgapi.errors import Overloaded
from imgapi.tasks.pacing import Lane, Pacing, Spacing


async def test_turns_are_spaced_and_in_order() -> None:
    """A burst is let through one at a time, in the order of the calls, never more than the limit in any second."""
    clock = VirtualClock()
    spacing = Spacing(clock, 17.0)
    passed: list[tuple[int, float]] = []

    async def one(number: int) -> None:
        await spacing.wait()
        passed.append((number, clock.monotonic()))

    await clock.run(asyncio.gather(*(one(number) for number in range(200))))
    assert [number for number, _ in passed] == list(range(200))
    assert busiest_second(instant for _, instant in passed) <= 18
    assert passed[-1][1] == pytest.approx(199 / 17)


@given(st.lists(st.floats(min_value=0, max_value=0.4), min_size=1, max_size=60))
def test_no_second_is_ever_too_busy(gaps: list[float]) -> None:
    """However calls arrive, no window of one second holds more than the limit and one."""

    async def scene() -> int:
        clock = VirtualClock()
        spacing = Spacing(clock, 5.0)
        instants: list[float] = []

        async def one() -> None:
            await spacing.wait()
            instants.append(clock.monotonic())

        tasks = []
        for gap in gaps:
            await clock.advance(gap)
            tasks.append(asyncio.create_task(one()))
        await clock.run(asyncio.gather(*tasks))
        return busiest_second(instants)

    assert asyncio.run(scene()) <= 6


async def test_an_idle_spacing_saves_nothing_up() -> None:
    """A long silence does not allow a burst."""
    clock = VirtualClock()
    spacing = Spacing(clock, 2.0)
    await clock.advance(100.0)
    instants = []
    for _ in range(3):
        await clock.run(spacing.wait())
        instants.append(clock.monotonic())
    assert instants == [100.0, 100.5, 101.0]


async def test_slowing_down_halves_the_pace_for_a_while() -> None:
    """After a complaint turns come half as often, a quarter after the next, and as before when the time is over."""
    clock = VirtualClock()
    spacing = Spacing(clock, 10.0)

    async def pace() -> float:
        await clock.run(spacing.wait())
        before = clock.monotonic()
        await clock.run(spacing.wait())
        return clock.monotonic() - before

    assert await pace() == pytest.approx(0.1)
    spacing.slow_down(5.0)
    assert await pace() == pytest.approx(0.2)
    spacing.slow_down(5.0)
    assert await pace() == pytest.approx(0.4)
    await clock.advance(5.0)
    assert await pace() == pytest.approx(0.1)


class Queue:
    """Tasks in one lane, and who holds a place."""

    def __init__(self, *, places: int, max_waiting: int) -> None:
        self.clock = VirtualClock()
        self.lane = Lane(Spacing(self.clock, 1000.0), places, max_waiting, usual_seconds=10.0)
        self.inside: list[int] = []
        self.entered: list[int] = []

    async def hold(self, number: int, seconds: float = 10.0) -> None:
        """Hold a place for some time."""
        async with self.lane.place():
            self.inside.append(number)
            self.entered.append(number)
            try:
                await self.clock.sleep(seconds)
            finally:
                self.inside.remove(number)

    def start(self, number: int) -> asyncio.Task[None]:
        """Ask for a place in the background."""
        return asyncio.create_task(self.hold(number))


async def test_places_are_bounded_and_first_come_first_served() -> None:
    """Never more than the model's places are held, and they pass on in the order of arrival."""
    queue = Queue(places=2, max_waiting=10)
    tasks = [queue.start(number) for number in range(6)]
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, len(queue.inside))
        await queue.clock.advance(1.0)
    assert most == 2
    assert queue.entered == [0, 1, 2, 3, 4, 5]
    assert queue.clock.monotonic() == pytest.approx(30.0)


async def test_a_full_line_refuses_at_once() -> None:
    """When the line is full the next task is refused without waiting, and told when to come again."""
    queue = Queue(places=1, max_waiting=2)
    tasks = [queue.start(number) for number in range(3)]
    await queue.clock.settle()
    with pytest.raises(Overloaded) as caught:
        await queue.hold(3)
    assert "nothing was started" in caught.value.message
    assert caught.value.retry_after == pytest.approx(30.0)
    await queue.clock.run(asyncio.gather(*tasks))
    await queue.clock.run(queue.hold(4))


async def test_who_gives_up_waiting_costs_nobody_a_place() -> None:
    """A canceled waiter leaves the line, and the others move up."""
    queue = Queue(places=1, max_waiting=5)
    tasks = [queue.start(number) for number in range(4)]
    await queue.clock.settle()
    tasks[1].cancel()
    await queue.clock.run(asyncio.gather(*tasks, return_exceptions=True))
    assert queue.entered == [0, 2, 3]


async def test_a_place_handed_to_someone_just_canceled_goes_on() -> None:
    """A place that passes to a waiter in the very moment of its cancel is given to the next."""
    queue = Queue(places=1, max_waiting=5)

    async def hold_then_cancel_the_next() -> None:
        await queue.hold(0)
        second.cancel()

    first = asyncio.create_task(hold_then_cancel_the_next())
    await queue.clock.settle()
    second, third = queue.start(1), queue.start(2)
    await queue.clock.run(asyncio.gather(first, second, third, return_exceptions=True))
    assert second.cancelled()
    assert queue.entered == [0, 2]


async def test_everyone_canceled_at_once_leaves_an_empty_lane() -> None:
    """When holder and waiters are canceled together each ends as canceled, and the place is free again."""
    queue = Queue(places=1, max_waiting=5)
    tasks = [queue.start(number) for number in range(4)]
    await queue.clock.settle()
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    await queue.clock.run(queue.hold(9))


async def test_a_failure_inside_gives_the_place_back() -> None:
    """An error of the one inside frees its place."""
    queue = Queue(places=1, max_waiting=0)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            async with queue.lane.place():
                raise RuntimeError
    await queue.clock.run(queue.hold(1))


def test_each_model_has_one_lane_of_its_own() -> None:
    """All edits of one model share its limits; another model has its own."""
    pacing = Pacing(VirtualClock(), {"a": ModelLimits(2, 1, 0.1), "b": ModelLimits(10, 5, 0.2)}, max_waiting=7)
    lane = pacing.lane("a", 12.0)
    assert lane is pacing.lane("a", 99.0)
    assert lane is not pacing.lane("b", 12.0)
    assert (lane.places, lane.max_waiting) == (1, 7)
    assert 1.8 < lane.spacing.per_second < 2, "a little below the model's rate"


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

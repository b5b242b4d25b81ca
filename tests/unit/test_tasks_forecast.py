"""The forecast: looks that are rare before the likely end and close around it, learned from what was seen."""

import asyncio
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import TaskSimulator, VirtualClock, busiest_second, client, make_pace
from imgapi.tasks.forecast import (
    FIRST_LOOK_SECONDS,
    LONGEST_SECONDS,
    PRIOR_SPREAD,
    SHORTEST_SECONDS,
    Forecast,
    RunTimes,
)
from imgapi.tasks.polling import Poller

# When the vendor's own SDK looks, in seconds after the submit.
VENDOR_LOOKS = (0, 1, 2, 4, 6, 8, 12, 16, 20, 25, 30, 35, 40, 45)
DOCUMENTED_SECONDS = (9.0, 12.0, 16.0, 21.0)


def learned(usual: float, *seen: float) -> RunTimes:
    """Make run times that have seen these."""
    times = RunTimes(usual)
    for seconds in seen:
        times.learn(seconds)
    return times


def looks_until(times: RunTimes, seconds: float) -> list[float]:
    """List when a task that runs for so long would be looked at, the look that sees its end included."""
    instants = [times.next_look(0.0)]
    while instants[-1] < seconds:
        instants.append(instants[-1] + times.next_look(instants[-1]))
    return instants


def test_nothing_learned_means_the_usual() -> None:
    """Before anything was seen the usual run time counts."""
    assert RunTimes(12.0).centre_and_spread() == pytest.approx((12.0, 1.8))


def test_what_is_seen_outweighs_the_usual() -> None:
    """A model that runs otherwise than documented is learned within a few tasks."""
    centre, spread = learned(12.0, 30.0, 31.0, 29.0, 30.0, 30.0).centre_and_spread()
    assert centre == pytest.approx(30.0)
    assert spread < PRIOR_SPREAD * 30.0


def test_one_outlier_changes_little() -> None:
    """A single stuck task does not spoil the forecast."""
    centre, spread = learned(12.0, *[12.0] * 9, 600.0).centre_and_spread()
    assert (centre, spread) == learned(12.0, *[12.0] * 10).centre_and_spread()


def test_impossible_run_times_are_not_learned() -> None:
    """Upstream times that run backwards teach nothing."""
    assert learned(12.0, -3.0).centre_and_spread() == RunTimes(12.0).centre_and_spread()


def test_the_memory_is_bounded_and_recent() -> None:
    """Old run times give way to new ones."""
    times = learned(12.0, *[10.0] * 100, *[20.0] * 64)
    assert len(times.seen) == 64
    assert times.centre_and_spread()[0] == 20.0


def test_the_first_look_is_early() -> None:
    """A refused picture ends a task at once, so one look comes early, and the next only near the likely end."""
    first, second, *_ = looks_until(learned(16.0, 16.0, 15.0, 17.0), 16.0)
    assert first == FIRST_LOOK_SECONDS
    assert 10.0 < second < 16.0


@pytest.mark.parametrize("seconds", [1.0, 2.0, 4.0, 7.0])
def test_an_unfamiliar_kind_may_end_far_sooner_than_usual(seconds: float) -> None:
    """Before enough was learned, a task that takes a part of the usual time is still seen within three seconds."""
    assert looks_until(RunTimes(21.0), seconds)[-1] - seconds <= 3.0


def test_a_task_that_began_a_little_later_is_not_looked_at_twice() -> None:
    """A first look made just before its instant, by the upstream's clock, counts as made."""
    assert learned(16.0, 16.0, 15.0, 17.0).next_look(FIRST_LOOK_SECONDS - 0.05) > 5.0


def test_short_tasks_are_not_overlooked() -> None:
    """A model that usually takes a second is looked at within a second."""
    assert looks_until(learned(15.0, *[1.0] * 20), 1.0)[-1] < 1.6


@given(
    st.floats(min_value=0.1, max_value=120),
    st.lists(st.floats(min_value=0, max_value=1000), max_size=70),
    st.floats(min_value=0, max_value=1000),
)
def test_every_pause_is_sensible(usual: float, seen: list[float], elapsed: float) -> None:
    """Whatever was seen, there is always a next look, never too soon, and past the likely end never too late."""
    times = learned(usual, *seen)
    pause = times.next_look(elapsed)
    centre, spread = times.centre_and_spread()
    assert pause >= SHORTEST_SECONDS or pause == pytest.approx(FIRST_LOOK_SECONDS - elapsed)
    assert pause > 0
    assert pause <= max(LONGEST_SECONDS, centre - elapsed, FIRST_LOOK_SECONDS)
    if elapsed >= centre + 2 * spread:
        assert pause <= LONGEST_SECONDS


def test_a_late_task_is_looked_at_ever_more_rarely() -> None:
    """A task that hangs for ten minutes costs some 150 looks, not thousands."""
    assert len(looks_until(RunTimes(12.0), 600.0)) < 170


def test_kinds_learn_apart() -> None:
    """Each kind of task has run times of its own."""
    forecast = Forecast()
    forecast.of("expand", 21.0).learn(30.0)
    assert forecast.of("expand", 21.0).seen
    assert not forecast.of("fix", 9.0).seen


class Fleet:
    """Tasks that follow each other on several tracks of a simulated upstream, and what their ends cost."""

    def __init__(self, *, tracks: int, tasks: int, learning: int, usual: tuple[float, ...], seed: int) -> None:
        self.clock = VirtualClock()
        self.upstream = TaskSimulator(self.clock)
        self.poller = Poller(client(self.upstream, self.clock), self.clock, make_pace(self.clock, 17.0))
        self.forecast = Forecast()
        self.random = random.Random(seed)  # noqa: S311 - a repeatable simulation
        self.usual, self.learning, self.tracks = usual, learning, tracks
        self.numbers = iter(range(tasks))
        self.delays: list[float] = []
        self.looks: list[int] = []
        self.vendor_looks: list[int] = []

    async def track(self) -> None:
        """Run one task after the other."""
        await self.clock.sleep(self.random.uniform(0.0, 10.0))
        for number in self.numbers:
            usual = self.random.choice(self.usual)
            task_id = f"t-{number}"
            self.upstream.submit(task_id, usual * self.random.uniform(0.85, 1.15))
            await self.poller.follow(task_id, self.forecast.of(str(usual), usual), deadline_seconds=600.0)
            if number >= self.learning:
                task = self.upstream.tasks[task_id]
                self.delays.append(self.clock.monotonic() - task.ends)
                self.looks.append(len(task.looks))
                self.vendor_looks.append(1 + sum(1 for look in VENDOR_LOOKS if look < task.ends - task.submitted))

    async def run(self) -> None:
        """Run all tracks to their end."""
        await self.clock.run(asyncio.gather(*(self.track() for _ in range(self.tracks))))


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_ends_are_seen_soon_and_cheaply(seed: int) -> None:
    """Ten in flight, after some learning: ends are seen within 0.5 s, with fewer looks than the vendor's."""
    fleet = Fleet(tracks=10, tasks=150, learning=40, usual=DOCUMENTED_SECONDS, seed=seed)
    await fleet.run()
    assert statistics.mean(fleet.delays) < 0.5
    assert statistics.mean(fleet.looks) <= statistics.mean(fleet.vendor_looks)
    assert busiest_second(fleet.upstream.queries) < 20
    assert not fleet.upstream.lists, "ten tasks are no crowd"


async def test_two_hundred_in_flight_stay_below_the_accounts_limit() -> None:
    """Two hundred in flight: never 20 queries in a second, lists stand for looks, ends seen within 2 s."""
    fleet = Fleet(tracks=200, tasks=700, learning=200, usual=DOCUMENTED_SECONDS, seed=1)
    await fleet.run()
    assert busiest_second(fleet.upstream.queries) < 20
    assert statistics.mean(fleet.delays) < 2.0
    assert fleet.upstream.lists
    assert len(fleet.upstream.queries) < 2 * 700

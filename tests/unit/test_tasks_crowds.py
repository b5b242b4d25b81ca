"""Many tasks at once, on virtual time: the account's limit holds, and the list stands for many looks."""

import asyncio
import random
import statistics

import httpx
import pytest

from fakes import PollingScene, SimulatedTask, TaskSimulator, VirtualClock, answers, busiest_second, fails, refuses
from imgapi.dashscope.wire import TaskStatus
from imgapi.errors import StillRunning
from imgapi.tasks.forecast import RunTimes
from imgapi.tasks.polling import CROWD


async def test_a_hanging_list_delays_nobody_for_long() -> None:
    """In a crowd, a list call that hangs for 15 s does not hold back looks or deadlines."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)

    async def upstream(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/tasks"):
            await clock.sleep(15.0)
            return httpx.Response(504)
        return await simulator(request)

    scene = PollingScene(upstream, clock)
    names = [f"t-{number}" for number in range(30)]
    for name in names:
        simulator.submit(name, 12.0)
    tasks = [scene.follow(name) for name in names]
    stuck = scene.follow("never-there", deadline=8.0)
    with pytest.raises(StillRunning):
        await clock.run(stuck)
    assert clock.monotonic() < 9.0
    await clock.run(asyncio.gather(*tasks))
    assert clock.monotonic() < 20.0


async def test_a_crowd_is_looked_at_through_the_list() -> None:
    """Many tasks due at once cost a few list calls and one look each when they have ended."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)
    scene = PollingScene(simulator, clock)
    names = [f"t-{number}" for number in range(150)]
    delays = []

    async def watch(name: str) -> None:
        await scene.follow(name)
        delays.append(clock.monotonic() - simulator.tasks[name].ends)

    rng = random.Random(5)  # noqa: S311 - a repeatable simulation
    for name in names:
        simulator.submit(name, rng.uniform(10.0, 25.0))
    await clock.run(asyncio.gather(*(watch(name) for name in names)))
    assert simulator.lists
    # 1.48 to 1.51: which of those due at one instant is looked at first is open.
    assert statistics.mean(delays) < 1.6
    assert sum(len(task.looks) for task in simulator.tasks.values()) < 2 * len(names)
    assert busiest_second(simulator.queries) < 20


async def test_a_crowd_in_the_queue_upstream_is_looked_at_through_the_list_too() -> None:
    """Many tasks that wait upstream for minutes don't use up the looks that finished tasks need."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)
    scene = PollingScene(simulator, clock)
    delays = []

    async def watch(name: str) -> None:
        await scene.follow(name)
        delays.append(clock.monotonic() - simulator.tasks[name].ends)

    for number in range(120):
        simulator.submit(f"t-{number}", 12.0, pending_seconds=0.04 + 1.0 * number)
    await clock.run(asyncio.gather(*(watch(name) for name in list(simulator.tasks))))
    assert statistics.mean(delays) < 1.5
    assert busiest_second(simulator.queries) < 20
    # Alone, each would be looked at every two seconds for a minute and more.
    assert sum(len(task.looks) for task in simulator.tasks.values()) < 13 * 120


class StagedSimulator(TaskSimulator):
    """An upstream whose tasks show a status of their own in their last three seconds, as try-ons do."""

    def _status(self, task: SimulatedTask) -> str:
        status = super()._status(task)
        return "POST-PROCESSING" if status == "RUNNING" and task.ends - self.clock.monotonic() < 3.0 else status


async def test_a_late_stage_is_looked_at_through_the_list_too() -> None:
    """Tasks that are no longer RUNNING and have not ended yet are not looked at one by one either."""
    clock = VirtualClock()
    simulator = StagedSimulator(clock)
    scene = PollingScene(simulator, clock)
    rng = random.Random(5)  # noqa: S311 - a repeatable simulation
    for number in range(100):
        simulator.submit(f"t-{number}", rng.uniform(12.0, 20.0))
    times = RunTimes(16.0)
    times.seen.extend([14.0, 16.0, 18.0])
    follow = scene.poller.follow
    await clock.run(asyncio.gather(*(follow(name, times, deadline_seconds=60.0) for name in list(simulator.tasks))))
    assert times.has_late_stage
    assert sum(len(task.looks) for task in simulator.tasks.values()) < 1.5 * 100


async def test_a_list_that_is_refused_is_no_loss() -> None:
    """Where the list can't be had, every task is looked at by itself, within the limit."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)

    async def upstream(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/tasks"):
            simulator.queries.append(clock.monotonic())
            return httpx.Response(403, json={"code": "AccessDenied", "message": ""})
        return await simulator(request)

    scene = PollingScene(upstream, clock)
    for number in range(60):
        simulator.submit(f"t-{number}", 12.0 + number / 10)
    await clock.run(asyncio.gather(*(scene.follow(name) for name in list(simulator.tasks))))
    assert clock.monotonic() < 30.0
    assert busiest_second(simulator.queries) < 20


async def test_the_accounts_limit_holds_with_trouble() -> None:
    """Two hundred tasks and every third look failing: still never 20 queries in a second, and all succeed."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)
    rng = random.Random(7)  # noqa: S311 - a repeatable simulation
    troubles = [refuses(500, "InternalError"), fails(httpx.ReadError("reset")), answers(200, content=b"<html>")]

    async def upstream(request: httpx.Request) -> httpx.Response:
        answer = await simulator(request)
        return await rng.choice(troubles)(request) if rng.random() < 0.33 else answer

    scene = PollingScene(upstream, clock)
    for number in range(200):
        simulator.submit(f"t-{number}", rng.uniform(9.0, 21.0))
    reports = await clock.run(asyncio.gather(*(scene.follow(name) for name in list(simulator.tasks))))
    assert {report.output.status for report in reports} == {TaskStatus.SUCCEEDED}
    assert busiest_second(simulator.queries) < 20
    assert clock.monotonic() < 60.0


async def test_half_of_all_looks_failing_ends_no_task() -> None:
    """A hundred tasks, every second look failing at random: all succeed."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)
    rng = random.Random(11)  # noqa: S311 - a repeatable simulation
    troubles = [
        *(
            refuses(status, code)
            for status, code in ((500, "InternalError"), (503, "ModelUnavailable"), (429, "Throttling"))
        ),
        *(fails(error) for error in (httpx.ReadError("reset"), httpx.ReadTimeout("late"), httpx.ConnectError("gone"))),
        answers(200, content=b"<html>"),
        answers(200, None),
    ]

    async def upstream(request: httpx.Request) -> httpx.Response:
        answer = await simulator(request)
        return await rng.choice(troubles)(request) if rng.random() < 0.5 else answer

    scene = PollingScene(upstream, clock)
    for number in range(100):
        simulator.submit(f"t-{number}", rng.uniform(9.0, 21.0))
    reports = await clock.run(asyncio.gather(*(scene.follow(name) for name in list(simulator.tasks))))
    assert {report.output.status for report in reports} == {TaskStatus.SUCCEEDED}
    assert clock.monotonic() < 120.0


@pytest.mark.parametrize("hours", [-1, 1])
async def test_wall_clock_that_jumps_ends_nothing(hours: int) -> None:
    """An hour forth or back while a task runs neither ends nor delays it; the deadline is on another clock."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)
    scene = PollingScene(simulator, clock)
    simulator.submit("t-1", 12.0)
    task = scene.follow("t-1", deadline=60.0)
    await clock.advance(5.0)
    clock.wall_offset = hours * 3600.0
    report = await clock.run(task)
    assert report.output.status is TaskStatus.SUCCEEDED
    assert 12.0 < clock.monotonic() < 16.0


async def test_a_throttled_look_slows_all_looks() -> None:
    """A 429 for one task halves the pace of all, and no task fails of it."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)
    refused: list[float] = []

    async def upstream(request: httpx.Request) -> httpx.Response:
        if 14.0 < clock.monotonic() < 16.0:
            refused.append(clock.monotonic())
            return httpx.Response(429, json={"code": "Throttling.RateQuota", "message": ""})
        return await simulator(request)

    scene = PollingScene(upstream, clock)
    for number in range(CROWD - 1):
        simulator.submit(f"t-{number}", 30.0)
    tasks = [scene.follow(name, usual=15.0) for name in list(simulator.tasks)]
    await clock.run(asyncio.gather(*tasks))
    assert refused
    after = [instant for instant in simulator.queries if refused[-1] < instant < refused[-1] + 2.0]
    assert busiest_second(after) <= 17 / 2 + 1
    assert len(refused) < 2.0 * 17 / 2


async def test_many_looks_of_a_throttling_upstream_all_end_well() -> None:
    """An upstream that allows five queries a second sees about that, and twenty tasks all succeed."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)
    let_through: list[float] = []

    async def upstream(request: httpx.Request) -> httpx.Response:
        now = clock.monotonic()
        if sum(1 for instant in let_through if instant > now - 1.0) >= 5:
            return httpx.Response(429, json={"code": "Throttling.RateQuota", "message": ""})
        let_through.append(now)
        return await simulator(request)

    scene = PollingScene(upstream, clock)
    for number in range(20):
        simulator.submit(f"t-{number}", 12.0 + number / 10)
    reports = await clock.run(asyncio.gather(*(scene.follow(name) for name in list(simulator.tasks))))
    assert {report.output.status for report in reports} == {TaskStatus.SUCCEEDED}
    assert clock.monotonic() < 60.0

"""Polling on virtual time: no trouble of a look ends a task, no task waits for another, the account's limit holds."""

import asyncio
from typing import Any

import httpx
import pytest

from fakes import (
    PollingScene,
    Scripted,
    Step,
    TaskSimulator,
    VirtualClock,
    answers,
    breaks_off,
    fails,
    refuses,
    slowly,
)
from imgapi.dashscope.client import Report
from imgapi.dashscope.wire import TaskStatus
from imgapi.errors import StillRunning
from imgapi.tasks.forecast import RunTimes
from imgapi.tasks.polling import GRACE_SECONDS

DONE = {"results": [{"url": "https://results.test/a.png"}]}


def says(status: object, **output: Any) -> Step:
    """Answer a look with a status."""
    return answers(200, {"request_id": "r", "output": {"task_id": "t-1", "task_status": status} | output})


RUNNING, SUCCEEDED, UNKNOWN = says("RUNNING"), says("SUCCEEDED", **DONE), says("UNKNOWN")


async def follow(*steps: Step, deadline: float = 600.0, usual: float = 12.0) -> tuple[Report, Scripted, VirtualClock]:
    """Follow one task at a scripted upstream to its end."""
    clock = VirtualClock()
    upstream = Scripted(steps, clock)
    report = await clock.run(PollingScene(upstream, clock).follow(deadline=deadline, usual=usual))
    return report, upstream, clock


TROUBLES = {
    "429": refuses(429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
    "500": refuses(500, "InternalError"),
    "502 page": answers(502, content=b"<html>Bad Gateway</html>"),
    "reset": fails(httpx.ReadError("reset")),
    "no connection": fails(httpx.ConnectError("refused")),
    "time-out": fails(httpx.ReadTimeout("silence")),
    "HTML page": answers(200, content=b"<html>"),
    "bad JSON": answers(200, content=b"{"),
    "null": answers(200, None),
    "cut": breaks_off(),
    "wrong types": answers(200, {"output": {"task_id": 1, "task_status": ["RUNNING"]}}),
    "2 MB": answers(200, content=b" " * 2_000_000),
    "unheard-of status": says("TELEPORTING"),
    "suspended": says("SUSPENDED"),
    "pending": says("PENDING"),
    "pre-processing": says("PRE-PROCESSING"),
    "post-processing": says("POST-PROCESSING"),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_trouble_while_polling_is_survived(trouble: Step) -> None:
    """Neither a failed look nor a status that is no end ends a task; its result arrives all the same."""
    report, upstream, _ = await follow(RUNNING, *[trouble] * 5, SUCCEEDED)
    assert report.output.status is TaskStatus.SUCCEEDED
    assert len(upstream.requests) == 7


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
async def test_trouble_that_stays_ends_at_the_deadline(trouble: Step) -> None:
    """A task that never gets better is given up at the deadline, not before and not much later, at a bounded price."""
    clock = VirtualClock()
    upstream = Scripted([trouble], clock)
    task = PollingScene(upstream, clock).follow(deadline=120.0)
    with pytest.raises(StillRunning) as caught:
        await clock.run(task)
    assert 120.0 <= clock.monotonic() < 121.0
    assert caught.value.upstream_task_id == "t-1"
    assert len(upstream.requests) < 100


@pytest.mark.parametrize("status", ["FAILED", "CANCELED", "SUCCEEDED"])
async def test_ends_are_ends(status: str) -> None:
    """A terminal status ends the polling with the upstream's report."""
    report, upstream, _ = await follow(RUNNING, says(status, code="InternalError.Algo"), RUNNING)
    assert report.output.status.value == status
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("unknown", [UNKNOWN, refuses(404, "NotFound")], ids=["UNKNOWN", "404"])
async def test_a_task_may_be_invisible_at_first(unknown: Step) -> None:
    """Right after the submit a task that the upstream does not know yet is looked for again."""
    report, _, _ = await follow(unknown, unknown, unknown, RUNNING, SUCCEEDED)
    assert report.output.status is TaskStatus.SUCCEEDED


@pytest.mark.parametrize("unknown", [UNKNOWN, refuses(404, "NotFound")], ids=["UNKNOWN", "404"])
async def test_an_unknown_task_ends_after_the_grace(unknown: Step) -> None:
    """A task that stays unknown is over when the grace is."""
    report, _, clock = await follow(unknown)
    assert report.output.status is TaskStatus.UNKNOWN
    assert GRACE_SECONDS <= clock.monotonic() < GRACE_SECONDS + 1.5


async def test_unknown_later_ends_at_once() -> None:
    """After the grace one UNKNOWN is the end: the task has expired or was lost."""
    clock = VirtualClock()

    async def upstream(request: httpx.Request) -> httpx.Response:
        return await (RUNNING if clock.monotonic() < 30.0 else UNKNOWN)(request)

    report = await clock.run(PollingScene(upstream, clock).follow())
    assert report.output.status is TaskStatus.UNKNOWN
    assert clock.monotonic() < 35.0


async def test_the_deadline_tells_the_last_status() -> None:
    """Who gives up knows whether the task ever began."""
    clock = VirtualClock()
    task = PollingScene(Scripted([says("PENDING")], clock), clock).follow(deadline=30.0)
    with pytest.raises(StillRunning) as caught:
        await clock.run(task)
    assert caught.value.detail == "PENDING"


async def test_a_look_that_hangs_does_not_hold_the_deadline() -> None:
    """The deadline counts even while a look is under way."""
    clock = VirtualClock()
    task = PollingScene(Scripted([slowly(clock, 15.0, RUNNING)], clock), clock).follow(deadline=5.0)
    with pytest.raises(StillRunning):
        await clock.run(task)
    assert clock.monotonic() == 5.0


async def test_looks_at_one_task_never_overlap() -> None:
    """However slow the answers are, a task is never looked at twice at the same time."""
    clock = VirtualClock()
    now: list[int] = [0]
    most: list[int] = [0]

    async def upstream(request: httpx.Request) -> httpx.Response:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await clock.sleep(4.0)
        now[0] -= 1
        return await (RUNNING if clock.monotonic() < 60.0 else SUCCEEDED)(request)

    await clock.run(PollingScene(upstream, clock).follow())
    assert most[0] == 1


async def test_slow_answers_for_one_task_delay_no_other() -> None:
    """A task whose looks take 15 s each does not keep its neighbours waiting."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)

    async def upstream(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/slow"):
            await clock.sleep(15.0)
        return await simulator(request)

    scene = PollingScene(upstream, clock)
    names = ["slow", *(f"t-{number}" for number in range(5))]
    for name in names:
        simulator.submit(name, 12.0)
    delays = {}

    async def watch(name: str) -> None:
        await scene.follow(name)
        delays[name] = clock.monotonic() - simulator.tasks[name].ends

    await clock.run(asyncio.gather(*(watch(name) for name in names)))
    assert max(delay for name, delay in delays.items() if name != "slow") < 1.5


@pytest.mark.parametrize("tells_times", [True, False])
async def test_ends_teach_the_forecast(tells_times: bool) -> None:  # noqa: FBT001 - a pytest parameter
    """A finished task's run time is learned, from the upstream's times or, without them, from what was seen."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)
    simulator.tells_times = tells_times
    scene = PollingScene(simulator, clock)
    times = RunTimes(12.0)
    simulator.submit("t-1", 20.0, pending_seconds=3.0)
    await clock.run(scene.poller.follow("t-1", times, deadline_seconds=600.0))
    (seen,) = times.seen
    assert seen == pytest.approx(20.0, abs=0.01 if tells_times else 2.5)


async def test_failed_tasks_teach_nothing() -> None:
    """How soon a task failed says nothing about how long the others run."""
    clock = VirtualClock()
    times = RunTimes(12.0)
    poller = PollingScene(Scripted([says("FAILED", code="InvalidURL")], clock), clock).poller
    await clock.run(poller.follow("t-1", times, deadline_seconds=600.0))
    assert not times.seen


async def test_who_stops_following_is_forgotten() -> None:
    """A follower that is canceled costs no further looks."""
    clock = VirtualClock()
    upstream = Scripted([RUNNING], clock)
    task = PollingScene(upstream, clock).follow()
    await clock.advance(2.0)
    task.cancel()
    await clock.settle()
    looks = len(upstream.requests)
    await clock.advance(600.0)
    assert len(upstream.requests) == looks


async def test_two_who_follow_one_task_both_learn_its_end() -> None:
    """Should an upstream give one id twice, nobody waits for ever."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)
    simulator.submit("t-1", 12.0)
    scene = PollingScene(simulator, clock)
    reports = await clock.run(asyncio.gather(scene.follow(), scene.follow()))
    assert [report.output.status for report in reports] == [TaskStatus.SUCCEEDED] * 2


async def test_a_poller_can_be_used_again() -> None:
    """When all tasks have ended the loop rests, and wakes for the next."""
    clock = VirtualClock()
    simulator = TaskSimulator(clock)
    scene = PollingScene(simulator, clock)
    for name in ("t-1", "t-2"):
        simulator.submit(name, 12.0)
        await clock.run(scene.follow(name))
        await clock.advance(60.0)
    assert len(simulator.queries) < 30


async def test_close_ends_looks_and_followers() -> None:
    """After a close nobody is left waiting and nothing looks any more."""
    clock = VirtualClock()
    upstream = Scripted([slowly(clock, 10.0, RUNNING)], clock)
    scene = PollingScene(upstream, clock)
    task = scene.follow()
    await clock.advance(3.0)
    await scene.poller.close()
    with pytest.raises(asyncio.CancelledError):
        await clock.run(task)
    looks = len(upstream.requests)
    await clock.advance(100.0)
    assert len(upstream.requests) == looks


async def test_an_error_of_our_own_reaches_who_waits() -> None:
    """A defect behind a look is told to the follower instead of leaving it waiting."""
    clock = VirtualClock()
    task = PollingScene(Scripted([fails(RuntimeError("a defect"))], clock), clock).follow()
    with pytest.raises(RuntimeError, match="a defect"):
        await clock.run(task)


async def test_a_long_trouble_does_not_end_in_a_number_too_large() -> None:
    """Hours of failing looks are still only failing looks."""
    clock = VirtualClock()
    task = PollingScene(Scripted([fails(httpx.ReadError("reset"))], clock), clock).follow(deadline=7_000.0)
    with pytest.raises(StillRunning):
        await clock.run(task)

"""An upstream that is gone, and an account that is refused: nobody waits, nobody hammers, and it recovers by itself."""

import asyncio

import httpx
import pytest

from fakes import fails, refuses
from house import FIX, House
from imgapi.errors import ImgapiError, Overloaded, UpstreamMisconfigured, UpstreamUnavailable

ARREARS = refuses(400, "Arrearage", "Access denied")


async def test_refused_account_is_asked_once_and_then_by_probes() -> None:
    """The second request is refused without a call; after the pause one goes, and when it succeeds all do."""
    house = House()
    house.upstream.scripts["wanx2.1-imageedit"] = [ARREARS]
    await house.fail(UpstreamMisconfigured)
    for _ in range(5):
        with pytest.raises(UpstreamMisconfigured):
            await house.accept()
    assert len(house.upstream.submits) == 1
    house.upstream.scripts.clear()
    await house.clock.advance(10.1)
    assert (await house.run()).task_status == "SUCCEEDED"
    assert (await house.run()).task_status == "SUCCEEDED"
    assert len(house.upstream.submits) == 3
    assert [house.log.named(event) for event in ("circuit opened", "circuit closed")] == [
        [{"subject": "account"}],
        [{"subject": "account"}],
    ]


async def test_requests_in_line_when_the_account_is_refused_are_not_sent() -> None:
    """Thirty requests at once for an account in arrears: those that wait for their turn learn from the first."""
    house = House()
    house.upstream.scripts["wanx2.1-imageedit"] = [ARREARS]
    work = asyncio.gather(*(house.hold("fix", FIX) for _ in range(20)), return_exceptions=True)
    outcomes = await house.clock.run(work)
    assert all(isinstance(outcome, UpstreamMisconfigured) for outcome in outcomes)
    assert len(house.upstream.submits) <= 2


async def test_ten_minutes_without_an_upstream_cost_a_few_probes() -> None:
    """Ten requests a second for ten minutes: refused at once, a dozen tries in all, no stampede afterwards."""
    house = House()
    tries: list[float] = []
    refuse = fails(httpx.ConnectError("refused"))

    async def gone(request: httpx.Request) -> httpx.Response:
        tries.append(house.clock.monotonic())
        return await refuse(request)

    house.upstream.scripts["wanx2.1-imageedit"] = [gone]
    waits: list[float] = []

    async def ask() -> ImgapiError | None:
        begun = house.clock.monotonic()
        try:
            await house.hold("fix", FIX)
        except (UpstreamUnavailable, Overloaded) as exc:
            waits.append(house.clock.monotonic() - begun)
            return exc
        return None

    asked = []
    for _ in range(1200):
        asked.append(asyncio.ensure_future(ask()))
        await house.clock.advance(0.5)
    assert len(tries) <= 25
    assert sorted(waits)[len(waits) * 9 // 10] == 0.0
    house.upstream.scripts.clear()
    back = house.clock.monotonic()
    while not house.upstream.simulator.tasks:
        asked.append(asyncio.ensure_future(ask()))
        await house.clock.advance(1.0)
        assert house.clock.monotonic() < back + 61
    await house.clock.run(asyncio.gather(*asked))
    assert not house.runner.dashscope.breaker.is_open("wanx2.1-imageedit")
    assert (await house.run()).task_status == "SUCCEEDED"


async def test_unheard_status_is_logged_once() -> None:
    """A status that nobody has documented is taken for RUNNING, and the log says so once, not at each look."""
    house = House()
    house.upstream.simulator.running_word = "THINKING"
    house.upstream.run_seconds = 30.0
    assert (await house.run()).task_status == "SUCCEEDED"
    assert (await house.run()).task_status == "SUCCEEDED"
    assert house.log.named("status unheard of") == [{"subject": "THINKING"}]

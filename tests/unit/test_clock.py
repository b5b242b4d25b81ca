"""Time: the documented way to write it, the system's clock, and the virtual one that the other tests trust."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import EPOCH_SECONDS, VirtualClock
from imgapi.clock import SystemClock, documented_time, read_documented_time


def test_documented_time_is_china_time_with_milliseconds() -> None:
    """An instant is written in UTC+8 with three decimals and no zone suffix."""
    assert documented_time(EPOCH_SECONDS) == "2026-05-04 10:20:30.123"
    assert documented_time(0.0) == "1970-01-01 08:00:00.000"


@given(st.floats(min_value=0, max_value=4_000_000_000))
def test_documented_time_reads_back(instant: float) -> None:
    """What was written is read back to the millisecond, whatever this machine's zone is."""
    text = documented_time(instant)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", text)
    read = read_documented_time(text)
    assert read is not None
    assert -0.0001 <= instant - read <= 0.0011


@pytest.mark.parametrize("text", [None, "", "soon", "2026-13-01 00:00:00.000", "2026-05-04 10:20"[:9]])
def test_what_is_no_time_reads_as_none(text: str | None) -> None:
    """An absent or broken time is None, never an error."""
    assert read_documented_time(text) is None


async def test_system_clock_moves_on() -> None:
    """The system's clock is monotonic, tells the epoch, and takes a negative wait as none."""
    clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(-1.0)
    await clock.sleep(0.001)
    assert clock.monotonic() > before
    assert clock.time() > 1_700_000_000


async def test_virtual_clock_wakes_sleepers_in_order() -> None:
    """Time passes only by the test's hand, and sleepers wake at their own instants."""
    clock = VirtualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper("late", 3600.0)), asyncio.create_task(sleeper("early", 1.0))]
    await clock.advance(0.5)
    assert woken == []
    await clock.advance(10.0)
    assert woken == [("early", 1.0)]
    await clock.run(asyncio.gather(*tasks))
    assert woken == [("early", 1.0), ("late", 3600.0)]
    assert clock.time() == EPOCH_SECONDS + 3600.0


async def test_virtual_clock_names_work_that_never_ends() -> None:
    """Work that waits for nothing is an error of the test, not a hang."""
    clock = VirtualClock()
    forever: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    with pytest.raises(AssertionError, match="never end"):
        await clock.run(forever)
    forever.cancel()

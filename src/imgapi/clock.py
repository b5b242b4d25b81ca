"""Time as imgapi sees it: injectable, so that a test of a long wait takes a millisecond."""

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Protocol

CHINA = timezone(timedelta(hours=8))


class Clock(Protocol):
    """What waits and deadlines are measured with."""

    def monotonic(self) -> float:
        """Seconds that never jump; for deadlines and back-off."""
        ...

    def time(self) -> float:
        """Seconds since the epoch; for display and expiry only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; zero or less yields once."""
        ...


class SystemClock:
    """The machine's own time."""

    def monotonic(self) -> float:
        """Seconds of the system's monotonic clock."""
        return time.monotonic()

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(max(0.0, seconds))


async def rest(clock: Clock, event: asyncio.Event, seconds: float) -> None:
    """Wait until an event is set, at most so many seconds of the clock."""
    timer = asyncio.ensure_future(clock.sleep(seconds))
    change = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({timer, change}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        change.cancel()
        await asyncio.gather(timer, change, return_exceptions=True)


def documented_time(epoch_seconds: float) -> str:
    """Write an instant the way the documented replies do: `YYYY-MM-DD HH:MM:SS.mmm` in UTC+8, no zone suffix."""
    moment = datetime.fromtimestamp(epoch_seconds, UTC).astimezone(CHINA)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"


def internet_time(epoch_seconds: float) -> str:
    """Write an instant by RFC 3339 in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(epoch_seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def read_documented_time(text: str | None) -> float | None:
    """Read such an instant as seconds since the epoch; None when it is absent or no time."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=CHINA)).timestamp()

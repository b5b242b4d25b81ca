"""Rates: how many calls an account may make within a stretch of time."""

from collections import deque

from imgapi.clock import Clock
from imgapi.emulator.config import Rate


class RateGate:
    """Admits calls under named rates; a refused call does not count.

    Args:
        clock: What the stretch of time is measured with.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._admitted: dict[str, deque[float]] = {}

    def admits(self, name: str, rate: Rate) -> bool:
        """Say whether one more call fits, and count it if so. Names come from a closed set, so memory is bounded."""
        now = self._clock.monotonic()
        times = self._admitted.setdefault(name, deque())
        while times and times[0] <= now - rate.seconds:
            times.popleft()
        if len(times) >= rate.count:
            return False
        times.append(now)
        return True

    def reset(self) -> None:
        """Forget every call."""
        self._admitted.clear()

"""What each key has used: requests in its minute, and requests under way; its month is kept with the tasks."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imgapi.api.keys import Key
from imgapi.clock import Clock
from imgapi.errors import QuotaExceeded

WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class _Minute:
    ends: float = 0.0
    requests: int = 0


class Quotas:
    """Counts by key, in this process.

    Args:
        clock: For the minutes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._minutes: dict[str, _Minute] = {}
        self._under_way: Counter[str] = Counter()

    @contextmanager
    def request(self, key: Key) -> Iterator[None]:
        """Count a request as long as it is under way.

        Raises:
            QuotaExceeded: The key has none left in this minute, or too many under way.
        """
        minute = self._minute(key)
        if key.requests_per_minute is not None and minute.requests >= key.requests_per_minute:
            message = f"This key may send {key.requests_per_minute} requests a minute; wait for the next."
            raise QuotaExceeded(message, retry_after=minute.ends - self._clock.monotonic())
        if key.concurrent is not None and self._under_way[key.name] >= key.concurrent:
            message = f"This key may have {key.concurrent} requests under way; wait for one of them to end."
            raise QuotaExceeded(message, retry_after=1.0)
        minute.requests += 1
        self._under_way[key.name] += 1
        try:
            yield
        finally:
            self._under_way[key.name] -= 1

    def headers(self, key: Key) -> dict[str, str]:
        """Write the `RateLimit` fields of an answer (IETF draft-ietf-httpapi-ratelimit-headers)."""
        if key.requests_per_minute is None:
            return {}
        minute = self._minute(key)
        left = max(0, key.requests_per_minute - minute.requests)
        seconds = max(1, round(minute.ends - self._clock.monotonic()))
        return {
            "RateLimit-Policy": f'"minute";q={key.requests_per_minute};w={WINDOW_SECONDS:.0f}',
            "RateLimit": f'"minute";r={left};t={seconds}',
        }

    def _minute(self, key: Key) -> _Minute:
        minute = self._minutes.setdefault(key.name, _Minute())
        now = self._clock.monotonic()
        if now >= minute.ends:
            minute.ends, minute.requests = now + WINDOW_SECONDS, 0
        return minute

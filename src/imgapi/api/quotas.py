"""What each key has used: requests in its minute, requests under way, pictures in its month."""

import asyncio
import calendar
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imgapi.api.keys import Key
from imgapi.clock import Clock
from imgapi.errors import ImgapiError, QuotaExceeded, StillRunning, TaskLost

WINDOW_SECONDS = 60.0


@dataclass(slots=True)
class _Minute:
    ends: float = 0.0
    requests: int = 0


@dataclass(slots=True)
class Pictures:
    """Pictures being made; set `made` where fewer come out than were asked for."""

    made: int


class Quotas:
    """Counts by key; minutes and requests under way in this process, months in a file that outlives it.

    Args:
        path: SQLite file of the monthly counts; made when first needed. Processes on one machine may share it.
        clock: Monotonic for minutes; the wall's for months.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._minutes: dict[str, _Minute] = {}
        self._under_way: Counter[str] = Counter()
        # One thread: its connection is its own, and SQLite writes one at a time anyway.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="quotas")
        self._database: sqlite3.Connection | None = None

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

    @asynccontextmanager
    async def pictures(self, key: Key | None, wanted: int) -> AsyncIterator[Pictures]:
        """Take pictures from the key's month while they are made, and give back those that were not.

        What was perhaps made stays taken: it may have been paid for.

        Args:
            key: Whose month; None has no bounds.
            wanted: How many pictures are asked for.

        Raises:
            QuotaExceeded: So many are not left.
        """
        pictures = Pictures(wanted)
        if key is None:
            yield pictures
            return
        await self.reserve(key, wanted)
        try:
            yield pictures
        except (TaskLost, StillRunning):
            raise
        except ImgapiError:
            await self.give_back(key, wanted)
            raise
        await self.give_back(key, wanted - pictures.made)

    async def reserve(self, key: Key, images: int) -> None:
        """Take pictures from the key's month before they are made.

        Raises:
            QuotaExceeded: So many are not left.
        """
        month, left_seconds = _month(self._clock.time())
        if not await self._run(key, month, images, key.images_per_month):
            message = (
                f"This key may make {key.images_per_month} pictures a month and has fewer than {images} left; "
                "nothing was started."
            )
            raise QuotaExceeded(message, retry_after=left_seconds)

    async def give_back(self, key: Key, images: int) -> None:
        """Return pictures that were not made."""
        if images:
            await self._run(key, _month(self._clock.time())[0], -images, None)

    async def _run(self, key: Key, month: str, images: int, most: int | None) -> bool:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._add, key.name, month, images, most)

    def _minute(self, key: Key) -> _Minute:
        minute = self._minutes.setdefault(key.name, _Minute())
        now = self._clock.monotonic()
        if now >= minute.ends:
            minute.ends, minute.requests = now + WINDOW_SECONDS, 0
        return minute

    def _add(self, name: str, month: str, images: int, most: int | None) -> bool:
        """Add to a month's count unless it would pass the most; return whether it was added."""
        if self._database is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._path, timeout=5.0, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS images"
                " (key TEXT, month TEXT, made INTEGER NOT NULL, PRIMARY KEY (key, month)) WITHOUT ROWID"
            )
        if most is not None and images > most:
            return False
        added = self._database.execute(
            "INSERT INTO images VALUES (?1, ?2, max(0, ?3))"
            " ON CONFLICT DO UPDATE SET made = max(0, made + ?3) WHERE ?4 IS NULL OR made + ?3 <= ?4 RETURNING made",
            (name, month, images, most),
        ).fetchone()
        return added is not None

    def close(self) -> None:
        """Close the file."""
        if self._database is not None:
            self._thread.submit(self._database.close).result()
        self._thread.shutdown()


def _month(epoch_seconds: float) -> tuple[str, float]:
    """Name a month (UTC), and say how many seconds of it are left."""
    now = datetime.fromtimestamp(epoch_seconds, UTC)
    days = calendar.monthrange(now.year, now.month)[1]
    begun = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return f"{now:%Y-%m}", days * 86400 - (now - begun).total_seconds()

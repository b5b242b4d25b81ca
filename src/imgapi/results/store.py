"""Keeps pictures under unguessable names until they expire."""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import ParamSpec, TypeVar

from obstore.store import S3Store

from imgapi.errors import CapabilityMissing
from imgapi.results.kept_names import RESULT_NAME, expires_at, is_result_name, make_name
from imgapi.results.objects import Entry, Objects

__all__ = ["RESULT_NAME", "ResultStore", "expires_at"]

P = ParamSpec("P")
R = TypeVar("R")

# Threads of its own, so that a slow bucket doesn't hold up what else waits for a thread.
_THREADS = 16
_MAX_DELETED = 1000
# Swept down to this share, so that a full store isn't listed again for every file that is added.
_SWEPT_SHARE = 0.9
# A file is being written for seconds; a beginning this old was left behind by a process that was killed.
_LEFTOVER_SECONDS = 600.0


class ResultStore:
    """Kept pictures of one kind, bounded in age and, where that is set, in size and number.

    A name is 128 random bits: who has it may read the file, and nobody finds it by trying. The instant of the expiry
    is part of the name, so a promised expiry holds even when `ttl_seconds` is another after a restart.

    Args:
        place: A folder, created with the first file, or a bucket with its prefix (`locations.open_store`).
        ttl_seconds: How long a file can be read.
        max_total_bytes: What expires first goes when there is more than this; the newest always stays. None: no bound.
        max_count: Likewise for the number of files.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        place: Path | S3Store,
        *,
        ttl_seconds: float,
        max_total_bytes: int | None = None,
        max_count: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._objects = Objects(place)
        self._ttl_seconds = ttl_seconds
        self._max_total_bytes = math.inf if max_total_bytes is None else max_total_bytes
        self._max_count = math.inf if max_count is None else max_count
        self._is_bounded = max_total_bytes is not None or max_count is not None
        self._clock = clock
        # obstore's own asynchronous calls end the process with SIGABRT when it exits soon after one (0.12.1).
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="imgapi-results")
        self._sweeping = threading.Lock()
        # Names whose put has not returned yet: no sweep takes a file away under the hands of who writes it.
        self._under_way: set[str] = set()
        self._tally = _Tally()

    async def put(self, content: bytes, suffix: str) -> str:
        """Keep `content` and return its name; `suffix` is ".png" and the like, and `expires_at` tells the expiry.

        Raises:
            CapabilityMissing: The folder is full or can't be written, or the bucket can't be reached or refuses.
        """
        name = make_name(self._clock() + self._ttl_seconds, suffix)
        await self._in_thread(self._put, name, content)
        return name

    async def get(self, name: str) -> bytes | None:
        """Return what is kept under `name`; None when that is unknown, expired or no name this store makes.

        Raises:
            CapabilityMissing: The folder can't be read, or the bucket can't be reached or refuses.
        """
        if not is_result_name(name) or self._is_expired(name):
            return None
        return await self._in_thread(self._objects.get, name)

    async def delete(self, name: str) -> None:
        """Forget what is kept under `name`; a name of nothing is no error.

        Raises:
            CapabilityMissing: The folder can't be changed, or the bucket can't be reached or refuses.
        """
        if is_result_name(name):
            await self._in_thread(self._objects.delete, [name])

    async def sweep(self, max_deleted: int = _MAX_DELETED) -> int:
        """Delete what has expired or is beyond the bounds, and return how many files went.

        Args:
            max_deleted: Most files deleted by one call; a further call goes on.

        Raises:
            CapabilityMissing: The folder can't be changed, or the bucket can't be reached or refuses.
        """
        return await self._in_thread(self._sweep_alone, max_deleted)

    async def aclose(self) -> None:
        """Take no more work; what has begun is finished in its thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))

    def _is_expired(self, name: str) -> bool:
        return expires_at(name) < self._clock()

    def _put(self, name: str, content: bytes) -> None:
        self._under_way.add(name)
        try:
            self._objects.put(name, content)
            self._tally.add(len(content))
            self._make_room()
        finally:
            self._under_way.discard(name)

    def _make_room(self) -> None:
        if not self._is_too_much():
            return
        with self._sweeping:
            # Whoever swept meanwhile may have made the room.
            if self._is_too_much():
                # The new file is kept, so nothing failed for its caller; `sweep` tells the operator.
                with suppress(CapabilityMissing):
                    self._sweep(_MAX_DELETED)

    def _is_too_much(self) -> bool:
        """Whether there is more than allowed, as far as is known; before the first list that is to be feared."""
        if not self._is_bounded:
            return False
        total_bytes, count = self._tally.total()
        return total_bytes > self._max_total_bytes or count > self._max_count

    def _sweep_alone(self, max_deleted: int) -> int:
        with self._sweeping:
            return self._sweep(max_deleted)

    def _sweep(self, max_deleted: int) -> int:
        added = self._tally.added
        self._clear_leftovers()
        expired, living = self._list(max_deleted)
        gone = [*expired, *self._surplus(living)][:max_deleted]
        self._objects.delete(entry.name for entry in gone)
        left_bytes = sum(entry.size_bytes for entry in (*expired, *living)) - sum(entry.size_bytes for entry in gone)
        self._tally.settle(left_bytes, len(expired) + len(living) - len(gone), added)
        return len(gone)

    def _list(self, max_expired: int) -> tuple[list[Entry], list[Entry]]:
        """List what has expired and what has not, soonest first.

        A bucket lists by name, which is by expiry: without bounds, nothing behind what is to be deleted has to be read.
        """
        expired: list[Entry] = []
        living: list[Entry] = []
        is_cut_short = self._objects.folder is None and not self._is_bounded
        for entry in self._objects.list():
            if not is_result_name(entry.name):
                continue
            is_old = self._is_expired(entry.name)
            if is_cut_short and (not is_old or len(expired) == max_expired):
                break
            (expired if is_old else living).append(entry)
        by_name = attrgetter("name")
        return sorted(expired, key=by_name), sorted(living, key=by_name)

    def _surplus(self, living: list[Entry]) -> list[Entry]:
        """Choose what goes for want of room; never what is just being put, nor the newest when nothing is."""
        total_bytes, count = sum(entry.size_bytes for entry in living), len(living)
        if total_bytes <= self._max_total_bytes and count <= self._max_count:
            return []
        surplus = []
        spared = frozenset(self._under_way) or {living[-1].name}
        for entry in living:
            if total_bytes <= self._max_total_bytes * _SWEPT_SHARE and count <= self._max_count * _SWEPT_SHARE:
                break
            if entry.name not in spared:
                surplus.append(entry)
                total_bytes -= entry.size_bytes
                count -= 1
        return surplus

    def _clear_leftovers(self) -> None:
        for name, path in self._objects.list_staged():
            with suppress(OSError):  # finished or removed by someone else since it was listed
                # By the machine's own clock, which also dated the file.
                if is_result_name(name) and time.time() - path.lstat().st_mtime > _LEFTOVER_SECONDS:
                    path.unlink(missing_ok=True)


class _Tally:
    """How much there is, as far as is known: what the last list found, and what was added since it began."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listed_bytes = self._listed_count = math.inf
        self._added_bytes = self._added_count = 0

    @property
    def added(self) -> tuple[int, int]:
        """Bytes and files added since the last list began."""
        with self._lock:
            return self._added_bytes, self._added_count

    def add(self, size_bytes: int) -> None:
        with self._lock:
            self._added_bytes += size_bytes
            self._added_count += 1

    def settle(self, listed_bytes: int, listed_count: int, added_before: tuple[int, int]) -> None:
        """Take over what a list found; what was added while it was made may count twice, and is never forgotten."""
        with self._lock:
            self._listed_bytes, self._listed_count = listed_bytes, listed_count
            self._added_bytes -= added_before[0]
            self._added_count -= added_before[1]

    def total(self) -> tuple[float, float]:
        with self._lock:
            return self._listed_bytes + self._added_bytes, self._listed_count + self._added_count

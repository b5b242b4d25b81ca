"""Keeps a folder of files within an age and a total size, oldest out first."""

import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from imgapi.results.files import is_foreign_temporary

# A temporary name is in use for seconds; one this old was left behind by a process that was killed.
_LEFTOVER_SECONDS = 600.0
# Swept down to this share, so that a full folder isn't listed again for every file that is added.
_SWEPT_SHARE = 0.9
_MAX_SWEEP_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size_bytes: int
    age_seconds: float


class FolderBounds:
    """Age and size bounds of one folder; sweeps when the size is passed, and at intervals for the age.

    Blocking: called in threads, one call at a time. Files whose names it is not told about are left alone.

    Args:
        folder: The folder; subfolders are not looked at.
        names: Which file names may be removed.
        max_age_seconds: Files older than this are removed.
        max_total_bytes: Files are removed, oldest first, until no more than this is left.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        names: re.Pattern[str],
        *,
        max_age_seconds: float,
        max_total_bytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._names = names
        self._max_age_seconds = max_age_seconds
        self._max_total_bytes = max_total_bytes
        self._clock = clock
        self._known_bytes: int | None = None
        self._sweep_at = 0.0

    def add(self, paths: Iterable[Path], size_bytes: int) -> None:
        """Count files that were just written and sweep when it is time; they themselves always stay."""
        if self._known_bytes is not None:
            self._known_bytes += size_bytes
        is_full = self._known_bytes is None or self._known_bytes > self._max_total_bytes
        if is_full or self._clock() >= self._sweep_at:
            self._sweep(frozenset(paths))

    def _sweep(self, kept: frozenset[Path]) -> None:
        entries = sorted(self._list(), key=lambda entry: -entry.age_seconds)
        total = sum(entry.size_bytes for entry in entries)
        goal = self._max_total_bytes * _SWEPT_SHARE if total > self._max_total_bytes else self._max_total_bytes
        for entry in entries:
            if is_foreign_temporary(entry.path.name):
                is_removable = entry.age_seconds > _LEFTOVER_SECONDS
            else:
                is_old = entry.age_seconds > self._max_age_seconds
                is_removable = entry.path not in kept and (is_old or total > goal)
            if is_removable:
                with suppress(OSError):
                    entry.path.unlink(missing_ok=True)
                    total -= entry.size_bytes
        self._known_bytes = total
        self._sweep_at = self._clock() + min(_MAX_SWEEP_SECONDS, self._max_age_seconds / 10)

    def _list(self) -> list[_Entry]:
        now = self._clock()
        entries = []
        for path in self._folder.iterdir():
            if self._names.fullmatch(path.name) or is_foreign_temporary(path.name):
                with suppress(FileNotFoundError):  # removed by someone else since it was listed
                    status = path.lstat()
                    entries.append(_Entry(path, status.st_size, now - status.st_mtime))
        return entries

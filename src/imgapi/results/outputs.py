"""Writes converted pictures to the output folder, named after their uploads."""

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from imgapi.errors import CapabilityMissing
from imgapi.results.bounds import FolderBounds
from imgapi.results.files import write_temporary
from imgapi.results.names import make_stem

_OUTPUT_NAME = re.compile(r"[^.].*\.png", re.DOTALL)
_REMEMBERED_NAMES = 10_000


class OutputFolder:
    """The folder of converted pictures, bounded in age and size; no two uploads of one name ever mix.

    The folder is imgapi's own: any PNG file in it is removed when its time has come.

    Args:
        folder: Where files are written; created with the first one.
        max_age_seconds: Files older than this are removed.
        max_total_bytes: The oldest files go when there is more than this; those of the call itself stay.
        clock: Seconds since the epoch.
        link: Gives a file a second name, as `os.link`; OSError where the file system has no such thing.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_age_seconds: float,
        max_total_bytes: int,
        clock: Callable[[], float] = time.time,
        link: Callable[[Path, Path], None] = os.link,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._link = link
        # The last number that a name got, so that the next need not be looked for.
        self._last_attempts: dict[tuple[str, bool], int] = {}
        self._lock = threading.Lock()
        self._bounds = FolderBounds(
            folder, _OUTPUT_NAME, max_age_seconds=max_age_seconds, max_total_bytes=max_total_bytes, clock=clock
        )

    async def save(self, upload_name: str, frames: Sequence[bytes], *, overwrite: bool, split: bool) -> list[str]:
        """Write the PNG frames and return their paths in the same order; all of them are there, or none is.

        Args:
            upload_name: The file name the caller sent; only a safe basename of it is used.
            frames: One picture, or with `split` those of an animation.
            overwrite: Replace files of these names; otherwise they stay and the whole set gets -1, -2, … .
            split: Number the files: photo_000.png, photo_001.png, … .

        Raises:
            CapabilityMissing: The disk is full or the folder can't be written.
        """
        if not split and len(frames) != 1:
            raise ValueError("several frames need names of their own: split=True")
        stem = make_stem(upload_name)
        # A caller who leaves while this waits leaves no half set behind: the thread ends what it began.
        paths = await asyncio.to_thread(self._save, stem, frames, overwrite=overwrite, split=split)
        return [str(path) for path in paths]

    def _save(self, stem: str, frames: Sequence[bytes], *, overwrite: bool, split: bool) -> list[Path]:
        written: list[Path] = []
        try:
            for frame in frames:
                written.append(write_temporary(self._folder, frame, self._clock()))  # noqa: PERF401 - kept on failure
            with self._lock:
                frame_count = len(frames) if split else None
                if overwrite:
                    paths = self._name(stem, 0, frame_count)
                    for temporary, path in zip(written, paths, strict=True):
                        temporary.replace(path)
                else:
                    paths = self._place(written, stem, frame_count)
                self._bounds.add(paths, sum(len(frame) for frame in frames))
        except OSError as exc:
            message = (
                "The converted picture could not be stored: the server's output folder is full or can't be written."
            )
            raise CapabilityMissing(message, detail=type(exc).__name__) from exc
        finally:
            for temporary in written:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
        return paths

    def _name(self, stem: str, attempt: int, frame_count: int | None) -> list[Path]:
        """Name the whole set for the given attempt: photo.png, or photo-2_000.png, photo-2_001.png, … ."""
        base = f"{stem}-{attempt}" if attempt else stem
        if frame_count is None:
            return [self._folder / f"{base}.png"]
        return [self._folder / f"{base}_{number:03d}.png" for number in range(frame_count)]

    def _place(self, written: Sequence[Path], stem: str, frame_count: int | None) -> list[Path]:
        """Give the set's files the first names of which none is taken, and return them."""
        for attempt in self._attempts(stem, frame_count):
            paths = self._name(stem, attempt, frame_count)
            placed: list[Path] = []
            try:
                for temporary, path in zip(written, paths, strict=True):
                    self._give_name(temporary, path)
                    placed.append(path)
            except OSError as exc:
                _remove(placed)
                if not isinstance(exc, FileExistsError):
                    raise
            else:
                self._remember(stem, attempt, frame_count)
                return paths
        raise AssertionError("attempts have no end")  # pragma: no cover

    def _give_name(self, temporary: Path, path: Path) -> None:
        """Give a written file another name beside its own; FileExistsError when that is taken.

        A link is there whole at once. Making an empty file first, to hold the name, costs as much as all else (a new
        inode each, 0.4 ms of 0.9 on ext4).
        """
        try:
            self._link(temporary, path)
        except FileExistsError:
            raise
        except OSError:
            # A file system without links, or a full disk, which this meets too.
            _copy(temporary, path)

    def _attempts(self, stem: str, frame_count: int | None) -> Iterator[int]:
        """Yield numbers to try: all from the first that seems free, found without asking for each one before it."""

        def is_taken(attempt: int) -> bool:
            return any(path.exists() for path in self._name(stem, attempt, frame_count))

        if not is_taken(0):
            yield 0
        if (known := self._last_attempts.get((stem, frame_count is None))) is not None:
            yield from count(known + 1)
        taken, free = 0, 1
        while is_taken(free):
            taken, free = free, free * 2
        while free - taken > 1:
            middle = (taken + free) // 2
            taken, free = (middle, free) if is_taken(middle) else (taken, middle)
        yield from count(free)

    def _remember(self, stem: str, attempt: int, frame_count: int | None) -> None:
        if len(self._last_attempts) >= _REMEMBERED_NAMES:
            self._last_attempts.clear()
        key = (stem, frame_count is None)
        self._last_attempts[key] = max(attempt, self._last_attempts.get(key, 0))


def _copy(source: Path, target: Path) -> None:
    """Copy to a name that nothing has, empty for a moment and then whole; FileExistsError when something has it."""
    target.touch(exist_ok=False)
    copied = []
    try:
        copied.append(write_temporary(target.parent, source.read_bytes(), source.stat().st_mtime))
        copied[0].replace(target)
    except OSError:
        _remove([*copied, target])
        raise


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)

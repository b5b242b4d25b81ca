"""Shows how a download goes: a bar on a terminal, else a line of the log now and then."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from imgapi.matting.download import Report

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_SECONDS = 15.0


@contextmanager
def showing(name: str) -> Iterator[Report]:
    """Yield what is to be told of a download's bytes; nothing is shown before the first are there."""
    shown = _Bar(name) if sys.stderr.isatty() else _Lines(name)
    try:
        yield shown.report
    finally:
        shown.close()


class _Bar:
    def __init__(self, name: str) -> None:
        self._name = name
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def report(self, done: int, total: int) -> None:
        if self._progress is None or self._task is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(stderr=True))
            self._task = self._progress.add_task(self._name, total=total)
            self._progress.start()
        self._progress.update(self._task, completed=done)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()


class _Lines:
    def __init__(self, name: str) -> None:
        self._name = name
        self._log = structlog.get_logger("imgapi.matting")
        self._next = 0.0

    def report(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next or done == total:
            self._next = now + _LINE_SECONDS
            self._log.info("model download", model=self._name, bytes=done, total_bytes=total)

    def close(self) -> None:
        """Nothing is left open."""

"""What it costs that pixel work runs in worker processes: the same calls in this process and through the pool."""

import asyncio
import ctypes
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bench.utilities_inputs import Task
from bench.utilities_load import cpu_seconds
from PIL import Image

from imgapi.parts.pixels import picture_limits
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.resize import resize
from imgapi.pictures.workers import Workers
from imgapi.settings import read_settings

SECONDS = 3.0
# The options of glibc's mallopt, in malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True, slots=True)
class Isolation:
    """CPU milliseconds per call of one task, in this process and through a worker process."""

    task: Task
    direct_ms: float
    isolated_ms: float


def measure_isolation(tasks: Sequence[Task]) -> list[Isolation]:
    """Measure every task both ways."""
    keep_memory()
    return asyncio.run(_measure(tasks))


async def _measure(tasks: Sequence[Task]) -> list[Isolation]:
    measured = []
    async with Workers(count=1, max_waiting=0, timeout_seconds=60) as workers:
        for task in tasks:
            function, keywords = _call(task)
            await workers.run(function, task.source, **keywords)
            function(task.source, **keywords)
            directs, isolateds = [], []
            # Taken in turns, so that what else the machine does weighs on both.
            for _ in range(3):
                directs.append(cpu_ms(lambda: function(task.source, **keywords)))  # noqa: B023 - called at once
                isolateds.append(await _isolated_ms(workers, task, function, keywords))
            measured.append(Isolation(task, sorted(directs)[1], sorted(isolateds)[1]))
    return measured


def _call(task: Task) -> tuple[Callable[..., Any], dict[str, Any]]:
    settings = read_settings()
    shared = {"limits": picture_limits(settings), "svg_renderer": settings.svg_renderer}
    if task.side is None:
        return convert_to_png, {"all_frames": False, **shared}
    return resize, {"min_dim": 1, "max_dim": task.side, **shared}


def keep_memory() -> None:
    """Let this process keep freed memory as a worker does, so that the two differ in nothing else."""
    kept_bytes = 32 * 1024 * 1024
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            libc.mallopt(option, kept_bytes)
    Image.core.set_blocks_max(1)  # type: ignore[attr-defined]


def cpu_ms(work: Callable[[], object]) -> float:
    """Measure the CPU milliseconds of a call in this process."""
    count, begun, cpu = 0, time.perf_counter(), cpu_seconds(os.getpid())
    while time.perf_counter() - begun < SECONDS / 3:
        work()
        count += 1
    return 1000 * (cpu_seconds(os.getpid()) - cpu) / count


async def _isolated_ms(workers: Workers, task: Task, function: Callable[..., Any], keywords: dict[str, Any]) -> float:
    count, begun, cpu = 0, time.perf_counter(), cpu_seconds(os.getpid())
    while time.perf_counter() - begun < SECONDS / 3:
        await workers.run(function, task.source, **keywords)
        count += 1
    return 1000 * (cpu_seconds(os.getpid()) - cpu) / count

"""Where a request's time goes: the codecs by themselves, in this process, beside the whole that a caller pays for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from bench.utilities_inputs import Task
from bench.utilities_isolation import cpu_ms
from svg2png_py import FontDatabase, svg_to_rgba

from imgapi.pictures.encode import encode_jpeg, encode_png
from imgapi.pictures.frames import first_frame
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.png_writer import write_samples
from imgapi.pictures.probe import probe
from imgapi.pictures.scale import resample, scaled_to_range

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Parts:
    """CPU milliseconds of one task.

    Attributes:
        read_ms: A JPEG decoded at the fraction that suits the target, or an SVG drawn.
        scale_ms: Lanczos.
        write_ms: JPEG or PNG.
    """

    task: Task
    read_ms: float
    scale_ms: float
    write_ms: float


def measure_parts(task: Task) -> Parts:
    """Measure the codecs of one task."""
    if task.suffix == ".svg":
        return _svg_parts(task)
    info = probe(task.source, PictureLimits())
    side = task.side or max(info.width, info.height)
    size = scaled_to_range(info.width, info.height, min_dim=1, max_dim=side)
    target = size if task.side else None
    read, image = _measure(lambda: first_frame(task.source, info, target=target))
    scale, scaled = _measure(lambda: resample(image, size))
    write, _ = _measure(lambda: encode_jpeg(scaled) if task.side else encode_png(scaled))
    return Parts(task, read, scale, write)


def _svg_parts(task: Task) -> Parts:
    document, fonts = task.source.decode(), FontDatabase()
    read, (drawn, width, height) = _measure(lambda: svg_to_rgba(document, fonts))
    samples = np.frombuffer(drawn, np.uint8).reshape(height, width, 4)
    write, _ = _measure(lambda: write_samples(samples, "RGBA"))
    return Parts(task, read, 0.0, write)


def _measure(work: Callable[[], R]) -> tuple[float, R]:
    return cpu_ms(work), work()

"""Measured runs of the preview's public functions, each in a fresh process."""

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from imgapi.emulator.painters import PaintingRefused, PaintJob, paint
from imgapi.errors import ImgapiError
from imgapi.matting.cutout import cut_out

_STATUS = Path("/proc/self/status")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run gave and cost.

    Attributes:
        pictures: Encoded results; none when the edit was refused.
        warnings: The result's warning words.
        refusal: Code and sentence; 'Crash: …' after an error that no painter may raise; '' when there is a result.
        seconds: CPU seconds of the call; the libraries were imported before.
        peak_bytes: Most resident memory of the whole process, libraries and input included.
    """

    pictures: tuple[bytes, ...]
    warnings: tuple[str, ...]
    refusal: str
    seconds: float
    peak_bytes: int


def run_all(jobs: Sequence[PaintJob | bytes], *, processes: int) -> list[Outcome]:
    """Run every job, so many at a time, each in a process of its own; bytes are a picture to be cut out."""
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, max_tasks_per_child=1) as pool:
        return list(pool.map(measure, jobs))


def measure(job: PaintJob | bytes) -> Outcome:
    """Run one job in this process, which must have done nothing else."""
    import_module("imgapi.matting.classical")
    begun = time.process_time()
    pictures: tuple[bytes, ...] = ()
    warnings: tuple[str, ...] = ()
    refusal = ""
    try:
        if isinstance(job, bytes):
            cutout = cut_out(job)
            pictures, warnings = (cutout.content,), cutout.warnings
        else:
            painting = paint(job)
            pictures, warnings = painting.pictures, painting.warnings
    except PaintingRefused as exc:
        refusal = f"{exc.code}: {exc.message}"
    except ImgapiError as exc:
        refusal = f"{type(exc).__name__}: {exc.message}"
    except Exception as exc:  # noqa: BLE001 - one broken run is a finding, and must not end the other hundreds
        refusal = f"Crash: {type(exc).__name__}: {exc}"
    return Outcome(pictures, warnings, refusal, time.process_time() - begun, _peak_bytes())


def _peak_bytes() -> int:
    # Linux counts the starting process's peak into the ru_maxrss of the one it starts; VmHWM is this process alone.
    if _STATUS.exists():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

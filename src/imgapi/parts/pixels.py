"""The parts that work on pixels: worker processes, and the matting model."""

import os

from imgapi.clock import Clock
from imgapi.matting.by_model import ByModel, find_lack
from imgapi.matting.model_files import ModelFiles
from imgapi.matting.models import choose
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.workers import PRELOADED, Workers
from imgapi.settings import Settings, SettingsInvalidError, environment_name

# The largest known network takes some 5 GiB beside its weights.
MATTING_MEMORY_BYTES = 8 * 1024**3


def picture_limits(settings: Settings) -> PictureLimits:
    """Collect the bounds on pictures."""
    return PictureLimits(
        max_bytes=settings.max_picture_bytes,
        max_pixels=settings.max_pixels,
        max_total_pixels=settings.max_total_pixels,
        max_side=settings.max_side,
        max_frames=settings.max_frames,
        max_svg_bytes=settings.max_svg_bytes,
        max_svg_pixels=settings.max_svg_pixels,
    )


def make_workers(settings: Settings) -> Workers:
    """Make the processes that do pixel work."""
    return Workers(
        count=settings.workers,
        max_waiting=settings.workers_waiting,
        timeout_seconds=settings.worker_seconds,
        svg_seconds=settings.svg_seconds,
    )


def model_files(settings: Settings) -> ModelFiles:
    """Find the folder of matting models."""
    return ModelFiles(settings.models_folder, settings.models_offline)


def make_by_model(settings: Settings, clock: Clock) -> ByModel | None:
    """Make what cuts out by a model; None where that is done by classical means.

    Raises:
        SettingsInvalidError: The model can't be run here.
    """
    choice = choose(settings.matting)
    if choice is None:
        return None
    if (lack := find_lack(choice)) is not None:
        raise SettingsInvalidError(f"{environment_name('matting')} has a wrong value: {lack}.")
    # One process, started at the first use: one session serves all, and its memory is not that of the other workers.
    process = Workers(
        count=1,
        max_waiting=settings.workers_waiting,
        timeout_seconds=settings.matting_seconds,
        max_memory_bytes=MATTING_MEMORY_BYTES,
        preload=(*PRELOADED, "imgapi.matting.onnx"),
    )
    threads = settings.matting_threads or min(4, os.cpu_count() or 1)
    return ByModel(choice, model_files(settings), process, threads=threads, clock=clock)


def cut_out_engine(by_model: ByModel | None) -> str:
    """Name what cuts out, as replies do."""
    return "local-preview" if by_model is None else by_model.choice.label

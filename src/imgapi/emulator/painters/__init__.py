"""The local preview engine: one painter per operation.

Classical image processing on one CPU core; no learned weights, nothing downloaded. `paint` is to be run in a
worker process: only there are the painters imported, and OpenCV with them.
"""

from importlib import import_module

from imgapi.emulator.painters.job import Painting, PaintingRefused, PaintJob
from imgapi.errors import ImageTooLarge, SubjectNotFound, UnreadableImage

__all__ = ["PAINTERS", "PaintJob", "Painting", "PaintingRefused", "paint"]

_MAX_COUNT = 4
PAINTERS = {
    "background": ("background", "paint_background"),
    "try_on": ("try_on", "paint_try_on"),
    "expand": ("expand", "paint_expansion"),
    "super_resolution": ("super_resolution", "paint_enlargement"),
    "remove_watermark": ("watermark", "paint_without_watermark"),
    "description_edit_with_mask": ("masked_edit", "paint_masked_edit"),
}
"""Operation to module and function."""


def paint(job: PaintJob) -> Painting:
    """Compute the edit from its pictures: `job.count` PNGs (JPEGs for 'try_on').

    The same job gives the same bytes. Only 'background' has more than one composition; the other operations have
    one answer, which is repeated.

    Raises:
        PaintingRefused: With an upstream code, when the pictures or the parameters don't allow the edit.
    """
    if job.operation not in PAINTERS:
        raise PaintingRefused("InvalidParameter", f"the local preview has no painter for '{job.operation}'")
    if not 1 <= job.count <= _MAX_COUNT:
        raise PaintingRefused("InvalidParameter", f"Range of n should be [1, {_MAX_COUNT}]")
    module, function = PAINTERS[job.operation]
    import_module("imgapi.matting.pixels").prepare_process()
    try:
        painting: Painting = getattr(import_module(f"{__name__}.{module}"), function)(job)
    except SubjectNotFound as exc:
        raise PaintingRefused("InvalidParameter.ImageContent", exc.message) from exc
    except (UnreadableImage, ImageTooLarge) as exc:
        raise PaintingRefused("InvalidParameter", exc.message) from exc
    return painting

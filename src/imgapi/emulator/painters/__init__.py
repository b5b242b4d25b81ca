"""The local preview engine: one painter per operation.

Classical image processing on one CPU core; no learned weights, nothing downloaded. `paint` is to be run in a
worker process.
"""

from imgapi.emulator.painters.background import paint_background
from imgapi.emulator.painters.expand import paint_expansion
from imgapi.emulator.painters.job import PaintingRefused, PaintJob
from imgapi.emulator.painters.masked_edit import paint_masked_edit
from imgapi.emulator.painters.super_resolution import paint_enlargement
from imgapi.emulator.painters.try_on import paint_try_on
from imgapi.emulator.painters.watermark import paint_without_watermark
from imgapi.errors import ImageTooLarge, SubjectNotFound, UnreadableImage
from imgapi.matting.pixels import prepare_process

__all__ = ["PaintJob", "PaintingRefused", "paint"]

_MAX_COUNT = 4
_PAINTERS = {
    "background": paint_background,
    "try_on": paint_try_on,
    "expand": paint_expansion,
    "super_resolution": paint_enlargement,
    "remove_watermark": paint_without_watermark,
    "description_edit_with_mask": paint_masked_edit,
}


def paint(job: PaintJob) -> list[bytes]:
    """Compute the edit from its pictures: `job.count` PNGs (JPEGs for 'try_on').

    The same job gives the same bytes. Only 'background' has more than one composition; the other operations have
    one answer, which is repeated.

    Raises:
        PaintingRefused: With an upstream code, when the pictures or the parameters don't allow the edit.
    """
    painter = _PAINTERS.get(job.operation)
    if painter is None:
        raise PaintingRefused("InvalidParameter", f"the local preview has no painter for '{job.operation}'")
    if not 1 <= job.count <= _MAX_COUNT:
        raise PaintingRefused("InvalidParameter", f"Range of n should be [1, {_MAX_COUNT}]")
    prepare_process()
    try:
        return painter(job)
    except SubjectNotFound as exc:
        raise PaintingRefused("InvalidParameter.ImageContent", exc.message) from exc
    except (UnreadableImage, ImageTooLarge) as exc:
        raise PaintingRefused("InvalidParameter", exc.message) from exc

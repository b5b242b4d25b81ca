"""Watermark removal: find the mark, then take it off or inpaint it."""

from collections.abc import Sequence

import numpy as np

from imgapi.emulator.painters.canvas import decode, flatten, one_painting
from imgapi.emulator.painters.job import Painting, PaintingRefused, PaintJob
from imgapi.emulator.painters.marks import find_marks
from imgapi.emulator.painters.masked_edit import read_mask
from imgapi.emulator.painters.unblending import remove_marked
from imgapi.matting.pixels import Pixels

_MOST_SHARE = 0.5
# The ink and rims of the densest tiled marks cover a third; more is no mark but the picture itself.
_MOST_FOUND = 0.35
# Beyond this share of the frame the mark is tiled or large: some of it is mostly overlooked, and the filling shows.
_CERTAIN_SHARE = 0.06
_MAX_BOXES = 64
_BOX_NUMBERS = 4
_MAX_LENGTH = 1_000_000


def paint_without_watermark(job: PaintJob) -> Painting:
    """Remove the watermark of 'base'; an unchanged picture is never returned.

    The picture 'mask' (white marks the area) or the parameter `boxes` (x, y, width, height in pixels each) says where
    it is; without either, text-like overlays are looked for, and looked for again in the result. The prompt is not
    used. The warning 'low_confidence' says that the mark is large, or that some of it seems to be left.

    Raises:
        PaintingRefused: InvalidParameter.ImageContent when nothing was found; InvalidParameter for a bad mask or box.
    """
    base = decode(job, "base")
    picture = flatten(base)
    warnings: tuple[str, ...] = ()
    if "mask" in job.pictures:
        painted = remove_marked(picture, read_mask(decode(job, "mask"), base.height, base.width))
    elif job.parameters.get("boxes"):
        painted = remove_marked(picture, _read_boxes(job.parameters["boxes"], base.height, base.width))
    else:
        painted, is_certain = _remove_marks(picture)
        warnings = () if is_certain else ("low_confidence",)
    return one_painting(job, painted, base.icc_profile, warnings=warnings, ignored=("prompt",))


def _remove_marks(picture: Pixels) -> tuple[Pixels, bool]:
    """Find marks, remove them, and remove what shows up of them only then.

    Returns:
        H×W×3 uint8, and whether the mark was small and nothing like it is left.
    """
    area = find_marks(picture)
    if not area.any() or float(area.mean()) > _MOST_FOUND:
        raise PaintingRefused(
            "InvalidParameter.ImageContent",
            # Short enough to be told whole: callers get 200 characters of an upstream's message.
            "no watermark was found: send /remove_watermark `boxes` ([x, y, width, height] in pixels each) or a "
            "`mask_url` that says where it is; by itself it finds plain text of one opacity",
        )
    painted = remove_marked(picture, area)
    left = find_marks(painted)
    if not left.any():
        return painted, float(area.mean()) < _CERTAIN_SHARE
    if float((area | left).mean()) > _MOST_FOUND:
        return painted, False
    return remove_marked(painted, left), False


def _read_boxes(boxes: object, height: int, width: int) -> Pixels:
    """Turn a list of [x, y, width, height] into H×W bool; a part outside the picture is ignored."""
    area = np.zeros((height, width), dtype=bool)
    if not isinstance(boxes, Sequence) or isinstance(boxes, str) or len(boxes) > _MAX_BOXES:
        raise PaintingRefused("InvalidParameter", f"boxes must be a list of at most {_MAX_BOXES} [x, y, width, height]")
    for box in boxes:
        if not isinstance(box, Sequence) or len(box) != _BOX_NUMBERS or not all(_is_length(value) for value in box):
            raise PaintingRefused("InvalidParameter", "each box must be [x, y, width, height] in pixels, none negative")
        x, y, across, down = (round(value) for value in box)
        area[y : y + down, x : x + across] = True
    if not area.any() or float(area.mean()) > _MOST_SHARE:
        raise PaintingRefused("InvalidParameter", "boxes must mark some of the picture and at most half of it")
    return area


def _is_length(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _MAX_LENGTH

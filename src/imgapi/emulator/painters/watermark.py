"""Watermark removal: find the mark, then inpaint it."""

from collections.abc import Sequence

import numpy as np

from imgapi.emulator.painters.canvas import decode, encode_png, flatten, inpaint
from imgapi.emulator.painters.job import PaintingRefused, PaintJob
from imgapi.emulator.painters.marks import find_marks
from imgapi.emulator.painters.masked_edit import read_mask
from imgapi.matting.pixels import Pixels

_MOST_SHARE = 0.5
_MAX_BOXES = 64
_BOX_NUMBERS = 4
_MAX_LENGTH = 1_000_000


def paint_without_watermark(job: PaintJob) -> list[bytes]:
    """Remove the watermark of 'base'; an unchanged picture is never returned.

    The picture 'mask' (white marks the area) or the parameter `boxes` (x, y, width, height in pixels each) says where
    it is; without either, text-like overlays are looked for. The prompt is not used.

    Raises:
        PaintingRefused: InvalidParameter.ImageContent when nothing was found; InvalidParameter for a bad mask or box.
    """
    base = decode(job, "base")
    picture = flatten(base)
    if "mask" in job.pictures:
        area = read_mask(decode(job, "mask"), base.height, base.width)
    elif job.parameters.get("boxes"):
        area = _read_boxes(job.parameters["boxes"], base.height, base.width)
    else:
        area = find_marks(picture)
        if not area.any() or float(area.mean()) > _MOST_SHARE:
            raise PaintingRefused(
                "InvalidParameter.ImageContent",
                "no watermark was found; the local preview recognises plain text of one opacity, the real model more",
            )
    painted = inpaint(picture, area)
    return [encode_png(painted, warnings=("prompt_ignored",), icc_profile=base.icc_profile)] * job.count


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

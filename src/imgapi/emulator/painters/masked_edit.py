"""Inpainting of the white area of a mask."""

import cv2
import numpy as np

from imgapi.emulator.painters.canvas import decode, flatten, one_painting
from imgapi.emulator.painters.job import Painting, PaintingRefused, PaintJob
from imgapi.emulator.painters.unblending import remove_marked
from imgapi.matting.pixels import Picture, Pixels

_WHITE_LEVEL = 127
_MOST_SHARE = 0.95


def paint_masked_edit(job: PaintJob) -> Painting:
    """Fill the white area of the picture 'mask' from its surroundings; the prompt is not used.

    Raises:
        PaintingRefused: No mask, a mask of another size, or one that marks nothing or (almost) everything.
    """
    base = decode(job, "base")
    mask = read_mask(decode(job, "mask"), base.height, base.width)
    painted = remove_marked(flatten(base), mask)
    return one_painting(job, painted, base.icc_profile, ignored=("prompt",))


def read_mask(picture: Picture, height: int, width: int) -> Pixels:
    """Turn a decoded mask into H×W bool, True where it is white.

    Raises:
        PaintingRefused: InvalidParameter when the size differs or nothing (or nearly all) is marked.
    """
    if (picture.height, picture.width) != (height, width):
        raise PaintingRefused(
            "InvalidParameter",
            f"the mask has {picture.width}x{picture.height} pixels and the picture {width}x{height}: "
            "send one of the same size",
        )
    mask = cv2.cvtColor(flatten_on_black(picture), cv2.COLOR_RGB2GRAY) > _WHITE_LEVEL
    share = float(np.mean(mask))
    if share == 0 or share > _MOST_SHARE:
        raise PaintingRefused(
            "InvalidParameter", "the mask must be white where the picture is to change and black where it is to stay"
        )
    return mask


def flatten_on_black(picture: Picture) -> Pixels:
    """Lay a mask on black where it is transparent, so that the transparent part marks nothing: H×W×3 uint8."""
    if picture.alpha is None:
        return picture.rgb
    return np.where(picture.alpha[:, :, None] > _WHITE_LEVEL, picture.rgb, 0).astype(np.uint8)

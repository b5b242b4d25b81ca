"""The line where an original meets what was painted round it, hidden where the two don't match."""

import cv2
import numpy as np

from imgapi.emulator.painters.canvas import smoothstep
from imgapi.emulator.painters.frame import Frame
from imgapi.matting.pixels import Pixels

_REACH = 0.022
_ALONG = 0.005
_UNSEEN = 1.0
_GLARING = 7.0


def hide_frame(result: Pixels, original: Pixels, frame: Frame) -> None:
    """Let the original's rim fade out beyond its frame wherever the filler meets it with a step.

    The band is too narrow (about 2 % of the shorter side) to show that its content is mirrored.

    Args:
        result: The whole larger picture, 3 uint8; changed outside the frame only.
        original: H×W×3 uint8.
        frame: The geometry.
    """
    reach = max(2, round(_REACH * min(frame.width, frame.height)))
    rows, columns = frame.inside
    beyond = (
        (result[: frame.top, columns][::-1], original, frame.left, frame.right),
        (result[rows.stop :, columns], original[::-1], frame.left, frame.right),
        (_turn(result[rows, : frame.left])[::-1], _turn(original), frame.top, frame.bottom),
        (_turn(result[rows, columns.stop :]), _turn(original)[::-1], frame.top, frame.bottom),
    )
    for filler, rim, before, after in beyond:
        depth = min(reach, len(filler), len(rim))
        if depth:
            _fade(filler[:depth], rim[:depth], before > 0, after > 0)


def _turn(pixels: Pixels) -> Pixels:
    """Exchange rows and columns, as a view."""
    return pixels.transpose(1, 0, 2)


def _fade(filler: Pixels, rim: Pixels, open_before: bool, open_after: bool) -> None:  # noqa: FBT001 - two ends alike
    """Fade a rim into the filler; row 0 of both lies at the frame. Changes `filler`."""
    depth, length = filler.shape[:2]
    step = np.abs(filler[0].astype(np.float32) - rim[0]).max(axis=1)[None]
    step = cv2.GaussianBlur(step, (0, 0), max(1.0, _ALONG * length), sigmaY=0.1)[0]
    share = np.clip((step - _UNSEEN) / (_GLARING - _UNSEEN), 0, 1)
    # At a corner nothing is painted beyond the end of the side, so that the band must end softly there.
    to_end = np.arange(length) + 0.5
    if open_before:
        share = share * np.clip(to_end / depth, 0, 1)
    if open_after:
        share = share * np.clip((length - to_end) / depth, 0, 1)
    away = (np.arange(depth) + 0.5) / depth
    weight = ((1 - smoothstep(away))[:, None] * share[None])[:, :, None].astype(np.float32)
    filler[:] = (filler * (1 - weight) + rim * weight + 0.5).astype(np.uint8)

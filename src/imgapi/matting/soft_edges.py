"""From a network's small soft matte to the full picture, its edge colours freed of the old background."""

import cv2
import numpy as np

from imgapi.matting.pixels import Pixels, shrink

_WORK_SIDE = 2048
_STRIP_ROWS = 512
_BAND_SHARE = 0.008
_OPAQUE, _CLEAR = 0.985, 0.015


def apply_matte(rgb: Pixels, matte: Pixels) -> Pixels:
    """Give a picture a soft matte.

    Args:
        rgb: H×W×3 uint8.
        matte: h×w float32 in 0..1, of any size; spread over the picture.

    Returns:
        H×W×4 uint8; where the matte is soft, the colours are the subject's own.
    """
    work = shrink(rgb, _WORK_SIDE)
    height, width = work.shape[:2]
    enlarged = cv2.resize(matte, (width, height), interpolation=cv2.INTER_CUBIC)
    # What is all but solid or clear becomes it: neither a veil over the subject nor a haze around it is left.
    soft = np.clip((enlarged - _CLEAR) / (_OPAQUE - _CLEAR), 0.0, 1.0).astype(np.float32)
    radius = max(3, round(max(height, width) * _BAND_SHARE))
    foreground, background = _separate_colours(work.astype(np.float32) / 255.0, soft, radius)
    return _blend(rgb, soft, foreground, background)


def _separate_colours(rgb: Pixels, matte: Pixels, radius: int) -> tuple[Pixels, Pixels]:
    """Estimate both colours of every mixed pixel (H×W×3 uint8 each) by two rounds of blur fusion (Forte, 2021)."""
    weight = matte[:, :, None]
    foreground, background = rgb, rgb
    for spread in (6 * radius + 1, 2 * max(1, radius // 2) + 1):
        window = (spread, spread)
        near = cv2.blur(foreground * weight, window) / (cv2.blur(matte, window)[:, :, None] + 1e-5)
        behind = cv2.blur(background * (1 - weight), window) / (cv2.blur(1 - matte, window)[:, :, None] + 1e-5)
        foreground = np.clip(near + weight * (rgb - weight * near - (1 - weight) * behind), 0.0, 1.0)
        background = np.clip(behind, 0.0, 1.0)
    return (np.clip(near, 0.0, 1.0) * 255).astype(np.uint8), (background * 255).astype(np.uint8)


def _blend(rgb: Pixels, matte: Pixels, foreground: Pixels, background: Pixels) -> Pixels:
    """Bring all to the full size, in strips, so that 50 megapixels need no more float memory than one."""
    height, width = rgb.shape[:2]
    if matte.shape != (height, width):
        matte, foreground, background = (
            cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
            for plane in (matte, foreground, background)
        )
    result = np.empty((height, width, 4), dtype=np.uint8)
    for top in range(0, height, _STRIP_ROWS):
        rows = slice(top, min(height, top + _STRIP_ROWS))
        strip, pixels, near, behind = matte[rows], rgb[rows], foreground[rows], background[rows]
        colours = pixels.copy()
        mixed = (strip > 0) & (strip < 1)
        weight = strip[mixed][:, None]
        front = near[mixed].astype(np.float32)
        missing = pixels[mixed] - weight * front - (1 - weight) * behind[mixed]
        colours[mixed] = np.clip(front + weight * missing + 0.5, 0, 255).astype(np.uint8)
        result[rows, :, :3] = colours
        result[rows, :, 3] = (strip * 255.0 + 0.5).astype(np.uint8)
    return result

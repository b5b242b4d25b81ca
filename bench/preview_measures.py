"""Figures that compare pictures: overlap, likeness, overshoot, seams."""

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[Any]

_LUMA = np.array([0.299, 0.587, 0.114])
# The window and the constants of Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment", 2004.
_WINDOW, _SIGMA = (11, 11), 1.5
_STEADY_MEAN, _STEADY_SPREAD = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_BEST_PSNR = 99.0
# In a smooth sky nobody sees a step of so many levels, though it is many times the steps beside it.
_UNSEEN_STEP = 2.0


def iou(found: Pixels, true: Pixels) -> float:
    """Return the intersection over the union of two H×W bool masks: 0..1, 1 when both are empty."""
    union = int((found | true).sum())
    return float((found & true).sum() / union) if union else 1.0


def psnr(one: Pixels, other: Pixels, where: Pixels | None = None) -> float:
    """Return the peak signal to noise ratio, in dB and at most 99, of two H×W×3 uint8, or of their marked pixels."""
    squares = (one.astype(np.float64) - other.astype(np.float64)) ** 2
    error = float((squares if where is None else squares[where]).mean())
    return min(_BEST_PSNR, float(10 * np.log10(255**2 / error))) if error else _BEST_PSNR


def luma(rgb: Pixels) -> Pixels:
    """Return the lightness of H×W×3 uint8 as H×W float64, 0..255."""
    return np.asarray(rgb @ _LUMA)


def ssim(one: Pixels, other: Pixels) -> float:
    """Return the mean structural similarity of the lightness of two H×W×3 uint8: at most 1, which is equality."""
    first, second = luma(one), luma(other)

    def blur(plane: Pixels) -> Pixels:
        return cv2.GaussianBlur(plane, _WINDOW, _SIGMA)

    mean_one, mean_two = blur(first), blur(second)
    spread_one = blur(first * first) - mean_one**2
    spread_two = blur(second * second) - mean_two**2
    common = blur(first * second) - mean_one * mean_two
    likeness = (2 * mean_one * mean_two + _STEADY_MEAN) * (2 * common + _STEADY_SPREAD)
    scale = (mean_one**2 + mean_two**2 + _STEADY_MEAN) * (spread_one + spread_two + _STEADY_SPREAD)
    # The rim of the window sees mirrored pixels; it is left out, as the paper does.
    return float((likeness / scale)[5:-5, 5:-5].mean())


def overshoot(result: Pixels, true: Pixels) -> float:
    """Return how far, in 8-bit levels on average, the lightness leaves the range that the truth has within 2 pixels.

    A halo is lightness that nothing near it has; 0 is none.
    """
    light, reference = luma(result), luma(true)
    kernel = np.ones((5, 5), np.uint8)
    above = np.maximum(0.0, light - cv2.dilate(reference, kernel))
    below = np.maximum(0.0, cv2.erode(reference, kernel) - light)
    return float((above + below).mean())


def seam(expanded: Pixels, box: tuple[int, int, int, int]) -> float:
    """Return how much stronger the lightness steps at the rim of a box than inside it; 1 is an invisible seam.

    Args:
        expanded: H×W×3 uint8.
        box: Left, top, right, bottom of the original; sides at the frame have no seam.
    """
    light = luma(expanded)
    left, top, right, bottom = box
    across, down = np.abs(np.diff(light, axis=1)), np.abs(np.diff(light, axis=0))
    steps = []
    if left > 0:
        steps.append((across[top:bottom, left - 1], across[top:bottom, left : left + 8]))
    if right < light.shape[1]:
        steps.append((across[top:bottom, right - 1], across[top:bottom, right - 9 : right - 1]))
    if top > 0:
        steps.append((down[top - 1, left:right], down[top : top + 8, left:right]))
    if bottom < light.shape[0]:
        steps.append((down[bottom - 1, left:right], down[bottom - 9 : bottom - 1, left:right]))
    return max(float(at.mean() / max(_UNSEEN_STEP, near.mean())) for at, near in steps)


def detail(rgb: Pixels, where: Pixels) -> float:
    """Return the mean lightness step between neighbours among the marked pixels, in 8-bit levels."""
    light = luma(rgb)
    steps = np.abs(np.diff(light, axis=1))[:-1] + np.abs(np.diff(light, axis=0))[:, :-1]
    return float(steps[where[:-1, :-1]].mean() / 2)

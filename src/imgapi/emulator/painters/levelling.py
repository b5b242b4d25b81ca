"""Differences of colour at the seams of a patchwork spread out until none is seen (a screened Poisson equation)."""

# ruff: noqa: PLR2004 - the coefficients are those of the five-point Laplacian and of multigrid.

import cv2
import numpy as np

from imgapi.matting.pixels import Pixels

_DECAY = 0.0005
_MOST_STEP = 45.0
_CYCLES = 6
_SWEEPS = 2
_RELAXATION = 0.8


def level_seams(patchwork: Pixels, shown: Pixels) -> Pixels:
    """Compute what to add to a patchwork so that colours pass from piece to piece without a step.

    Args:
        patchwork: H×W×3 uint8.
        shown: H×W integers, which piece each pixel is of; negative where the pixel must stay as it is.

    Returns:
        H×W×3 float32; zero where `shown` is negative, and fading some 45 pixels away from each seam.
    """
    colours = patchwork.astype(np.float32)
    aim = np.zeros_like(colours)
    for axis in (0, 1):
        later, earlier = _halves(colours, axis)
        apart = np.not_equal(*_halves(shown, axis))[:, :, None]
        step = np.clip(later - earlier, -_MOST_STEP, _MOST_STEP) * apart
        aim_later, aim_earlier = _halves(aim, axis)
        aim_earlier -= step
        aim_later += step
    return _cycle_repeatedly(aim, (shown >= 0).astype(np.float32))


def _halves(values: Pixels, axis: int) -> tuple[Pixels, Pixels]:
    """Views of all pixels but the first and all but the last along an axis."""
    return (values[1:], values[:-1]) if axis == 0 else (values[:, 1:], values[:, :-1])


def _cycle_repeatedly(aim: Pixels, free: Pixels) -> Pixels:
    answer = np.zeros_like(aim)
    for _ in range(_CYCLES):
        answer = _cycle(answer, aim, free, _DECAY)
    return answer


def _cycle(answer: Pixels, aim: Pixels, free: Pixels, decay: float) -> Pixels:
    """One multigrid V-cycle; `decay` is in units of this level's pixels."""
    answer = _relax(answer, aim, free, decay)
    if min(free.shape) > 6:
        rest = (aim - _laplacian(answer) + decay * answer) * free[:, :, None]
        size = ((free.shape[1] + 1) // 2, (free.shape[0] + 1) // 2)
        coarse = 4 * cv2.resize(rest, size, interpolation=cv2.INTER_AREA)
        coarse_free = (cv2.resize(free, size, interpolation=cv2.INTER_AREA) > 0.99).astype(np.float32)
        change = _cycle(np.zeros_like(coarse), coarse, coarse_free, 4 * decay)
        change = cv2.resize(change, (free.shape[1], free.shape[0]), interpolation=cv2.INTER_LINEAR)
        answer = answer + change * free[:, :, None]
    return _relax(answer, aim, free, decay)


def _relax(answer: Pixels, aim: Pixels, free: Pixels, decay: float) -> Pixels:
    for _ in range(_SWEEPS):
        change = (_laplacian(answer) - decay * answer - aim) * (_RELAXATION / (4 + decay))
        answer = (answer + change) * free[:, :, None]
    return answer


def _laplacian(values: Pixels) -> Pixels:
    ringed = cv2.copyMakeBorder(values, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    total = ringed[1:-1, :-2] + ringed[1:-1, 2:] + ringed[:-2, 1:-1] + ringed[2:, 1:-1]
    return np.asarray(total - 4 * values)

"""A person's outline, grown from where the face is and how people are built."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

import cv2
import numpy as np

from imgapi.matting.pixels import Pixels
from imgapi.matting.regions import fill_holes
from imgapi.matting.scene import grab


def outline_from_face(rgb: Pixels, face: tuple[int, int, int, int]) -> Pixels:
    """Find the outline of the person of a face by two GrabCuts, one of the upper and one of the lower body.

    Two, because clothes and surroundings differ above and below: each half has colours of its own.

    Args:
        rgb: H×W×3 uint8, the surroundings of one person.
        face: x, y, width, height of the face.

    Returns:
        H×W bool.
    """
    x, y, unit, _ = face
    height, width = rgb.shape[:2]
    across = np.abs((np.arange(width, dtype=np.float32)[None] - x - unit / 2) / unit)
    down = (np.arange(height, dtype=np.float32)[:, None] - y) / unit
    upper_end = min(height, round(y + 4.9 * unit))
    upper = grab(np.ascontiguousarray(rgb[:upper_end]), _upper_seed(across, down[:upper_end]))
    mask = np.zeros((height, width), dtype=bool)
    mask[:upper_end] = upper
    lower_start = round(y + 3.4 * unit)
    if lower_start < height - unit:
        lower = grab(np.ascontiguousarray(rgb[lower_start:]), _lower_seed(across, down[lower_start:]))
        seam = round(y + 4.2 * unit)
        mask[seam:] = lower[seam - lower_start :]
    return _tidy(mask, across, down, unit)


def _upper_seed(across: Pixels, down: Pixels) -> Pixels:
    seed = np.full((down.shape[0], across.shape[1]), cv2.GC_PR_BGD, dtype=np.uint8)
    seed[(across > 3.4) | (down < -0.6) | ((down < 0.9) & (across > 1.4))] = cv2.GC_BGD
    head = (across / 0.62) ** 2 + ((down - 0.45) / 0.85) ** 2
    seed[head < 1] = cv2.GC_PR_FGD
    seed[(down > 1.25) & (across < np.minimum(1.25, 0.7 + (down - 1.2) * 1.2))] = cv2.GC_PR_FGD
    seed[(across / 0.36) ** 2 + ((down - 0.5) / 0.45) ** 2 < 1] = cv2.GC_FGD
    seed[(down > 0.9) & (down < 1.6) & (across < 0.22)] = cv2.GC_FGD
    seed[(down >= 1.6) & (across < 0.55)] = cv2.GC_FGD
    return seed


def _lower_seed(across: Pixels, down: Pixels) -> Pixels:
    seed = np.full((down.shape[0], across.shape[1]), cv2.GC_PR_BGD, dtype=np.uint8)
    seed[(across > 2.9) | (down > 10.3)] = cv2.GC_BGD
    seed[(across < 1.15) & (down < 9.6)] = cv2.GC_PR_FGD
    seed[(across > 1.15) & (across < 1.5) & (down < 4.4)] = cv2.GC_PR_FGD
    # Between the legs the surroundings may show.
    seed[(across < 0.16) & (down > 5.8)] = cv2.GC_PR_BGD
    seed[(across < 0.55) & (down < 5.0)] = cv2.GC_FGD
    return seed


def _tidy(mask: Pixels, across: Pixels, down: Pixels, unit: int) -> Pixels:
    """Keep what hangs together with the trunk, and fill small holes."""
    side = max(3, round(unit * 0.12)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    _, labels = cv2.connectedComponents(opened, connectivity=8)
    trunk = (across < 0.55) & (down > 0.2) & (down < 4.5)
    own = np.unique(labels[trunk & (opened > 0)])
    kept = np.isin(labels, own[own > 0])
    near = cv2.dilate(kept.astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    return fill_holes(kept | (mask & near), np.ones_like(mask), min_share=0.001)

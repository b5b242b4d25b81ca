"""The plain-backdrop path: a subject before a smooth wall, sky or studio paper."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.matting.pixels import Pixels
from imgapi.matting.regions import drop_small_regions, edge_support, fill_holes, solidity

_RING_SHARE = 0.04
_FIT_ROUNDS = 8
_SIGMAS = 3.5
_MAX_SIGMA = 2.0
_MIN_SIGMA = 0.25
_MIN_INLIERS = 0.8
_THRESHOLDS = (1.2, 2.0, 3.2, 5.0, 8.0, 12.0)
_SHADOW_CHROMA = 4.0
_SHADOW_DROP = 45.0


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A quadratic surface in Lab fitted to the frame's rim.

    Attributes:
        coefficients: 6×3 float64 for the terms 1, x, y, x², y², xy with x and y in -1..1.
        sigma: Robust spread of the rim around the surface, in Lab units.
        inliers: Share (0..1) of the rim within 3.5 sigma.
    """

    coefficients: Pixels
    sigma: float
    inliers: float

    @property
    def is_plain(self) -> bool:
        """Whether the surface explains the rim well enough to trust it behind the subject."""
        return self.inliers > _MIN_INLIERS and self.sigma < _MAX_SIGMA

    def at_size(self, height: int, width: int) -> Pixels:
        """Evaluate the surface: H×W×3 float32 Lab."""
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
        one, cx, cy, cxx, cyy, cxy = self.coefficients.astype(np.float32)
        surface = (one + cx * x + cxx * x * x) + (cy * y + cyy * y * y) + (cxy * x) * y
        return np.asarray(surface, dtype=np.float32)


def fit_backdrop(lab: Pixels) -> Backdrop:
    """Fit the surface to the top, left and right rim by trimmed least squares.

    The bottom rim is left out: subjects stand on it or are cut by it.

    Args:
        lab: H×W×3 float32 Lab, a few hundred pixels a side.
    """
    height, width = lab.shape[:2]
    rim = max(2, round(min(height, width) * _RING_SHARE))
    selected = np.zeros((height, width), dtype=bool)
    selected[:rim] = True
    selected[: int(height * 0.92), :rim] = True
    selected[: int(height * 0.92), -rim:] = True
    rows, columns = np.nonzero(selected)
    x = columns / max(1, width - 1) * 2 - 1
    y = rows / max(1, height - 1) * 2 - 1
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    colours = lab[selected].astype(np.float64)
    centre = np.median(colours, axis=0)
    distances = np.linalg.norm(colours - centre, axis=1)
    coefficients = np.zeros((6, 3))
    sigma = _MIN_SIGMA
    for _ in range(_FIT_ROUNDS):
        kept = distances <= max(float(np.percentile(distances, 75)), _SIGMAS * sigma)
        coefficients = np.linalg.lstsq(terms[kept], colours[kept], rcond=None)[0]
        distances = np.linalg.norm(colours - terms @ coefficients, axis=1)
        sigma = max(_MIN_SIGMA, 0.75 * float(np.median(distances)))
    inliers = float(np.mean(distances <= _SIGMAS * max(sigma, 0.6)))
    return Backdrop(coefficients, sigma, inliers)


def find_before_backdrop(lab: Pixels, backdrop: Backdrop) -> tuple[Pixels, float]:
    """Choose the region that differs from the backdrop.

    Several thresholds are tried, with and without the soft shadow a subject throws; the region whose outline
    lies best on real edges wins.

    Returns:
        H×W bool mask, all False when nothing differs, and its score 0..1.
    """
    difference = lab - backdrop.at_size(*lab.shape[:2])
    distance = np.linalg.norm(difference, axis=2)
    chroma = np.linalg.norm(difference[:, :, 1:], axis=2)
    gradient = _gradient(lab)
    flat = cv2.GaussianBlur(gradient, (0, 0), 1.5) < max(2.5, 3.0 * backdrop.sigma)
    shadow = (difference[:, :, 0] < 0) & (difference[:, :, 0] > -_SHADOW_DROP) & (chroma < _SHADOW_CHROMA) & flat
    best: tuple[Pixels, float] = (np.zeros(distance.shape, dtype=bool), 0.0)
    strongest = float(np.percentile(distance, 99))
    for threshold in _THRESHOLDS:
        level = max(threshold, _SIGMAS * backdrop.sigma)
        if level > 0.6 * strongest:
            continue
        for without_shadow in (False, True):
            mask = distance > level
            if without_shadow:
                mask &= ~cv2.dilate(
                    _connected_to(shadow, distance <= level).astype(np.uint8), np.ones((3, 3), np.uint8)
                ).astype(bool)
            mask = _clean(mask, distance, backdrop.sigma)
            score = _score(mask, gradient, distance, level)
            if score > best[1]:
                best = (mask, score)
    return best


def _gradient(lab: Pixels) -> Pixels:
    total = np.zeros(lab.shape[:2], dtype=np.float32)
    for channel in cv2.split(cv2.GaussianBlur(lab, (0, 0), 0.8)):
        total += cv2.Sobel(channel, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(channel, cv2.CV_32F, 0, 1) ** 2
    return np.sqrt(total) / 8.0


def _connected_to(candidates: Pixels, seeds: Pixels) -> Pixels:
    """Keep the candidate regions that touch the seeds."""
    count, labels = cv2.connectedComponents(candidates.astype(np.uint8), connectivity=4)
    touching = np.unique(labels[cv2.dilate(seeds.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0])
    keep = np.zeros(count, dtype=bool)
    keep[touching] = True
    keep[0] = False
    return np.asarray(keep[labels])


def _clean(mask: Pixels, distance: Pixels, sigma: float) -> Pixels:
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    kept = drop_small_regions(opened > 0, 0.06)
    # A hole whose colour is the backdrop's own is seen through (a cup's handle); any other belongs to the subject.
    seen_through = distance < max(1.5, 3.0 * sigma)
    return fill_holes(kept, seen_through, min_share=0.0008)


def _score(mask: Pixels, gradient: Pixels, distance: Pixels, level: float) -> float:
    share = float(mask.mean())
    if not 0.004 < share < 0.97:
        return 0.0
    support = edge_support(mask, gradient, strong=max(2.0, 0.5 * level))
    coloured = float(np.mean(distance[mask] > level))
    missed = float(np.mean(distance[~mask] > 3 * level))
    return 0.5 * support + 0.25 * coloured + 0.25 * solidity(mask) - 0.5 * missed

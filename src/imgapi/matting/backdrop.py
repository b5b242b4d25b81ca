"""The plain-backdrop path: a subject before a smooth wall, sky or studio paper."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.matting.pixels import Pixels
from imgapi.matting.regions import drop_small_regions, edge_support, fill_prints, gradient_of, solidity

_RING_SHARE = 0.04
_FIT_ROUNDS = 8
_SIGMAS = 3.5
_MAX_SIGMA = 2.0
_MIN_SIGMA = 0.25
_MIN_INLIERS = 0.8
_THRESHOLDS = (1.2, 2.0, 3.2, 5.0, 8.0, 12.0)
_SHADOW_CHROMA = 4.0
_SHADOW_DROP = 45.0
_HOLE_SHADE = 10.0


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


@dataclass(frozen=True, slots=True)
class _Holes:
    """Tells a hole through which the backdrop is seen (a cup's handle) from a print of the backdrop's colour.

    Attributes:
        difference: H×W×3 Lab, the picture less the backdrop.
        shaded: H×W bool, the backdrop under a little less light.
        same: How far, in Lab units, a hole's median colour may be from the backdrop's.
    """

    difference: Pixels
    shaded: Pixels
    same: float

    def fill(self, mask: Pixels) -> Pixels:
        """Fill the prints; leave the openings."""
        return fill_prints(mask, self._is_opening, min_share=0.0008)

    def _is_opening(self, hole: Pixels, thin_walled: bool) -> bool:  # noqa: FBT001 - called back with both by position
        if not thin_walled:
            return False
        same = float(np.linalg.norm(np.median(self.difference[hole], axis=0))) < self.same
        return same or float(self.shaded[hole].mean()) > 0.8


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
    behind = backdrop.at_size(*lab.shape[:2])
    difference = lab - behind
    distance = np.linalg.norm(difference, axis=2)
    fine, coarse = gradient_of(lab, 0.8), gradient_of(lab, 3.0)
    sharp = np.asarray(1.4 * np.maximum(0.0, fine - coarse))
    dim = (difference[:, :, 0] < 0) & (difference[:, :, 0] > -_SHADOW_DROP)
    dim &= _shadow_tint(lab, behind) < _SHADOW_CHROMA
    # None; then what is flat; then what has no sharp edge, told more and more strictly: a pale subject before a pale
    # backdrop is as dim and flat as a shadow, and only its thin outline holds it together.
    shadows = (
        np.zeros_like(dim),
        dim & (cv2.GaussianBlur(fine, (0, 0), 1.5) < max(2.5, 3.0 * backdrop.sigma)),
        dim & (cv2.GaussianBlur(sharp, (0, 0), 0.7) < max(0.8, 1.5 * backdrop.sigma)),
        dim & (cv2.dilate(sharp, np.ones((3, 3), np.uint8)) < max(0.3, 1.2 * backdrop.sigma)),
    )
    holes = _Holes(difference, dim & (distance < _HOLE_SHADE), max(0.7, 2.2 * backdrop.sigma))
    best: tuple[Pixels, float] = (np.zeros(distance.shape, dtype=bool), 0.0)
    strongest = float(np.percentile(distance, 99))
    for threshold in _THRESHOLDS:
        level = max(threshold, _SIGMAS * backdrop.sigma)
        if level > 0.6 * strongest:
            continue
        for shadow in shadows:
            mask = distance > level
            thrown = _connected_to(shadow, ~mask) & mask
            if thrown.any():
                mask &= cv2.dilate(thrown.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
            elif shadow is not shadows[0]:
                continue
            mask = _clean(mask, holes)
            score = _score(mask, sharp, np.where(thrown, 0.0, distance), level)
            if score > best[1]:
                best = (mask, score)
    return best


def _shadow_tint(lab: Pixels, behind: Pixels) -> Pixels:
    """Tell how far (Lab units) each pixel's chroma is from that of the backdrop under less light."""
    dimmed = np.clip((lab[:, :, :1] + 16.0) / (behind[:, :, :1] + 16.0), 0.0, 1.0)
    return np.asarray(np.linalg.norm(lab[:, :, 1:] - behind[:, :, 1:] * dimmed, axis=2))


def _connected_to(candidates: Pixels, seeds: Pixels) -> Pixels:
    """Keep the candidate regions that touch the seeds."""
    count, labels = cv2.connectedComponents(candidates.astype(np.uint8), connectivity=4)
    touching = np.unique(labels[cv2.dilate(seeds.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0])
    keep = np.zeros(count, dtype=bool)
    keep[touching] = True
    keep[0] = False
    return np.asarray(keep[labels])


def _clean(mask: Pixels, holes: _Holes) -> Pixels:
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3)))
    return holes.fill(drop_small_regions(opened > 0, 0.06))


def _score(mask: Pixels, sharp: Pixels, distance: Pixels, level: float) -> float:
    share = float(mask.mean())
    if not 0.004 < share < 0.97:
        return 0.0
    support = edge_support(mask, sharp, strong=max(2.0, 0.5 * level))
    coloured = float(np.mean(distance[mask] > level))
    missed = float(np.mean(distance[~mask] > 3 * level))
    return 0.5 * support + 0.25 * coloured + 0.25 * solidity(mask) - 0.5 * missed

"""Regions of a binary mask: which to keep, which holes to fill, how well an outline fits."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from collections.abc import Callable

import cv2
import numpy as np

from imgapi.matting.pixels import Pixels


def drop_small_regions(mask: Pixels, share: float) -> Pixels:
    """Keep the regions at least `share` (0..1) as large as the largest one."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count <= 1:
        return mask.astype(bool)
    areas = statistics[:, cv2.CC_STAT_AREA].astype(np.float64)
    areas[0] = 0
    return np.asarray((areas >= share * areas.max())[labels] & mask.astype(bool))


def fill_holes(mask: Pixels, seen_through: Pixels, *, min_share: float) -> Pixels:
    """Fill what the mask encloses, except large holes through which the backdrop is seen.

    Args:
        mask: H×W bool.
        seen_through: H×W bool, where the picture looks like what lies behind the subject.
        min_share: Holes smaller than this share of the frame are always filled.
    """
    return fill_prints(mask, lambda hole, _thin: float(seen_through[hole].mean()) >= 0.55, min_share=min_share)


def fill_prints(mask: Pixels, is_opening: Callable[[Pixels, bool], bool], *, min_share: float) -> Pixels:
    """Fill what the mask encloses, except the holes judged to be openings.

    Args:
        mask: H×W bool.
        is_opening: Asked for each larger hole: its H×W bool pixels, and whether the wall round it is thin, as a
            handle's is, measured against the hole's breadth and the thickest part of the filled mask.
        min_share: Holes smaller than this share of the frame are always filled.
    """
    count, labels, statistics, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    height, width = mask.shape
    enclosed = [
        (index, int(statistics[index, cv2.CC_STAT_AREA]))
        for index in range(1, count)
        if _is_clear_of_frame([int(value) for value in statistics[index]], width, height)
    ]
    filled = mask | np.isin(labels, [index for index, _ in enclosed])
    depth = cv2.distanceTransform(filled.astype(np.uint8), cv2.DIST_L2, 3)
    for index, area in enclosed:
        hole = labels == index
        if area < min_share * mask.size:
            continue
        breadth = 2.0 * float(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3).max())
        wall = float(depth[hole].min())
        if is_opening(hole, wall < min(1.2 * breadth, 0.4 * float(depth.max()))):
            filled[hole] = False
    return filled


def _is_clear_of_frame(box: list[int], width: int, height: int) -> bool:
    left, top, across, down = box[:4]
    return left > 0 and top > 0 and left + across < width and top + down < height


def edge_support(mask: Pixels, gradient: Pixels, *, strong: float) -> float:
    """Tell what share (0..1) of the mask's outline lies on an edge at least `strong`; the frame does not count."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE)
    outline = mask & (inner == 0)
    if not outline.any():
        return 0.0
    nearby = cv2.dilate(gradient, np.ones((3, 3), np.uint8))
    return float(np.clip(nearby[outline] / strong, 0, 1).mean())


def solidity(mask: Pixels) -> float:
    """Tell how much of its convex hull the mask fills, 0..1."""
    if not mask.any():
        return 0.0
    points = cv2.findNonZero(mask.astype(np.uint8))
    hull = float(cv2.contourArea(cv2.convexHull(points)))
    return min(1.0, float(mask.sum()) / max(1.0, hull))


def touched_sides(mask: Pixels, *, share: float = 0.02) -> frozenset[str]:
    """Name the sides ('top', 'bottom', 'left', 'right') where the mask meets more than `share` of the frame's side."""
    sides = {"top": mask[0], "bottom": mask[-1], "left": mask[:, 0], "right": mask[:, -1]}
    return frozenset(name for name, line in sides.items() if float(line.mean()) > share)


def overlap(one: Pixels, other: Pixels) -> float:
    """Tell the intersection of two masks over their union, 0..1; 0 when both are empty."""
    return float((one & other).sum()) / max(1.0, float((one | other).sum()))


def outline_contrast(mask: Pixels, lab: Pixels) -> float:
    """Tell how much (0..1) the colours differ across the mask's outline, a few pixels to either side."""
    disc, window = np.ones((9, 9), np.uint8), (15, 15)
    solid = mask.astype(np.uint8)
    eroded = cv2.erode(solid, disc, borderType=cv2.BORDER_REPLICATE) > 0
    means = []
    for ring in (mask & ~eroded, (cv2.dilate(solid, disc) > 0) & ~mask):
        weight = ring.astype(np.float32)
        total = np.maximum(cv2.blur(weight, window), 1e-3)
        means.append(cv2.blur(lab * weight[:, :, None], window) / total[:, :, None])
    outline = mask & (cv2.erode(solid, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_REPLICATE) == 0)
    if not outline.any():
        return 0.0
    return float(np.minimum(np.linalg.norm(means[0] - means[1], axis=2)[outline] / 40.0, 1.0).mean())


def gradient_of(lab: Pixels, blur: float) -> Pixels:
    """Measure the slope of all three Lab channels together, in Lab units a pixel, after a Gaussian blur."""
    total = np.zeros(lab.shape[:2], dtype=np.float32)
    for channel in cv2.split(cv2.GaussianBlur(lab, (0, 0), blur)):
        total += cv2.Sobel(channel, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(channel, cv2.CV_32F, 0, 1) ** 2
    return np.sqrt(total) / 8.0

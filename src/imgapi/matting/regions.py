"""Regions of a binary mask: which to keep, which holes to fill, how well an outline fits."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

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
    count, labels, statistics, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    filled = mask.copy()
    height, width = mask.shape
    for index in range(1, count):
        left, top, across, down, area = (int(value) for value in statistics[index])
        if left == 0 or top == 0 or left + across == width or top + down == height:
            continue
        hole = labels == index
        if area < min_share * mask.size or float(seen_through[hole].mean()) < 0.55:
            filled[hole] = True
    return filled


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

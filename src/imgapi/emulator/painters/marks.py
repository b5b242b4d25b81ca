"""Detection of text-like overlays: strokes of one opacity, set in lines, anywhere in the frame.

An overlay of white letters lifts every colour by the same share of what is missing to white, whatever lies below;
dark letters lower it by the same share of what is there. That share, the opacity, is nearly constant within
a letter and among the letters of a mark, and hardly ever among the bright details of a photo.
"""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.matting.pixels import Pixels, shrink

_WORK_SIDE = 1280
_WINDOWS = (13, 23, 41, 71)
_LEVELS = (0.12, 0.25, 0.42)
_SHARP = 0.2
_COLOURED = 0.5
_KEPT_OPACITY = 0.45
_FLAT = 0.3
_SAME_OPACITY = 0.22
_MOST_LETTERS = 1500
_LINE_LETTERS = 4
_FIELD_LETTERS = 8
_LEAST_LENGTH = 0.8
_LIMIT = 1.7
_JOIN_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class _Letters:
    """Candidate letters of one scale, one row each: arrays of length n, and the picture they were found in."""

    labels: Pixels
    opacity: Pixels
    indices: Pixels
    centres: Pixels
    heights: Pixels
    means: Pixels
    strokes: Pixels


def find_marks(rgb: Pixels) -> Pixels:
    """Find watermark-like text: H×W bool, slightly wider than the strokes; all False when nothing was found.

    Args:
        rgb: H×W×3 uint8 of any size.
    """
    work = shrink(rgb, _WORK_SIDE)
    found = np.zeros(work.shape[:2], dtype=bool)
    for is_dark in (False, True):
        source = 255 - work if is_dark else work
        for window in _WINDOWS:
            if window * 2 < min(work.shape[:2]):
                found |= _find_at_scale(source, window)
    if not found.any():
        return np.zeros(rgb.shape[:2], dtype=bool)
    full = cv2.resize(found.astype(np.float32), (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)
    # The soft rim of the letters and their shadow belong to the mark too.
    margin = 2 * max(2, round(0.0022 * max(rgb.shape[:2]))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (margin, margin))
    return cv2.dilate((full > 0.3).astype(np.uint8), kernel) > 0


def _find_at_scale(source: Pixels, window: int) -> Pixels:
    opacity, colour = _opacity(source, window)
    steepness = np.hypot(cv2.Sobel(opacity, cv2.CV_32F, 1, 0), cv2.Sobel(opacity, cv2.CV_32F, 0, 1)) / 8.0
    accepted = np.zeros(opacity.shape, dtype=bool)
    # The higher levels part a strong mark from the bright details it lies on.
    for level in _LEVELS:
        letters = _find_letters(opacity, colour, steepness, window=window, level=level)
        if len(letters.indices) < _LINE_LETTERS:
            continue
        for members in _groups(letters):
            if _is_text(letters, members):
                accepted |= _grow(letters, _join(letters, members))
    return accepted


def _opacity(source: Pixels, window: int) -> tuple[Pixels, Pixels]:
    """Estimate how opaque white over the local median colour would have to be.

    Returns:
        H×W float32 0..1, 0 where darker; and how far the three channels disagree about it.
    """
    behind = cv2.medianBlur(source, window).astype(np.float32)
    room = np.maximum(255.0 - behind, 24.0)
    lifted = (source.astype(np.float32) - behind) / room
    least = lifted.min(axis=2)
    return np.clip(least, 0.0, 1.0), lifted.max(axis=2) - least


def _find_letters(opacity: Pixels, colour: Pixels, steepness: Pixels, *, window: int, level: float) -> _Letters:
    """Keep the regions that have a letter's size, a thin stroke, a sharp rim, no colour and one opacity."""
    mask = (opacity > level).astype(np.uint8)
    count, labels, statistics, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    flat = labels.ravel()
    area = statistics[:, cv2.CC_STAT_AREA].astype(np.float64)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)

    def average(values: Pixels, where: Pixels) -> Pixels:
        total = np.bincount(flat, weights=(values * where).ravel(), minlength=count)
        return np.asarray(total / np.maximum(1, np.bincount(flat, weights=where.ravel(), minlength=count)))

    core = depth > 1.0
    mean = average(opacity, core)
    spread = np.sqrt(np.maximum(0, average(opacity**2, core) - mean**2)) / np.maximum(mean, 1e-3)
    rim = average(steepness, (depth > 0) & (depth < 1.5)) / np.maximum(mean, 1e-3)
    tint = average(colour, core) / np.maximum(mean, 1e-3)
    stroke = 4.0 * np.bincount(flat, weights=depth.ravel(), minlength=count) / np.maximum(1, area)
    width = statistics[:, cv2.CC_STAT_WIDTH].astype(np.float64)
    height = statistics[:, cv2.CC_STAT_HEIGHT].astype(np.float64)
    size = np.maximum(width, height)
    kept = (size > 0.4 * window) & (size < 2.2 * window) & (height > 5) & (area > 10)
    kept &= (area / (width * height) < 0.92) & (stroke < 0.45 * size) & (spread < _FLAT)
    kept &= (rim > _SHARP) & (tint < _COLOURED)
    kept[0] = False
    indices = np.flatnonzero(kept)
    # A field of leaves has thousands of candidates; the flattest ones are enough to recognise a mark.
    indices = np.sort(indices[np.argsort(spread[indices], kind="stable")[:_MOST_LETTERS]])
    return _Letters(labels, opacity, indices, centres[indices], size[indices], mean[indices], stroke[indices])


def _groups(letters: _Letters) -> list[Pixels]:
    """Join letters that are near each other and alike in size, stroke and opacity."""
    apart = np.linalg.norm(letters.centres[:, None] - letters.centres[None], axis=2)
    larger = np.maximum(letters.heights[:, None], letters.heights[None])
    smaller = np.minimum(letters.heights[:, None], letters.heights[None])
    lighter = np.minimum(letters.means[:, None], letters.means[None])
    darker = np.maximum(letters.means[:, None], letters.means[None])
    thin = np.minimum(letters.strokes[:, None], letters.strokes[None])
    thick = np.maximum(letters.strokes[:, None], letters.strokes[None])
    alike = (apart < 1.9 * larger) & (smaller > 0.45 * larger) & (darker - lighter < _SAME_OPACITY * darker)
    alike &= thin > 0.5 * thick
    names = np.arange(len(letters.indices))
    for _ in range(len(names)):
        spread = np.where(alike, names[None], len(names)).min(axis=1)
        spread = np.minimum(spread, names)
        if np.array_equal(spread, names):
            break
        names = spread
    return [np.flatnonzero(names == name) for name in np.unique(names)]


def _is_text(letters: _Letters, members: Pixels) -> bool:
    """Whether a group is a line of letters, or a field of lines: even in opacity and stroke, level, and undisturbed.

    The scales of the four terms part drawn marks from the details of clean photos, as measured on both.
    """
    if len(members) < _LINE_LETTERS:
        return False
    means, strokes = letters.means[members], letters.strokes[members]
    height = float(np.median(letters.heights[members]))
    offsets = letters.centres[members] - letters.centres[members].mean(axis=0)
    _, lengths, _ = np.linalg.svd(offsets, full_matrices=False)
    along, across = (float(value) / np.sqrt(len(members)) / height for value in (lengths[0], lengths[-1]))
    if along < _LEAST_LENGTH:
        return False
    unevenness = (float(means.std() / means.mean()) / 0.1) ** 2 + (float(strokes.std() / strokes.mean()) / 0.12) ** 2
    bumpiness = (across / 0.2) ** 2
    if len(members) >= _FIELD_LETTERS:
        bumpiness = min(1.0, bumpiness)
    disturbance = ((1.0 - _purity(letters, members, height)) / 0.35) ** 2
    # Four windows of a house are as even as letters by chance; six hardly ever.
    limit = _LIMIT * min(1.0, (len(members) - 2) / 4)
    return bool(unevenness + bumpiness + disturbance < limit)


def _purity(letters: _Letters, members: Pixels, height: float) -> float:
    """Tell what share of the bright area round a group belongs to the group itself."""
    core = _cover(letters, members)
    reach = 2 * round(height * 0.35) + 1
    near = cv2.dilate(core.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    return float(core.sum()) / max(1.0, float((near & (letters.labels > 0)).sum()))


def _cover(letters: _Letters, members: Pixels) -> Pixels:
    """The pixels of a group: H×W bool."""
    chosen = np.zeros(int(letters.labels.max()) + 1, dtype=bool)
    chosen[letters.indices[members]] = True
    return chosen[letters.labels]


def _join(letters: _Letters, members: Pixels) -> Pixels:
    """Add the letters next to an accepted group that differ a little more, because of what they lie on."""
    opacity, stroke = float(letters.means[members].mean()), float(letters.strokes[members].mean())
    height = float(np.median(letters.heights[members]))
    alike = (np.abs(letters.means - opacity) < 0.3 * opacity) & (np.abs(letters.strokes - stroke) < 0.4 * stroke)
    alike &= (letters.heights > 0.4 * height) & (letters.heights < 1.8 * height)
    chosen = np.zeros(len(letters.indices), dtype=bool)
    chosen[members] = True
    for _ in range(_JOIN_ROUNDS):
        apart = np.linalg.norm(letters.centres[:, None] - letters.centres[chosen][None], axis=2).min(axis=1)
        chosen |= alike & (apart < 2.5 * height)
    return np.flatnonzero(chosen)


def _grow(letters: _Letters, members: Pixels) -> Pixels:
    """Take in the dots, rims and odd letters between and beside the accepted ones, by their opacity."""
    core = _cover(letters, members)
    reach = 2 * round(float(np.median(letters.heights[members])) * 0.7) + 1
    near = cv2.dilate(core.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    level = _KEPT_OPACITY * float(letters.means[members].mean())
    return core | (near & (letters.opacity > level))

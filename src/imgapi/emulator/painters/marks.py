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
_PRINT_OPACITY = 0.66
# What is looked for: in windows of how many pixels, above which opacities, lighter or darker, in which channels, and
# how solid it may be away from the picture's rim. White and black overlays show in all three channels. Coloured ones
# are looked for in the channels they differ most in (yellow; orange and red; red on a light ground; blue and green on
# a light ground), and only near the rim, where cameras write the date: elsewhere coloured letters are signs.
_SEARCHES = (
    (_WINDOWS, _LEVELS, False, (0, 1, 2), _PRINT_OPACITY),
    (_WINDOWS, _LEVELS, True, (0, 1, 2), _PRINT_OPACITY),
    (_WINDOWS[:2], _LEVELS[1:], False, (0, 1, 1), 0.0),
    (_WINDOWS[:2], _LEVELS[1:], False, (0,), 0.0),
    (_WINDOWS[:2], _LEVELS[1:], True, (1, 2, 2), 0.0),
    (_WINDOWS[:2], _LEVELS[1:], True, (0,), 0.0),
)
_SHARP = 0.2
_COLOURED = 0.5
_FULL = 255.0
_LITTLE_ROOM = 40.0
_KEPT_OPACITY = 0.45
_FLAT = 0.3
_SAME_OPACITY = 0.22
_MOST_LETTERS = 1500
_LINE_LETTERS = 4
_FIELD_LETTERS = 8
_LEAST_LENGTH = 0.8
_LIMIT = 1.7
_JOIN_ROUNDS = 3
_PRINT_FLATNESS = 0.75
_RIM_OF_PICTURE = 0.1
_FEW_LETTERS = 3
_SIBLING = 0.25
_PATTERNS = 3
_LARGEST_PATTERN = 0.6
_LIKENESS = 0.5


@dataclass(frozen=True, slots=True)
class _Letters:
    """Candidate letters of one scale, one row each: arrays of length n, and the picture they were found in."""

    light: Pixels
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
    light = cv2.cvtColor(work, cv2.COLOR_RGB2GRAY)
    found, letters, printed = np.zeros(work.shape[:2], dtype=bool), 0, 0
    for windows, levels, is_dark, channels, most_opacity in _SEARCHES:
        source = np.ascontiguousarray((255 - work if is_dark else work)[:, :, channels])
        for window in windows:
            if window * 2 < min(work.shape[:2]):
                here = _find_at_scale(source, light, window, levels, most_opacity=most_opacity)
                found |= here[0]
                # A search that takes everything but the rim for print can't tell how much print there is.
                letters, printed = max(letters, here[1]), max(printed, here[2] if most_opacity else 0)
    # Where most of the writing belongs to the picture, so will the rest: a page, a sign, a screen.
    if not letters or printed > letters:
        return np.zeros(rgb.shape[:2], dtype=bool)
    full = cv2.resize(found.astype(np.float32), (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)
    # The soft rim of the letters and their shadow belong to the mark too.
    margin = 2 * max(2, round(0.0022 * max(rgb.shape[:2]))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (margin, margin))
    return cv2.dilate((full > 0.3).astype(np.uint8), kernel) > 0


def _find_at_scale(
    source: Pixels, light: Pixels, window: int, levels: tuple[float, ...], *, most_opacity: float
) -> tuple[Pixels, int, int]:
    """Find the marks whose letters are about as large as the window.

    Returns:
        H×W bool, the most letters found in marks at one level, and the most found in writing of the picture's own.
    """
    opacity, colour = _opacity(source, window)
    steepness = np.hypot(cv2.Sobel(opacity, cv2.CV_32F, 1, 0), cv2.Sobel(opacity, cv2.CV_32F, 0, 1)) / 8.0
    accepted, marked, printed = np.zeros(opacity.shape, dtype=bool), 0, 0
    # The higher levels part a strong mark from the bright details it lies on.
    for level in levels:
        letters = _find_letters(opacity, colour, steepness, light, window=window, level=level)
        if len(letters.indices) < _LINE_LETTERS:
            continue
        texts = [(members, doubt) for members in _groups(letters) if (doubt := _doubt(letters, members)) < _LIMIT]
        own = [_is_print(letters, members, most_opacity) for members, _ in texts]
        # Four windows of a house are as even as letters by chance; seven hardly ever.
        certain = [
            members
            for (members, doubt), is_own in zip(texts, own, strict=True)
            if len(members) > _LINE_LETTERS
            and doubt < _LIMIT * min(1.0, (len(members) - _FEW_LETTERS) / 4)
            and not is_own
        ]
        lines = [members for members, _ in texts if any(_are_siblings(letters, members, other) for other in certain)]
        for members in lines:
            accepted |= _grow(letters, _join(letters, members))
        for members in sorted(certain, key=len, reverse=True)[:_PATTERNS]:
            accepted |= _find_repeats(letters, members)
        marked = max(marked, sum(map(len, lines)))
        printed = max(printed, sum(len(members) for (members, _), is_own in zip(texts, own, strict=True) if is_own))
    return accepted, marked, printed


def _opacity(source: Pixels, window: int) -> tuple[Pixels, Pixels]:
    """Estimate how opaque white over the local median colour would have to be.

    Returns:
        H×W float32 0..1, 0 where darker; and how far the three channels disagree about it.
    """
    planes, grounds = cv2.split(source), cv2.split(cv2.medianBlur(source, window))
    # A channel that is nearly full already can't tell; an all but white ground has nothing else to say.
    telling = [(ground <= _FULL - _LITTLE_ROOM).astype(np.uint8) for ground in grounds]
    none_tells = 1 - np.bitwise_or.reduce(telling)
    least: Pixels = np.full(source.shape[:2], 1.0, dtype=np.float32)
    most: Pixels = np.full(source.shape[:2], -1.0, dtype=np.float32)
    for plane, ground, tells in zip(planes, grounds, telling, strict=True):
        behind = ground.astype(np.float32)
        lifted = (plane - behind) / np.maximum(_FULL - behind, 24.0)
        counts = cv2.bitwise_or(tells, none_tells)
        least = cv2.copyTo(cv2.min(least, lifted), counts, least)
        most = cv2.copyTo(cv2.max(most, lifted), counts, most)
    return np.clip(least, 0.0, 1.0), most - least


def _find_letters(
    opacity: Pixels, colour: Pixels, steepness: Pixels, light: Pixels, *, window: int, level: float
) -> _Letters:
    """Keep the regions that have a letter's size, a thin stroke, a sharp rim, no colour and one opacity."""
    mask = (opacity > level).astype(np.uint8)
    count, labels, statistics, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    area = statistics[:, cv2.CC_STAT_AREA].astype(np.float64)
    inside = np.flatnonzero(mask)
    names = labels.ravel()[inside]
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3).ravel()[inside]

    def average(values: Pixels, where: Pixels) -> Pixels:
        total = np.bincount(names, weights=values.ravel()[inside] * where, minlength=count)
        return np.asarray(total / np.maximum(1, np.bincount(names, weights=where, minlength=count)))

    core = depth > 1.0
    mean = average(opacity, core)
    spread = np.sqrt(np.maximum(0, average(opacity * opacity, core) - mean**2)) / np.maximum(mean, 1e-3)
    rim = average(steepness, depth < 1.5) / np.maximum(mean, 1e-3)
    tint = average(colour, core) / np.maximum(mean, 1e-3)
    stroke = 4.0 * np.bincount(names, weights=depth, minlength=count) / np.maximum(1, area)
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
    return _Letters(light, labels, opacity, indices, centres[indices], size[indices], mean[indices], stroke[indices])


def _groups(letters: _Letters) -> list[Pixels]:
    """Join letters that are near each other and alike in size, stroke and opacity."""
    centres, heights, means, strokes = letters.centres, letters.heights, letters.means, letters.strokes
    apart = np.hypot(*(centres[:, None, axis] - centres[None, :, axis] for axis in (0, 1)))
    one, other = np.nonzero(apart < 1.9 * np.maximum(heights[:, None], heights[None]))
    alike = np.minimum(heights[one], heights[other]) > 0.45 * np.maximum(heights[one], heights[other])
    alike &= np.abs(means[one] - means[other]) < _SAME_OPACITY * np.maximum(means[one], means[other])
    alike &= np.minimum(strokes[one], strokes[other]) > 0.5 * np.maximum(strokes[one], strokes[other])
    one, other = one[alike], other[alike]
    names = np.arange(len(letters.indices))
    for _ in range(len(names)):
        spread = names.copy()
        np.minimum.at(spread, one, names[other])
        if np.array_equal(spread, names):
            break
        names = spread
    return [np.flatnonzero(names == name) for name in np.unique(names)]


def _doubt(letters: _Letters, members: Pixels) -> float:
    """How unlike a line of letters, or a field of lines, a group is: 0 for even in opacity and stroke, level and alone.

    The scales of the four terms part drawn marks from the details of clean photos, as measured on both.
    """
    if len(members) < _LINE_LETTERS:
        return np.inf
    means, strokes = letters.means[members], letters.strokes[members]
    height = float(np.median(letters.heights[members]))
    offsets = letters.centres[members] - letters.centres[members].mean(axis=0)
    _, lengths, _ = np.linalg.svd(offsets, full_matrices=False)
    along, across = (float(value) / np.sqrt(len(members)) / height for value in (lengths[0], lengths[-1]))
    if along < _LEAST_LENGTH:
        return np.inf
    unevenness = (float(means.std() / means.mean()) / 0.1) ** 2 + (float(strokes.std() / strokes.mean()) / 0.12) ** 2
    bumpiness = (across / 0.2) ** 2
    if len(members) >= _FIELD_LETTERS:
        bumpiness = min(1.0, bumpiness)
    if unevenness + bumpiness > _LIMIT:
        return np.inf
    disturbance = ((1.0 - _purity(letters, members, height)) / 0.35) ** 2
    return float(unevenness + bumpiness + disturbance)


def _is_print(letters: _Letters, members: Pixels, most_opacity: float) -> bool:
    """Whether writing belongs to the picture: nearly solid and not near the rim, or on a ground without any noise."""
    height, width = letters.light.shape
    x, y = letters.centres[members].mean(axis=0)
    to_rim = min(x / width, 1 - x / width, y / height, 1 - y / height)
    if float(letters.means[members].mean()) > most_opacity and to_rim > _RIM_OF_PICTURE:
        return True
    reach = 2 * round(float(np.median(letters.heights[members])) * 0.5) + 1
    core = _cover(letters, members).astype(np.uint8)
    near = cv2.dilate(core, np.ones((reach, reach), np.uint8)) > 0
    ground = letters.light[near & (cv2.dilate(core, np.ones((5, 5), np.uint8)) == 0)].astype(np.float32)
    return len(ground) > 0 and float(np.median(np.abs(ground - np.median(ground)))) < _PRINT_FLATNESS


def _are_siblings(letters: _Letters, members: Pixels, others: Pixels) -> bool:
    """Whether two lines could be repeats of one mark: alike in opacity, height and stroke."""
    for values in (letters.means, letters.heights, letters.strokes):
        one, other = float(np.median(values[members])), float(np.median(values[others]))
        if abs(one - other) > _SIBLING * max(one, other):
            return False
    return True


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


def _find_repeats(letters: _Letters, members: Pixels) -> Pixels:
    """Find where else in the picture the same line stands, as in a tiled mark: H×W bool, without the line itself."""
    core = _cover(letters, members)
    rows, columns = np.flatnonzero(core.any(axis=1)), np.flatnonzero(core.any(axis=0))
    pattern = core[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    if max(pattern.shape) > _LARGEST_PATTERN * max(core.shape):
        return np.zeros_like(core)
    down, across = (side // 2 + 1 for side in pattern.shape)
    # Details brighter than the mark say no more than the mark itself does.
    opacity = np.minimum(letters.opacity, 1.2 * float(letters.means[members].mean()))
    frame = cv2.copyMakeBorder(opacity, down, down, across, across, cv2.BORDER_CONSTANT, value=0.0)
    likeness = cv2.matchTemplate(frame, pattern, cv2.TM_CCOEFF_NORMED)
    likeness[~np.isfinite(likeness)] = 0.0
    peaks = (likeness > _LIKENESS) & (likeness >= cv2.dilate(likeness, np.ones((2 * down + 1, 2 * across + 1))))
    peaks[rows[0] + down, columns[0] + across] = False
    repeated = np.zeros(frame.shape, dtype=bool)
    for y, x in np.argwhere(peaks):
        repeated[y : y + pattern.shape[0], x : x + pattern.shape[1]] |= pattern > 0
    inside = repeated[down : down + core.shape[0], across : across + core.shape[1]]
    return cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


def _grow(letters: _Letters, members: Pixels) -> Pixels:
    """Take in the dots, rims and odd letters between and beside the accepted ones, by their opacity."""
    core = _cover(letters, members)
    reach = 2 * round(float(np.median(letters.heights[members])) * 0.7) + 1
    near = cv2.dilate(core.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    level = _KEPT_OPACITY * float(letters.means[members].mean())
    return core | (near & (letters.opacity > level))

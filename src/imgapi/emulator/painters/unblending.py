"""What lies under a half-transparent mark of one colour, computed instead of painted over."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.emulator.painters.canvas import inpaint
from imgapi.matting.pixels import Pixels

_ROUNDS = 6
_LEAST_PIXELS = 200
_SOLID = 0.55
_CLEAR = 0.95
_MOST_MISFIT = 0.4
_LEAST_SPREAD = 12.0
_WHITE = 255.0
_REACH = 41
_EVEN_SPREAD = 5.0


@dataclass(frozen=True, slots=True)
class _Film:
    """A mark as it was blended: seen = kept · below + veil, for each pixel that it covers.

    Attributes:
        kept: How much of the picture shows through, 0..1.
        veil: RGB that the mark adds, 0..255 each.
        covered: H×W bool, where it lies.
    """

    kept: float
    veil: Pixels
    covered: Pixels


def remove_marked(rgb: Pixels, area: Pixels) -> Pixels:
    """Remove what is marked: taken off where it is a film of one colour, else painted over from its surroundings.

    A film is told by how what is seen follows what may be expected below it. Its rim, where it is neither there nor
    not, is always painted over, and so is what lies on even ground, where nothing is hidden and every trace shows.

    Args:
        rgb: H×W×3 uint8.
        area: H×W bool, the mark with or without some of what is round it.
    """
    painted = inpaint(rgb, area)
    film = _find_film(rgb, painted, area)
    if film is None:
        return painted
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    covered = film.covered.astype(np.uint8)
    inner = cv2.erode(covered, cross) > 0
    near = cv2.dilate(covered, np.ones((3, 3), np.uint8)) > 0
    result = rgb.copy()
    result[inner] = np.clip((rgb[inner] - film.veil) / film.kept + 0.5, 0, _WHITE).astype(np.uint8)
    result = inpaint(result, area & near & ~inner)
    even = area & _is_even(rgb, area)
    result[even] = painted[even]
    return result


def _is_even(rgb: Pixels, area: Pixels) -> Pixels:
    """Say of each pixel whether what is not marked round it is of one lightness: H×W bool."""
    light = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    free = (~cv2.dilate(area.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)).astype(np.float32)
    reach = (_REACH, _REACH)
    weight = np.maximum(cv2.blur(free, reach), 1e-3)
    mean = cv2.blur(light * free, reach) / weight
    spread = np.sqrt(np.maximum(cv2.blur(light * light * free, reach) / weight - mean * mean, 0))
    return np.asarray(spread < _EVEN_SPREAD)


def _find_film(rgb: Pixels, painted: Pixels, area: Pixels) -> _Film | None:
    """Fit a film to what is seen and what is expected below; None where it is solid, or does not fit well enough."""
    seen, below = rgb[area].astype(np.float32), painted[area].astype(np.float32)
    moved = np.abs(seen - below)
    covered = moved.max(axis=1) > 10
    kept, veil = 1.0, np.zeros(3, np.float32)
    for _ in range(_ROUNDS):
        if covered.sum() < _LEAST_PIXELS:
            return None
        kept, veil = _fit(seen[covered], below[covered])
        misfit = np.abs(seen - (kept * below + veil)).mean(axis=1)
        nearer = (misfit < moved.mean(axis=1)) & (moved.max(axis=1) > 6)
        if np.array_equal(nearer, covered):
            break
        covered = nearer
    if covered.sum() < _LEAST_PIXELS or not _SOLID < kept < _CLEAR:
        return None
    left = float(np.abs(seen[covered] - (kept * below[covered] + veil)).mean())
    # Over an even ground any solid mark looks like a film.
    if left > _MOST_MISFIT * float(moved[covered].mean()) or float(below[covered].std(axis=0).mean()) < _LEAST_SPREAD:
        return None
    colour = np.clip(veil / (1 - kept), 0, _WHITE)
    kept = _fit_through(seen[covered] - colour, below[covered] - colour)
    if not 0.5 < kept < _CLEAR:
        return None
    where = np.zeros(area.shape, dtype=bool)
    where[area] = covered
    return _Film(kept, colour * (1 - kept), where)


def _fit(seen: Pixels, below: Pixels) -> tuple[float, Pixels]:
    """Fit one slope for all channels and an offset for each, by least squares."""
    slope = _fit_through(seen - seen.mean(axis=0), below - below.mean(axis=0))
    return slope, seen.mean(axis=0) - slope * below.mean(axis=0)


def _fit_through(seen: Pixels, below: Pixels) -> float:
    """Fit a slope through the origin."""
    return float((seen * below).sum() / max(1e-6, float((below * below).sum())))

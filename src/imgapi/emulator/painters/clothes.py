"""What of a person is the top and what the bottom garment; face, hair, hands and shoes are neither."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.emulator.painters.people import Person
from imgapi.matting.pixels import Pixels, to_lab
from imgapi.matting.regions import drop_small_regions, fill_holes
from imgapi.matting.scene import grab

# Light says less than hue about what a pixel belongs to: folds and shadows change it.
_WEIGHTS = np.array([0.45, 1.3, 1.1], dtype=np.float32)
_SKIN_DISTANCE = 14.0
_WAIST = 3.95
_CLEAR_STEP = 5.0


@dataclass(frozen=True, slots=True)
class Clothes:
    """The clothes a person wears, in pixels of the person's crop.

    Attributes:
        top: H×W bool.
        bottom: H×W bool; empty where no legs show.
        waist: The row between top and bottom.
        reaches_hem: Whether the lower end of the top shows, rather than being cut by the frame.
    """

    top: Pixels
    bottom: Pixels
    waist: int
    reaches_hem: bool


def find_clothes(person: Person) -> Clothes:
    """Part the person's outline into top, bottom and bare."""
    lab = to_lab(cv2.GaussianBlur(person.rgb, (0, 0), 0.8)) * _WEIGHTS
    y, unit = person.head[1], person.unit
    reach, down = _grid(person)
    trunk = person.mask & (reach < 0.6) & (down > 1.7) & (down < 3.3)
    skin = _skin_tone(lab, person)
    worn = _palette(lab, trunk, skin)
    bottom_row = int(np.flatnonzero(person.mask.any(axis=1))[-1])
    has_legs = bottom_row > y + 5.3 * unit
    waist = _find_waist(lab, person, skin) if has_legs else bottom_row + 1
    # No lower than this: farther down the surroundings may show between the legs.
    under = down - (waist - y) / unit
    pelvis = person.mask & (reach < 0.6) & (under > 0.25) & (under < 1.3)
    below = _palette(lab, pelvis, skin) if has_legs else worn
    bare = (
        _bare(lab, person, skin, (worn, below), waist)
        | _hair(lab, person, worn, skin, (reach, down))
        | _head(reach, down)
    )
    alien = _alien(lab, person, worn, below, waist) & ((reach > 0.6) | (down > 5.5))
    dressed = person.mask & ~bare & ~alien
    if has_legs:
        return _part_at_waist(person, lab, (worn, below), waist, (dressed, bare))
    upper = dressed & (down > 0.95)
    top = _separate(person.rgb, sure=trunk & upper, likely=upper, possible=dressed & (down > 0.9))
    return Clothes(_smooth(top, unit) & ~bare, np.zeros_like(upper), waist, reaches_hem=False)


def _grid(person: Person) -> tuple[Pixels, Pixels]:
    """Distance from the body's middle (H×W) and below the top of the face (H×1), both in face widths."""
    x, y, unit, _ = person.head
    height, width = person.mask.shape
    reach = np.abs(np.arange(width, dtype=np.float32)[None] - x - unit / 2) / unit
    return reach, (np.arange(height, dtype=np.float32)[:, None] - y) / unit


def _part_at_waist(
    person: Person, lab: Pixels, palettes: tuple[Pixels, Pixels], waist: int, parts: tuple[Pixels, Pixels]
) -> Clothes:
    """Part what is dressed into top and bottom; `palettes` are theirs, `parts` the dressed and the bare pixels."""
    dressed, bare = parts
    reach, down = _grid(person)
    unit, height = person.unit, len(lab)
    rows = np.arange(height)[:, None]
    bottom_row = int(np.flatnonzero(person.mask.any(axis=1))[-1])
    upper, lower = dressed & (rows < waist) & (down > 0.95), dressed & (rows >= waist)
    sure = upper & (reach < 0.6) & (down > 1.7) & (down < 3.3)
    own, other = _distance(lab, palettes[0]), _distance(lab, palettes[1])
    hands = bare & person.mask & (reach > 0.7) & (rows > waist) & (rows < waist + 2.2 * unit)
    is_suit = _closest(*palettes) < 6.0 and hands.sum() > 0.04 * unit * unit
    hanging = lower & _hanging(own + 3.0 < other, reach, (rows - waist) / unit, is_suit=is_suit)
    near_waist = dressed & (down > 0.9) & (rows < waist + 0.3 * unit)
    top = _separate(person.rgb, sure=sure, likely=upper | hanging, possible=near_waist)
    top |= (upper | hanging) & (own < 8.0)
    if bottom_row < height - 2:
        feet = rows > bottom_row - 1.1 * unit
        lower &= ~(feet & ((rows > bottom_row - 0.35 * unit) | (other > 9.0)))
    legs = _smooth(lower & ~top, unit) & ~bare
    if legs.sum() < 0.4 * unit * unit:
        legs = np.zeros_like(legs)
    return Clothes(_smooth(top & ~legs, unit) & ~bare, legs, waist, reaches_hem=True)


def _hanging(like_top: Pixels, reach: Pixels, under: Pixels, *, is_suit: bool) -> Pixels:
    """Mark where sleeves hang below the waist and coats go on below it: H×W bool.

    Args:
        like_top: H×W bool, nearer to the colours of the top than to those of the bottom.
        reach: Distance from the body's middle, in face widths.
        under: Distance below the waist, in face widths.
        is_suit: Top and bottom are of one colour and the hands hang: nothing but the place tells a sleeve from a leg.
    """
    hanging = like_top & (under < 2.4) & ((reach > 0.75) | (under < 0.35))
    return np.asarray(hanging | ((reach > 0.8) & (under < 1.2))) if is_suit else np.asarray(hanging)


def _alien(lab: Pixels, person: Person, worn: Pixels, below: Pixels, waist: int) -> Pixels:
    """Mark what the outline holds and yet looks like the surroundings rather than the clothes."""
    outside = cv2.erode((~person.mask).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if outside.sum() < 200:
        return np.zeros_like(person.mask)
    alien = np.zeros_like(person.mask)
    seam = max(1, min(len(alien), waist))
    for part, palette in ((slice(0, seam), worn), (slice(seam, None), below)):
        around = np.zeros_like(outside)
        around[part] = outside[part]
        if around.sum() < 100:
            continue
        other, own = _distance(lab[part], _palette(lab, around, None, 8)), _distance(lab[part], palette)
        alien[part] = (own > 12.0) & (other < 0.55 * own)
    return alien


def _distance(lab: Pixels, palette: Pixels) -> Pixels:
    """Distance of every pixel to the nearest colour of the palette: H×W float32."""
    nearest = np.full(lab.shape[:2], 1e6, dtype=np.float32)
    for colour in palette:
        nearest = np.minimum(nearest, np.linalg.norm(lab - colour, axis=2))
    return nearest


def _closest(one: Pixels, other: Pixels) -> float:
    """How far apart the main colours of two palettes are."""
    return float(np.mean([np.linalg.norm(one - colour, axis=1).min() for colour in other]))


def _skin_tone(lab: Pixels, person: Person) -> Pixels | None:
    """The colour of the face's middle, or None where there is no face of living colour."""
    x, y, unit, _ = person.head
    middle = lab[y + round(0.35 * unit) : y + round(0.75 * unit), x + unit // 4 : x + unit * 3 // 4].reshape(-1, 3)
    if len(middle) == 0:
        return None
    tone = np.median(middle, axis=0)
    # No living face is bluish or greenish: what was found is a drawn head, hair or a grey picture.
    return None if tone[1] < 1 or tone[2] < 2 else np.asarray(tone)


def _palette(lab: Pixels, where: Pixels, skin: Pixels | None, count: int = 4) -> Pixels:
    """Up to `count` colours of a part of the clothes; skin that shows there is left out unless it is most of it."""
    colours = lab[where].astype(np.float32)
    if skin is not None and len(colours):
        cloth = colours[np.linalg.norm(colours - skin, axis=1) > 7.0]
        if len(cloth) > 0.4 * len(colours):
            colours = cloth
    if len(colours) < 16:
        return np.zeros((1, 3), dtype=np.float32)
    colours = np.ascontiguousarray(colours[:: max(1, len(colours) // 4000)])
    cv2.setRNGSeed(20)
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    _, labels, centres = cv2.kmeans(colours, count, np.zeros((0, 1), np.int32), stop, 2, cv2.KMEANS_PP_CENTERS)
    shares = np.bincount(labels.ravel(), minlength=count) / len(labels)
    return np.asarray(centres[shares > 0.25 / count])


def _bare(lab: Pixels, person: Person, skin: Pixels | None, palettes: tuple[Pixels, Pixels], waist: int) -> Pixels:
    """Mark bare skin: near the face's colour, and nearer to it than to the clothes at that height."""
    if skin is None:
        return np.zeros_like(person.mask)
    near = np.linalg.norm(lab - skin, axis=2)
    cloth = _distance(lab, palettes[0])
    seam = max(0, waist)
    cloth[seam:] = np.minimum(cloth, _distance(lab, palettes[1]))[seam:]
    sure = ((near < _SKIN_DISTANCE) & (near < 0.85 * cloth)).astype(np.uint8)
    sure = cv2.morphologyEx(sure, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    # Shaded fingers and the rims of arms are farther from the face's colour, and touch what is surely skin.
    maybe = person.mask & (near < 1.5 * _SKIN_DISTANCE) & (near < cloth)
    reach = max(3, round(person.unit * 0.12)) | 1
    grown = cv2.dilate(sure, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))) > 0
    return np.asarray((sure > 0) | (maybe & grown))


def _hair(lab: Pixels, person: Person, worn: Pixels, skin: Pixels | None, place: tuple[Pixels, Pixels]) -> Pixels:
    """Mark hair that falls over the shoulders: of the colour above the face, joined to it."""
    reach, down = place
    crown = person.mask & (reach < 0.45) & (down < 0.08) & (down > -0.35)
    beside = person.mask & (reach > 0.55) & (reach < 0.8) & (down > 0.1) & (down < 0.9)
    if crown.sum() < 20:
        return np.zeros_like(person.mask)
    near = _distance(lab, _palette(lab, crown | beside, skin, 3))
    alike = person.mask & (near < 12) & (near < 0.7 * _distance(lab, worn)) & (down < 3.2) & (reach < 1.5)
    _, labels = cv2.connectedComponents((alike | crown).astype(np.uint8), connectivity=8)
    return np.isin(labels, np.unique(labels[crown | (beside & alike)])) & alike


def _head(reach: Pixels, down: Pixels) -> Pixels:
    """Face, ears and beard: H×W bool."""
    return ((reach / 0.66) ** 2 + ((down - 0.4) / 0.78) ** 2 < 1) | (down < 0.75)


def _find_waist(lab: Pixels, person: Person, skin: Pixels | None) -> int:
    """Find the row where the colour of the middle of the body changes most; where it hardly does, take proportions."""
    x, y, unit, _ = person.head
    middle = person.mask.copy()
    middle[:, : max(0, round(x - 0.1 * unit))] = False
    middle[:, round(x + 1.1 * unit) :] = False
    if skin is not None:
        middle &= np.linalg.norm(lab - skin, axis=2) > 7.0
    window = max(3, round(0.4 * unit))
    expected = round(y + _WAIST * unit)
    best, strongest = expected, _CLEAR_STEP
    for row in range(round(y + 2.6 * unit), min(len(middle) - window, round(y + 6.8 * unit))):
        above, below = slice(row - window, row), slice(row, row + window)
        if middle[above].sum() < window or middle[below].sum() < window:
            continue
        step = float(np.linalg.norm(_typical(lab, middle, above) - _typical(lab, middle, below)))
        off = (row - expected) / unit
        step *= float(np.exp(-((off / (0.7 if off < 0 else 1.2)) ** 2) / 2))
        if step > strongest:
            best, strongest = row, step
    return best


def _typical(lab: Pixels, where: Pixels, rows: slice) -> Pixels:
    return np.asarray(np.median(lab[rows][where[rows]], axis=0))


def _separate(rgb: Pixels, *, sure: Pixels, likely: Pixels, possible: Pixels) -> Pixels:
    """Let GrabCut decide which of the likely and the possible pixels are the same garment as the sure ones."""
    if not sure.any() or not (likely & ~sure).any():
        return likely
    seed = np.full(sure.shape, cv2.GC_BGD, dtype=np.uint8)
    seed[possible] = cv2.GC_PR_BGD
    seed[likely] = cv2.GC_PR_FGD
    seed[sure] = cv2.GC_FGD
    found = grab(rgb, seed)
    # Sleeves in the shade and patterned clothes: GrabCut may give up what lies well inside the likely part.
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11))
    closed = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    return np.asarray(likely if float(found.sum()) < 0.5 * float(likely.sum()) else found | (closed & likely))


def _smooth(mask: Pixels, unit: int) -> Pixels:
    """Drop specks, close pin-holes and smooth the outline."""
    if not mask.any():
        return mask
    side = max(3, unit // 9) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    if not opened.any():
        return mask
    return fill_holes(drop_small_regions(opened, 0.02), np.ones_like(mask), min_share=0.0008)

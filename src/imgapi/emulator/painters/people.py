"""Where a single standing person is in a picture, and where the clothes are."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.emulator.painters.job import PaintingRefused
from imgapi.errors import SubjectNotFound
from imgapi.matting.classical import find_subject
from imgapi.matting.pixels import Picture, Pixels, to_lab
from imgapi.matting.regions import drop_small_regions
from imgapi.matting.scene import find_faces, grab

_NO_PERSON = "The input image has no human body or multi human bodies. Please upload other image with single person."
_SECOND_FACE = 0.5
_SECOND_BODY = 0.5
_LEAST_TALL = 1.7
_SKIN_DISTANCE = 13.0


@dataclass(frozen=True, slots=True)
class Person:
    """A person's outline and proportions, in pixels of the working picture.

    Attributes:
        mask: H×W bool, the whole person.
        head: x, y, width, height of the face, or of the head where no face shows.
        shoulders: The row at which the clothes begin.
        waist: The row between top and bottom.
        has_legs: Whether the picture shows enough below the waist to dress it.
    """

    mask: Pixels
    head: tuple[int, int, int, int]
    shoulders: int
    waist: int
    has_legs: bool


def find_person(rgb: Pixels) -> Person:
    """Find the one person of a picture, by face and outline, or by a plausible standing outline alone.

    Args:
        rgb: H×W×3 uint8, some hundred pixels a side.

    Raises:
        PaintingRefused: InvalidPerson when there is nobody, or more than one.
    """
    faces = find_faces(rgb, min_neighbours=6)
    try:
        mask = find_subject(Picture(rgb, None, None, None)).pixels[:, :, 3] > 127
    except SubjectNotFound as exc:
        raise PaintingRefused("InvalidPerson", _NO_PERSON) from exc
    faces = [face for face in faces if _share(mask, face) > 0.4]
    if len(faces) > 1 and faces[1][2] > _SECOND_FACE * faces[0][2] and not _nested(faces[0], faces[1]):
        raise PaintingRefused("InvalidPerson", _NO_PERSON)
    mask = _single_body(mask)
    rows = np.flatnonzero(mask.any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1])
    head = faces[0] if faces and _plausible(faces[0], mask, top) else _head_of_outline(mask, top, bottom)
    chin = head[1] + head[3]
    shoulders = min(bottom, chin + round(0.22 * head[3]))
    # A face box of the cascade is about a ninth of a standing person; the waist lies some three boxes below the chin.
    expected = chin + 2.9 * head[3]
    has_legs = bottom > expected + 1.2 * head[3]
    waist = _find_waist(rgb, mask, round(expected), head[3]) if has_legs else bottom + 1
    return Person(mask, head, shoulders, waist, has_legs)


def find_clothes(rgb: Pixels, person: Person) -> tuple[Pixels, Pixels]:
    """Part the person into what the top covers, and what the bottom covers: two H×W bool, skin and hair left out."""
    bare = _skin(rgb, person)
    x, y, width, height = person.head
    rows = np.arange(person.mask.shape[0])[:, None]
    head = np.zeros_like(person.mask)
    head[: min(person.shoulders, y + height), :] = True
    middle = x + width / 2
    columns = np.arange(person.mask.shape[1])[None]
    beside = np.abs(columns - middle) > 0.25 * width
    dressed = person.mask & ~head & ~bare
    upper = dressed & (rows >= person.shoulders) & (rows < person.waist)
    lower = dressed & (rows >= person.waist)
    core = dressed & (np.abs(columns - middle) < 0.55 * width)
    core &= (rows > person.shoulders + 0.4 * height) & (rows < person.waist - 0.2 * height)
    hanging = lower & (np.abs(columns - middle) > 0.9 * width) & (rows < person.waist + 2.2 * height) & beside
    top = _separate(rgb, sure=core, likely=upper, possible=hanging | (dressed & (rows >= y + height * 0.9)))
    if not person.has_legs:
        return top, np.zeros_like(top)
    shoes = person.mask & (rows > np.flatnonzero(person.mask.any(axis=1))[-1] - 0.35 * height)
    legs = lower & ~top & ~shoes
    core = legs & (rows > person.waist + 0.3 * height) & (rows < person.waist + 1.5 * height)
    core &= np.abs(columns - middle) < 0.9 * width
    bottom = _separate(rgb, sure=core, likely=legs, possible=np.zeros_like(legs)) & ~top
    return top, bottom


def _share(mask: Pixels, box: tuple[int, int, int, int]) -> float:
    x, y, width, height = box
    return float(mask[y : y + height, x : x + width].mean())


def _nested(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    """Whether the middle of the second box lies in the first: the same face, found twice."""
    x, y = other[0] + other[2] / 2, other[1] + other[3] / 2
    return one[0] < x < one[0] + one[2] and one[1] < y < one[1] + one[3]


def _single_body(mask: Pixels) -> Pixels:
    """Keep the largest region; refuse when a second one is of like size and as tall."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 1:
        raise PaintingRefused("InvalidPerson", _NO_PERSON)
    order = np.argsort(-statistics[1:, cv2.CC_STAT_AREA], kind="stable") + 1
    if len(order) > 1:
        first, second = statistics[order[0]], statistics[order[1]]
        alike = second[cv2.CC_STAT_AREA] > _SECOND_BODY * first[cv2.CC_STAT_AREA]
        if alike and second[cv2.CC_STAT_HEIGHT] > _SECOND_BODY * first[cv2.CC_STAT_HEIGHT]:
            raise PaintingRefused("InvalidPerson", _NO_PERSON)
    return drop_small_regions(labels == order[0], 1.0)


def _plausible(face: tuple[int, int, int, int], mask: Pixels, top: int) -> bool:
    """Whether the face sits in the upper part of the person, as a cascade's false alarm on the clothes does not."""
    height = int(mask.any(axis=1).sum())
    return face[1] + face[3] / 2 < top + max(0.4 * height, 1.6 * face[3])


def _head_of_outline(mask: Pixels, top: int, bottom: int) -> tuple[int, int, int, int]:
    """Guess the head from a standing outline; refuse one that no standing person has."""
    height = bottom - top + 1
    columns = np.flatnonzero(mask.any(axis=0))
    across = int(columns[-1] - columns[0] + 1)
    widths = mask[top : bottom + 1].sum(axis=1).astype(np.float64)
    head_width = float(np.median(widths[round(0.03 * height) : max(1, round(0.09 * height)) + 1]))
    trunk_width = float(np.percentile(widths[round(0.18 * height) : round(0.5 * height) + 1], 75))
    neck_width = float(widths[round(0.08 * height) : round(0.2 * height) + 1].min())
    standing = height > _LEAST_TALL * across or (height > 1.1 * across and neck_width < 0.7 * head_width)
    if not standing or height < 0.35 * len(mask) or not head_width < 0.8 * trunk_width:
        raise PaintingRefused("InvalidPerson", _NO_PERSON)
    side = max(4, round(0.105 * height))
    row = top + round(0.03 * height)
    line = np.flatnonzero(mask[row + side // 2])
    middle = float(line.mean()) if len(line) else float(columns.mean())
    return (max(0, round(middle - side / 2)), row, side, side)


def _find_waist(rgb: Pixels, mask: Pixels, expected: int, unit: int) -> int:
    """Find the row near `expected` where the colour of the middle of the body changes most."""
    lab = to_lab(rgb)
    window = max(3, round(0.45 * unit))
    best, strongest = expected, 0.0
    for row in range(expected - round(1.1 * unit), min(len(mask) - window, expected + round(1.2 * unit))):
        above, below = slice(max(0, row - window), row), slice(row, row + window)
        if mask[above].sum() < window or mask[below].sum() < window:
            continue
        one, other = np.median(lab[above][mask[above]], axis=0), np.median(lab[below][mask[below]], axis=0)
        step = float(np.linalg.norm(one - other)) * float(np.exp(-(((row - expected) / (0.9 * unit)) ** 2) / 2))
        if step > strongest:
            best, strongest = row, step
    return best


def _skin(rgb: Pixels, person: Person) -> Pixels:
    """Mark what has the colour of the face's middle, in hue more than in light."""
    lab = to_lab(cv2.GaussianBlur(rgb, (0, 0), 1.2))
    x, y, width, height = person.head
    middle = lab[y + height // 3 : y + height * 4 // 5, x + width // 4 : x + width * 3 // 4].reshape(-1, 3)
    own = np.median(middle, axis=0) if len(middle) else np.array([70.0, 14.0, 16.0])
    if own[2] < 2 or own[1] < 1:
        # No living face is bluish or greenish: what was found is a drawn head or hair.
        return np.zeros_like(person.mask)
    difference = (lab - own) * np.array([0.4, 1.3, 1.1])
    bare = (np.linalg.norm(difference, axis=2) < _SKIN_DISTANCE).astype(np.uint8)
    return cv2.morphologyEx(bare, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def _separate(rgb: Pixels, *, sure: Pixels, likely: Pixels, possible: Pixels) -> Pixels:
    """Let GrabCut decide which of the likely and the possible pixels are the same garment as the sure ones."""
    seed = np.full(sure.shape, cv2.GC_BGD, dtype=np.uint8)
    seed[possible] = cv2.GC_PR_BGD
    seed[likely] = cv2.GC_PR_FGD
    seed[sure] = cv2.GC_FGD
    if not sure.any() or not (likely & ~sure).any():
        return likely
    found = grab(rgb, seed)
    # Patterned clothes: GrabCut may give up the print, which lies well inside the likely part.
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (11, 11))
    closed = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    if float(found.sum()) < 0.35 * float(likely.sum()):
        return likely
    return drop_small_regions(found | (closed & likely), 0.04)

"""Where the single standing person of a picture is: face, outline and proportions."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from imgapi.emulator.painters.job import PaintingRefused
from imgapi.emulator.painters.silhouette import outline_from_face
from imgapi.errors import SubjectNotFound
from imgapi.matting.classical import find_subject
from imgapi.matting.pixels import Picture, Pixels, shrink
from imgapi.matting.regions import drop_small_regions
from imgapi.matting.scene import find_faces

NO_PERSON = "The input image has no human body or multi human bodies. Please upload other image with single person."
_SEARCH_SIDE = 640
_WORK_SIDE = 448
_SECOND_FACE = 0.5
_SECOND_BODY = 0.5
_LEAST_TALL = 1.7
_TILT = 25.0

Box: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Person:
    """A person's outline and proportions, in pixels of a crop of the picture.

    Attributes:
        rgb: H×W×3 uint8, the crop round the person at working size.
        box: Left, top, right, bottom of the crop in the whole picture, as shares of its sides.
        mask: H×W bool, the whole person.
        head: x, y, width, height of the face, or of the head where no face shows.
        has_face: Whether a face shows.
    """

    rgb: Pixels
    box: tuple[float, float, float, float]
    mask: Pixels
    head: Box
    has_face: bool

    @property
    def unit(self) -> int:
        """The width of the face in pixels, which a standing person is some ten times as tall as."""
        return self.head[2]


def find_person(rgb: Pixels) -> Person:
    """Find the one person of a picture, by face and outline, or by a plausible standing outline alone.

    Args:
        rgb: H×W×3 uint8 of any size.

    Raises:
        PaintingRefused: InvalidPerson when there is nobody, or more than one.
    """
    small = shrink(rgb, _SEARCH_SIDE)
    faces = _faces(small)
    if _has_company(small, faces):
        raise PaintingRefused("InvalidPerson", NO_PERSON)
    return _person_of_face(rgb, small, faces[0]) if faces else _person_of_outline(rgb, small)


def _faces(small: Pixels) -> list[Box]:
    """Find upright faces, the one most likely to be a person's first: skin-coloured, then high up, then large."""
    faces = [face for face in find_faces(small, min_neighbours=4) if _is_skin(small, face)]
    kept: list[Box] = []
    for face in sorted(faces, key=lambda box: (box[1] + box[3], -box[2])):
        # A cascade also fires on folds and pockets: what lies in the body column of a face is no second face.
        if not any(_nested(face, other) or _below(face, other) for other in kept):
            kept.append(face)
    return sorted(kept, key=lambda box: -box[2])


def _is_skin(small: Pixels, face: Box) -> bool:
    """Whether the middle of the box may be skin of any tone; a picture without colour passes."""
    x, y, width, height = face
    middle = small[y + height // 4 : y + height * 3 // 4, x + width // 4 : x + width * 3 // 4]
    lab = cv2.cvtColor(middle, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(np.float32)
    a, b = (float(value) - 128.0 for value in np.median(lab[:, 1:], axis=0))
    return (a > -3 and b > -6) or (abs(a) < 2 and abs(b) < 4)


def _nested(one: Box, other: Box) -> bool:
    """Whether the middle of either box lies in the other: the same face, found twice."""

    def holds(outer: Box, inner: Box) -> bool:
        x, y = inner[0] + inner[2] / 2, inner[1] + inner[3] / 2
        return outer[0] < x < outer[0] + outer[2] and outer[1] < y < outer[1] + outer[3]

    return holds(one, other) or holds(other, one)


def _below(face: Box, upper: Box) -> bool:
    """Whether a box lies where the body of the upper face is."""
    apart = abs(face[0] + face[2] / 2 - upper[0] - upper[2] / 2)
    return face[1] > upper[1] + 1.6 * upper[3] and apart < 1.8 * upper[2]


def _has_company(small: Pixels, faces: list[Box]) -> bool:
    """Whether a second face of like size shows, upright or tilted."""
    if not faces:
        return False
    first = faces[0]
    if any(face[2] > _SECOND_FACE * first[2] for face in faces[1:]):
        return True
    height, width = small.shape[:2]
    for degrees in (-_TILT, _TILT):
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
        turned = cv2.warpAffine(small, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        back = cv2.invertAffineTransform(turn)
        for x, y, across, down in find_faces(turned, min_neighbours=5):
            middle = back @ np.array([x + across / 2, y + down / 2, 1.0])
            face = (round(middle[0] - across / 2), round(middle[1] - down / 2), across, down)
            alike = _SECOND_FACE * first[2] < across < first[2] / _SECOND_FACE
            inside = 0 <= middle[0] < width and 0 <= middle[1] < height
            apart = not _nested(face, first) and not _below(face, first) and not _near(face, first)
            if alike and inside and apart and _is_skin(turned, (x, y, across, down)):
                return True
    return False


def _near(one: Box, other: Box) -> bool:
    """Whether two boxes are closer than two heads can be."""
    x, y = one[0] + one[2] / 2 - other[0] - other[2] / 2, one[1] + one[3] / 2 - other[1] - other[3] / 2
    return float(np.hypot(x, y)) < 0.8 * other[2]


def _cut(rgb: Pixels, box: tuple[float, float, float, float]) -> Pixels:
    """Crop to a box in shares of the sides and shrink to working size."""
    height, width = rgb.shape[:2]
    part = rgb[round(box[1] * height) : round(box[3] * height), round(box[0] * width) : round(box[2] * width)]
    return shrink(np.ascontiguousarray(part), _WORK_SIDE)


def _person_of_face(rgb: Pixels, small: Pixels, face: Box) -> Person:
    x, y, width, _ = face
    across, down = small.shape[1], small.shape[0]
    middle = x + width / 2
    left, right = max(0.0, middle - 4.2 * width), min(float(across), middle + 4.2 * width)
    top, bottom = max(0.0, y - 0.9 * width), min(float(down), y + 11.5 * width)
    box = (left / across, top / down, right / across, bottom / down)
    crop = _cut(rgb, box)
    scale = crop.shape[0] / (bottom - top)
    head = (round((x - left) * scale), round((y - top) * scale), round(width * scale), round(width * scale))
    return Person(crop, box, outline_from_face(crop, head), head, has_face=True)


def _person_of_outline(rgb: Pixels, small: Pixels) -> Person:
    try:
        mask = find_subject(Picture(small, None, None, None)).pixels[:, :, 3] > 127
    except SubjectNotFound as exc:
        raise PaintingRefused("InvalidPerson", NO_PERSON) from exc
    mask = _single_body(mask)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    head = _head_of_outline(mask, int(rows[0]), int(rows[-1]))
    height, width = mask.shape
    margin = head[2]
    left, top = max(0, int(columns[0]) - margin), max(0, int(rows[0]) - margin)
    right, bottom = min(width, int(columns[-1]) + 1 + margin), min(height, int(rows[-1]) + 1 + margin)
    box = (left / width, top / height, right / width, bottom / height)
    crop = _cut(rgb, box)
    size = (crop.shape[1], crop.shape[0])
    part = cv2.resize(mask[top:bottom, left:right].astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
    scale = crop.shape[0] / (bottom - top)
    side = max(4, round(head[2] * scale))
    head = (round((head[0] - left) * scale), round((head[1] - top) * scale), side, side)
    return Person(crop, box, part, head, has_face=False)


def _single_body(mask: Pixels) -> Pixels:
    """Keep the largest region; refuse when a second one is of like size and as tall."""
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 1:
        raise PaintingRefused("InvalidPerson", NO_PERSON)
    order = np.argsort(-statistics[1:, cv2.CC_STAT_AREA], kind="stable") + 1
    if len(order) > 1:
        first, second = statistics[order[0]], statistics[order[1]]
        alike = second[cv2.CC_STAT_AREA] > _SECOND_BODY * first[cv2.CC_STAT_AREA]
        if alike and second[cv2.CC_STAT_HEIGHT] > _SECOND_BODY * first[cv2.CC_STAT_HEIGHT]:
            raise PaintingRefused("InvalidPerson", NO_PERSON)
    return drop_small_regions(labels == order[0], 1.0)


def _head_of_outline(mask: Pixels, top: int, bottom: int) -> Box:
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
        raise PaintingRefused("InvalidPerson", NO_PERSON)
    side = max(4, round(0.105 * height))
    row = top + round(0.03 * height)
    line = np.flatnonzero(mask[row + side // 2])
    middle = float(line.mean()) if len(line) else float(columns.mean())
    return (max(0, round(middle - side / 2)), row, side, side)

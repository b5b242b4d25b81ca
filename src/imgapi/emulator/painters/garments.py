"""Reading a garment picture: the garment's fabric, where it lies, and whether there is one at all."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.emulator.painters.canvas import decode, flatten
from imgapi.emulator.painters.job import PaintingRefused, PaintJob
from imgapi.errors import SubjectNotFound
from imgapi.matting.backdrop import fit_backdrop
from imgapi.matting.classical import Subject, find_subject
from imgapi.matting.pixels import Picture, Pixels, shrink, to_lab
from imgapi.matting.regions import drop_small_regions, solidity
from imgapi.matting.scene import find_faces

NO_GARMENT = "Missing clothing image.Please input at least one top garment or bottom garment image."
_SIDE = 1024
_SMALL = 160
_SYMMETRIC = 0.84


@dataclass(frozen=True, slots=True)
class Garment:
    """A garment's fabric and where in its picture it lies: H×W×3 uint8 and H×W bool, collar or waistband up."""

    rgb: Pixels
    mask: Pixels

    @property
    def is_long(self) -> bool:
        """Whether it is a dress rather than a top: about twice as tall as wide."""
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return bool(rows[-1] - rows[0] > 1.75 * (columns[-1] - columns[0]))


def read_garment(job: PaintJob, name: str) -> Garment:
    """Cut a garment out of its picture and set it upright; a picture of nothing but fabric is taken whole.

    Raises:
        PaintingRefused: InvalidGarment for an empty picture, a person, or a scene without anything like a garment.
    """
    picture = decode(job, name)
    swatch = shrink(flatten(picture), _SIDE)
    if _is_fabric(swatch):
        return Garment(swatch, np.ones(swatch.shape[:2], dtype=bool))
    try:
        # Garments are read at up to 1024 pixels: the person's clothes rarely show more of them.
        subject = find_subject(_reduced(picture))
    except SubjectNotFound as exc:
        raise PaintingRefused("InvalidGarment", NO_GARMENT) from exc
    mask = _without_hanger(subject.pixels[:, :, 3] > 200)
    rgb = np.ascontiguousarray(subject.pixels[:, :, :3])
    mirrored, degrees = _find_axis(mask)
    if not mask.any() or _is_person(rgb, mask) or not _is_garment(picture, subject, mask, mirrored):
        raise PaintingRefused("InvalidGarment", NO_GARMENT)
    return _turned(Garment(rgb, _without_rim(mask)), degrees)


def _reduced(picture: Picture) -> Picture:
    alpha = None if picture.alpha is None else shrink(picture.alpha, _SIDE)
    return Picture(shrink(picture.rgb, _SIDE), alpha, None, None)


def _is_fabric(swatch: Pixels) -> bool:
    """Whether the picture shows the same colours everywhere, as a piece of fabric does, and is no empty sheet."""
    lab = to_lab(shrink(swatch, _SMALL))
    height, width = lab.shape[:2]
    if min(height, width) < 8:
        return False
    blocks = [
        lab[height * row // 4 : height * (row + 1) // 4, width * column // 4 : width * (column + 1) // 4].reshape(-1, 3)
        for row in range(4)
        for column in range(4)
    ]
    means = np.array([block.mean(axis=0) for block in blocks])
    spreads = np.array([block.std(axis=0).sum() for block in blocks])
    alike = float(np.linalg.norm(means - means.mean(axis=0), axis=1).max()) < 9.0
    level = means.mean(axis=0)
    empty = level[0] > 93 and float(np.abs(level[1:]).max()) < 4 and float(spreads.max()) < 8
    return bool(alike and spreads.max() < 2.5 * spreads.min() + 6.0 and not empty)


def _without_hanger(mask: Pixels) -> Pixels:
    """Drop hooks, wires and tags, which are thin beside the garment."""
    if not mask.any():
        return mask
    side = max(3, round(0.035 * float(np.sqrt(mask.sum())))) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0
    return drop_small_regions(opened, 0.15) if opened.any() else mask


def _without_rim(mask: Pixels) -> Pixels:
    """Draw the outline in a little: its rim holds some backdrop and shadow."""
    side = max(3, round(0.02 * float(np.sqrt(mask.sum())))) | 1
    inner = cv2.erode(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))) > 0
    return inner if inner.any() else mask


def _is_person(rgb: Pixels, mask: Pixels) -> bool:
    """Whether a face tops what was cut out; a face printed on the chest is farther down."""
    rows = np.flatnonzero(mask.any(axis=1))
    top, tall = int(rows[0]), int(rows[-1] - rows[0] + 1)
    small = shrink(rgb, 480)
    scale = rgb.shape[0] / small.shape[0]
    return any(y * scale < top + 0.2 * tall for _, y, _, _ in find_faces(small, min_neighbours=6))


def _is_garment(picture: Picture, subject: Subject, mask: Pixels, mirrored: float) -> bool:
    """Whether the cut-out may be a garment: anything on a plain ground; in a scene, what is like its mirror image."""
    share = float(mask.mean())
    if not 0.02 < share < 0.97:
        return False
    if subject.confidence == 1.0 and picture.alpha is not None:
        return True
    if fit_backdrop(to_lab(shrink(picture.rgb, 320))).is_plain:
        return mirrored > 0.6
    likely = subject.confidence > 0.55 and mirrored > _SYMMETRIC
    return likely and solidity(mask) < 0.97 and share > 0.08


def _find_axis(mask: Pixels) -> tuple[float, float]:
    """Tell how like its mirror image the mask is, 0..1, and by how many degrees it must be turned for that."""
    if not mask.any():
        return 0.0, 0.0
    upright = _mirror_share(mask, 0.0)
    if upright > 0.88:
        return upright, 0.0
    shares = {float(degrees): _mirror_share(mask, float(degrees)) for degrees in range(-45, 46, 5)}
    best = max(shares, key=lambda degrees: (shares[degrees], -abs(degrees)))
    return (shares[best], best) if shares[best] > upright + 0.06 else (upright, 0.0)


def _mirror_share(mask: Pixels, degrees: float) -> float:
    """Turn the mask about its middle and compare it with its mirror image: overlap over union."""
    points = np.argwhere(mask)
    middle = points.mean(axis=0)
    reach = float(np.linalg.norm(points - middle, axis=1).max())
    turn = cv2.getRotationMatrix2D((float(middle[1]), float(middle[0])), degrees, _SMALL / 2 / (reach + 1))
    turn = turn + np.array([[0.0, 0.0, _SMALL / 2 - middle[1]], [0.0, 0.0, _SMALL / 2 - middle[0]]])
    turned = cv2.warpAffine(mask.astype(np.uint8), turn, (_SMALL, _SMALL), flags=cv2.INTER_NEAREST) > 0
    columns = np.flatnonzero(turned.any(axis=0))
    if not len(columns):
        return 0.0
    own = turned[:, columns[0] : columns[-1] + 1]
    other = own[:, ::-1]
    return float((own & other).sum()) / float((own | other).sum())


def _turned(garment: Garment, degrees: float) -> Garment:
    if degrees == 0.0:
        return garment
    height, width = garment.mask.shape
    side = int(np.hypot(height, width)) + 1
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    turn = turn + np.array([[0.0, 0.0, (side - width) / 2], [0.0, 0.0, (side - height) / 2]])
    rgb = cv2.warpAffine(garment.rgb, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(garment.mask.astype(np.uint8), turn, (side, side), flags=cv2.INTER_NEAREST)
    return Garment(rgb, mask > 0)

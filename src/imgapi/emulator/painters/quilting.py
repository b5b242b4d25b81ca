"""Outpainting by quilting: pieces of the picture chosen to fit each other, laid outward from its frame."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import cv2
import numpy as np

from imgapi.emulator.painters.frame import Frame
from imgapi.matting.pixels import Pixels, to_lab
from imgapi.matting.regions import touched_sides

_CELL = 0.24
_OVERLAP = 0.36
_LEVELS = 3
_SMALLEST = 16
_GOOD_FIT = 0.22
_LEVELLED = 0.4
_HEIGHT_PRICE = 0.12
_HEIGHT_REACH = 0.4
_REUSE_PRICE = 0.1
_RARITY_PRICE = 0.15
_SUBJECT_PRICE = 12.0
_CUT_SUBJECT = 0.05
_CUT_DEPTH = 0.3


@dataclass(frozen=True, slots=True)
class Piece:
    """A rectangle of the source laid on the canvas: both corners and the size, in pixels."""

    left: int
    top: int
    width: int
    height: int
    source_left: int
    source_top: int


@dataclass(frozen=True, slots=True)
class Quilt:
    """The pieces, and which of them each pixel of the canvas shows.

    Attributes:
        pieces: In the order in which they were laid.
        shown: H×W int32 over the canvas, index into `pieces`; −1 where the original lies.
        misfit: How badly the pieces match at their seams, weighted by area: about 0.2 is good, 1 is chance.
    """

    pieces: tuple[Piece, ...]
    shown: Pixels
    misfit: float


@dataclass(frozen=True, slots=True)
class _Cell:
    """A rectangle of the canvas still to be filled."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class _Choice:
    """The best piece for a cell and what the canvas already shows there."""

    piece: Piece
    misfit: float
    known: Pixels
    canvas: Pixels
    continues_subject: bool


def quilt(source: Pixels, subject: Pixels, frame: Frame, dice: np.random.Generator) -> Quilt:
    """Fill what lies round the original with pieces of it.

    Large pieces are tried first; where none fits, the place is split and filled with smaller ones. A piece should come
    from about the height it is laid at (sky above, ground below), has not been used before, shows no rare colours
    and nothing of the subject, except what lies near a side that cuts the subject and continues it there. Each piece
    is cut along the least visible seam (a graph cut).

    Args:
        source: H×W×3 uint8, a small version of the picture (longest side 100 to 300 pixels).
        subject: H×W float32, 1 where the subject is.
        frame: The geometry in pixels of `source`.
        dice: Decides between equals.
    """
    return _Quilter(source, subject, frame, dice).fill()


@dataclass(slots=True)
class _Quilter:
    source: Pixels
    subject: Pixels
    frame: Frame
    dice: np.random.Generator
    features: Pixels = field(init=False)
    energy: Pixels = field(init=False)
    core: Pixels = field(init=False)
    rarity: Pixels = field(init=False)
    spread: float = field(init=False)
    used: Pixels = field(init=False)
    canvas: Pixels = field(init=False)
    known: Pixels = field(init=False)
    original: Pixels = field(init=False)
    subject_shown: Pixels = field(init=False)
    shown: Pixels = field(init=False)
    pieces: list[Piece] = field(init=False, default_factory=list)
    misfits: list[tuple[float, int]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        frame, height, width = self.frame, *self.source.shape[:2]
        lab = to_lab(self.source) * np.array([1, 1.5, 1.5], np.float32)
        # Slow changes of light are evened out afterwards, so that they may differ between neighbours.
        self.features = lab - _LEVELLED * cv2.GaussianBlur(lab, (0, 0), 0.12 * max(height, width))
        self.energy = np.ascontiguousarray((self.features**2).sum(axis=2))
        self.spread = float(self.features.reshape(-1, 3).var(axis=0).sum()) + 20
        self.core = _core(self.subject)
        self.rarity = _rarity(self.source)
        self.used = np.zeros((height, width), np.float32)
        size = (frame.full_height, frame.full_width)
        inside = frame.inside
        self.canvas = np.zeros((*size, 3), np.float32)
        self.canvas[inside] = self.features
        self.known = np.zeros(size, bool)
        self.known[inside] = True
        self.original = self.known.copy()
        self.subject_shown = np.zeros(size, np.float32)
        self.subject_shown[inside] = self.subject
        self.shown = np.full(size, -1, np.int32)

    def fill(self) -> Quilt:
        for cell in _cells(self.frame):
            self._fill(cell, 0)
        areas = np.array([area for _, area in self.misfits], np.float64)
        misfit = float(np.average([misfit for misfit, _ in self.misfits], weights=areas)) if len(areas) else 0.0
        return Quilt(tuple(self.pieces), self.shown, misfit)

    def _fill(self, cell: _Cell, level: int) -> None:
        if self.known[cell.top : cell.bottom, cell.left : cell.right].all():
            return
        last = level + 1 >= _LEVELS or max(cell.right - cell.left, cell.bottom - cell.top) < _SMALLEST
        choice = self._choose(cell)
        if not last and (choice is None or choice.misfit > _GOOD_FIT * 1.6**level):
            for part in sorted(_quarters(cell), key=self.frame.distance_of):
                self._fill(part, level + 1)
        elif choice is not None:
            self._lay(choice)

    def _choose(self, cell: _Cell) -> _Choice | None:
        """Find the piece of the source that continues best what the canvas shows round a cell."""
        source_height, source_width = self.used.shape
        overlap = max(4, round(_OVERLAP * max(cell.right - cell.left, cell.bottom - cell.top)))
        left, right = max(0, cell.left - overlap), min(self.frame.full_width, cell.right + overlap)
        top, bottom = max(0, cell.top - overlap), min(self.frame.full_height, cell.bottom + overlap)
        left, right = _fit(left, right, cell.left, cell.right, source_width)
        top, bottom = _fit(top, bottom, cell.top, cell.bottom, source_height)
        if right - left < cell.right - cell.left or bottom - top < cell.bottom - cell.top:
            return None
        width, height = right - left, bottom - top
        window = (slice(top, bottom), slice(left, right))
        known = self.known[window]
        canvas = np.ascontiguousarray(np.where(known[:, :, None], self.canvas[window], 0).astype(np.float32))
        # What lies next to the gap counts most.
        away = cv2.distanceTransform(known.astype(np.uint8), cv2.DIST_L2, 3)
        weight = np.where(known, np.exp(-away / (0.5 * overlap)), 0).astype(np.float32)
        total = max(1e-6, float(weight.sum()))
        goal = np.clip((top + bottom) / 2 - self.frame.top, height / 2, source_height - height / 2)
        reach = _HEIGHT_REACH * source_height + height / 2
        band = slice(max(0, int(goal - reach)), min(source_height, int(goal + reach) + 1))
        misfit = self._differences(canvas, weight, band) / (total * self.spread)
        heights = np.arange(misfit.shape[0], dtype=np.float32)[:, None] + band.start + height / 2
        misfit += _HEIGHT_PRICE * ((heights - goal) / (0.25 * source_height)) ** 2
        taken = _Taken.of(known, band)
        cut_subject = float((weight * self.subject_shown[window]).sum()) / total
        spared = min(1.0, 5 * max(0.0, cut_subject - _CUT_SUBJECT))
        unwelcome = taken.mean(self.subject) * (1 - spared) + taken.mean(self.core) * spared
        misfit += _SUBJECT_PRICE * unwelcome
        price = misfit + _REUSE_PRICE * taken.mean(self.used * (1 + 3 * self.rarity))
        price += _RARITY_PRICE * (1 - cut_subject) * taken.mean(self.rarity)
        price += self.dice.uniform(0, 0.002, price.shape)
        source_top, source_left = divmod(int(price.argmin()), price.shape[1])
        piece = Piece(left, top, width, height, source_left, band.start + source_top)
        return _Choice(piece, float(misfit[source_top, source_left]), known, canvas, cut_subject > _CUT_SUBJECT)

    def _differences(self, canvas: Pixels, weight: Pixels, band: slice) -> Pixels:
        """Sum the weighted squared differences between a window and each place in a band of the source."""
        weighted = canvas * weight[:, :, None]
        own = float((weighted * canvas).sum())
        theirs = cv2.matchTemplate(self.energy[band], weight, cv2.TM_CCORR)
        common = cv2.matchTemplate(self.features[band], weighted, cv2.TM_CCORR)
        return np.asarray(np.maximum(own + theirs - 2 * common, 0))

    def _lay(self, choice: _Choice) -> None:
        piece = choice.piece
        window = (slice(piece.top, piece.top + piece.height), slice(piece.left, piece.left + piece.width))
        source = (
            slice(piece.source_top, piece.source_top + piece.height),
            slice(piece.source_left, piece.source_left + piece.width),
        )
        laid = np.ascontiguousarray(self.features[source])
        kept = self.original[window]
        if not choice.continues_subject:
            kept = kept | (self.subject[source] > 0)
        take = self._cut(choice, laid, kept)
        self.canvas[window][take] = laid[take]
        self.shown[window][take] = len(self.pieces)
        self.known[window] = True
        self.used[source] += take
        self.subject_shown[window][take] = self.subject[source][take]
        self.pieces.append(piece)
        self.misfits.append((choice.misfit, int(take.sum())))

    def _cut(self, choice: _Choice, laid: Pixels, kept: Pixels) -> Pixels:
        """Say which pixels of its window a piece takes: all that were empty, and others up to the best seam."""
        piece, empty = choice.piece, ~choice.known
        within = np.zeros(empty.shape, bool)
        bottom = piece.height - 2 * (piece.top + piece.height < self.frame.full_height)
        right = piece.width - 2 * (piece.left + piece.width < self.frame.full_width)
        within[2 * (piece.top > 0) : bottom, 2 * (piece.left > 0) : right] = True
        may_take = empty | (within & ~kept)
        if not (choice.known & may_take).any():
            return empty
        masks = [mask.astype(np.uint8) * 255 for mask in (choice.known, may_take)]
        # OpenCV's stubs name only its own matrices here; it takes arrays and gives back either.
        finder: Any = cv2.detail.GraphCutSeamFinder("COST_COLOR")
        found = finder.find([choice.canvas, laid], [(0, 0), (0, 0)], masks)[1]
        chosen = np.asarray(found.get() if isinstance(found, cv2.UMat) else found) > 0
        return np.asarray((chosen & may_take) | empty)


@dataclass(frozen=True, slots=True)
class _Taken:
    """The part of a piece that is certainly taken: the empty part of its window."""

    left: int
    top: int
    width: int
    height: int
    outer: tuple[int, int]
    band: slice

    @classmethod
    def of(cls, known: Pixels, band: slice) -> "_Taken":
        rows, columns = np.flatnonzero(~known.all(axis=1)), np.flatnonzero(~known.all(axis=0))
        left, top = int(columns[0]), int(rows[0])
        outer = (known.shape[1], known.shape[0])
        return cls(left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top, outer, band)

    def mean(self, values: Pixels) -> Pixels:
        """The mean of H×W float32 values over the part, for each place in the band a piece can be taken from."""
        part = values[self.band]
        rows, columns = part.shape[0] - self.outer[1] + 1, part.shape[1] - self.outer[0] + 1
        means = cv2.blur(part, (self.width, self.height), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
        return np.asarray(means[self.top : self.top + rows, self.left : self.left + columns])


def _fit(start: int, stop: int, first: int, last: int, longest: int) -> tuple[int, int]:
    """Shorten the overlap round first..last evenly until the whole is no longer than the source allows."""
    surplus = stop - start - round(0.8 * longest)
    if surplus <= 0:
        return start, stop
    before = min(first - start, (surplus + 1) // 2)
    return start + before, max(last, stop - (surplus - before))


def _cells(frame: Frame) -> list[_Cell]:
    """Divide the surroundings into cells, nearest first and corners last."""
    step = _CELL * float(np.sqrt(frame.width * frame.height))
    columns = list(_spans(frame.left, frame.width, frame.right, step))
    rows = list(_spans(frame.top, frame.height, frame.bottom, step))
    places = []
    for x, (left, right, ring_x) in enumerate(columns):
        for y, (top, bottom, ring_y) in enumerate(rows):
            if ring_x or ring_y:
                cell = _Cell(left, top, right, bottom)
                middle = abs(x - len(columns) / 2 + 0.5) + abs(y - len(rows) / 2 + 0.5)
                places.append((max(ring_x, ring_y), min(ring_x, ring_y), middle, x, y, cell))
    return [place[-1] for place in sorted(places, key=lambda place: place[:-1])]


def _spans(before: int, length: int, after: int, step: float) -> Iterator[tuple[int, int, int]]:
    """Cut an axis of the canvas into parts of about `step`: start, stop and how far out each is."""
    for start, size, outward in ((0, before, -1), (before, length, 0), (before + length, after, 1)):
        count = max(1, round(size / step)) if size else 0
        for index in range(count):
            ring = {-1: count - index, 0: 0, 1: index + 1}[outward]
            yield start + round(size * index / count), start + round(size * (index + 1) / count), ring


def _quarters(cell: _Cell) -> list[_Cell]:
    """Halve a cell along each axis that is long enough."""
    columns = [cell.left, cell.right]
    rows = [cell.top, cell.bottom]
    if cell.right - cell.left >= _SMALLEST:
        columns.insert(1, (cell.left + cell.right) // 2)
    if cell.bottom - cell.top >= _SMALLEST:
        rows.insert(1, (cell.top + cell.bottom) // 2)
    return [_Cell(left, top, right, bottom) for left, right in pairwise(columns) for top, bottom in pairwise(rows)]


def _core(subject: Pixels) -> Pixels:
    """The part of the subject that is never shown again, H×W float32: a face, far from the sides that cut the body."""
    core = subject.copy()
    rows, columns = (round(_CUT_DEPTH * side) for side in subject.shape)
    near = {
        "top": core[:rows],
        "bottom": core[core.shape[0] - rows :],
        "left": core[:, :columns],
        "right": core[:, core.shape[1] - columns :],
    }
    for side in touched_sides(subject > 0):
        near[side][:] = 0
    return core


def _rarity(source: Pixels) -> Pixels:
    """How unusual each pixel's colour is in its picture, H×W float32 from 0 to 1: objects more than backgrounds."""
    lab = cv2.cvtColor(source, cv2.COLOR_RGB2LAB)
    counts = cv2.calcHist([lab], [0, 1, 2], None, [8, 16, 16], [0, 256] * 3)
    share = counts[lab[:, :, 0] // 32, lab[:, :, 1] // 16, lab[:, :, 2] // 16] / lab[:, :, 0].size
    return np.asarray(cv2.blur(np.clip(1 - share / 0.01, 0, 1).astype(np.float32), (5, 5)))

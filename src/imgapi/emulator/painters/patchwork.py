"""A quilt planned at a small size laid with the pixels of the full-size picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from imgapi.emulator.painters.frame import Frame
from imgapi.emulator.painters.quilting import Piece, Quilt
from imgapi.matting.pixels import Pixels

_STRIP_ROWS = 512
_RIM = 2
_Box: TypeAlias = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class _Layout:
    """How pixels of the small canvas correspond to pixels of the full one: full = (small − origin) · pitch + inset."""

    frame: Frame
    small: Frame

    @property
    def pitch(self) -> tuple[float, float]:
        return self.frame.width / self.small.width, self.frame.height / self.small.height

    def full(self, x: float, y: float) -> tuple[float, float]:
        return (
            (x - self.small.left) * self.pitch[0] + self.frame.left,
            (y - self.small.top) * self.pitch[1] + self.frame.top,
        )

    def sampling(self, left: float, top: float, small_left: int, small_top: int) -> Pixels:
        """The affine map from pixels of a part of the full canvas to pixels of a part of the small one."""
        origin_x, origin_y = self.full(small_left, small_top)
        x, y = self.pitch
        return np.array(
            [[1 / x, 0, (left - origin_x + 0.5) / x - 0.5], [0, 1 / y, (top - origin_y + 0.5) / y - 0.5]], np.float64
        )


def assemble(original: Pixels, frame: Frame, quilt: Quilt, small: Frame, levels: Pixels) -> Pixels:
    """Lay the pieces at full size, each fading into the next over about one pixel of the small canvas.

    Args:
        original: H×W×3 uint8.
        frame: The geometry in pixels of `original`.
        quilt: The plan.
        small: The geometry in pixels of the plan.
        levels: What to add to each pixel of the plan's canvas, float32.

    Returns:
        The whole larger picture, 3 uint8; inside the frame it has unspecified pixels.
    """
    layout = _Layout(frame, small)
    shown, levels = _spread_inward(quilt.shown, levels)
    result = np.zeros((frame.full_height, frame.full_width, 3), np.uint8)
    boxes = list(_boxes(shown, quilt.pieces))
    for top in range(0, frame.full_height, _STRIP_ROWS):
        bottom = min(frame.full_height, top + _STRIP_ROWS)
        strip = np.zeros((bottom - top, frame.full_width, 3), np.float32)
        for index, box in boxes:
            _lay(strip, top, original, layout, quilt.pieces[index], (shown[box] == index, box))
        result[top:bottom] = _level(strip, top, layout, levels)
    return result


def _spread_inward(shown: Pixels, levels: Pixels) -> tuple[Pixels, Pixels]:
    """Continue the pieces and levels a little under the original, so that enlarging does not mix in its rim."""
    shown, levels = shown.copy(), levels.copy()
    for _ in range(_RIM):
        for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
            moved, moved_levels = np.roll(shown, step, axis), np.roll(levels, step, axis)
            gap = (shown < 0) & (moved >= 0)
            shown[gap], levels[gap] = moved[gap], moved_levels[gap]
    return shown, levels


def _boxes(shown: Pixels, pieces: tuple[Piece, ...]) -> Iterator[tuple[int, _Box]]:
    """For each piece that can be seen, the rows and columns of the small canvas in which it is seen."""
    for index, piece in enumerate(pieces):
        top, left = max(0, piece.top - _RIM), max(0, piece.left - _RIM)
        part = shown[top : piece.top + piece.height + _RIM, left : piece.left + piece.width + _RIM] == index
        rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
        if len(rows):
            yield (
                index,
                (
                    slice(top + int(rows[0]), top + int(rows[-1]) + 1),
                    slice(left + int(columns[0]), left + int(columns[-1]) + 1),
                ),
            )


def _lay(
    strip: Pixels, strip_top: int, original: Pixels, layout: _Layout, piece: Piece, seen: tuple[Pixels, _Box]
) -> None:
    """Add one piece, weighted by how much of it each pixel shows; changes `strip`."""
    mask, (rows, columns) = seen
    frame, pitch = layout.frame, layout.pitch
    first = layout.full(columns.start - 1, rows.start - 1)
    last = layout.full(columns.stop + 1, rows.stop + 1)
    left, right = max(0, int(first[0])), min(frame.full_width, int(last[0]) + 1)
    top, bottom = max(strip_top, int(first[1])), min(strip_top + len(strip), int(last[1]) + 1)
    if right <= left or bottom <= top:
        return
    # The plan ends at the canvas's own ends, where there is nothing to fade into.
    edges = [rows.start == 0, rows.stop == layout.small.full_height, columns.start == 0]
    edges.append(columns.stop == layout.small.full_width)
    ringed = cv2.copyMakeBorder(mask.astype(np.float32), 2, 2, 2, 2, cv2.BORDER_CONSTANT)
    _continue_ends(ringed, edges)
    sampling = layout.sampling(left, top, columns.start - 2, rows.start - 2)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    weight = cv2.warpAffine(ringed, sampling, (right - left, bottom - top), flags=flags)
    shift_x = round((piece.source_left - (piece.left - layout.small.left)) * pitch[0]) - frame.left
    shift_y = round((piece.source_top - (piece.top - layout.small.top)) * pitch[1]) - frame.top
    across = np.clip(np.arange(left, right) + shift_x, 0, frame.width - 1)
    down = np.clip(np.arange(top, bottom) + shift_y, 0, frame.height - 1)
    pixels = original[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
    if pixels.shape[:2] != weight.shape:
        pixels = original[down[:, None], across[None]]
    strip[top - strip_top : bottom - strip_top, left:right] += pixels * weight[:, :, None]


def _continue_ends(ringed: Pixels, edges: list[bool]) -> None:
    """Continue a mask over its ring at those ends (top, bottom, left, right) at which the canvas ends."""
    if edges[0]:
        ringed[:2] = ringed[2]
    if edges[1]:
        ringed[-2:] = ringed[-3]
    if edges[2]:
        ringed[:, :2] = ringed[:, 2:3]
    if edges[3]:
        ringed[:, -2:] = ringed[:, -3:-2]


def _level(strip: Pixels, top: int, layout: _Layout, levels: Pixels) -> Pixels:
    height, width = strip.shape[:2]
    sampling = layout.sampling(0, top, 0, 0)
    first = max(0, int(sampling[1, 2]) - 2)
    part = levels[first : int(sampling[1, 2] + height * sampling[1, 1]) + 4]
    sampling = layout.sampling(0, top, 0, first)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    added = cv2.warpAffine(part, sampling, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    strip += added
    strip += 0.5
    return np.clip(strip, 0, 255, out=strip).astype(np.uint8)

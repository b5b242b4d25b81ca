"""Outpainting by mirroring: for pictures of which no pieces fit each other."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

import cv2
import numpy as np

from imgapi.emulator.painters.canvas import fill_smoothly, smoothstep
from imgapi.emulator.painters.frame import Frame
from imgapi.emulator.painters.super_resolution import estimate_noise
from imgapi.matting.pixels import Pixels, shrink
from imgapi.matting.regions import touched_sides

_WORK_SIDE = 1400
_REACH = 0.42
_SEAM = 0.07
_CONTINUED = 0.12
_WARP = 0.16
_NOISE_CELLS = 9
_BLURS = (0.0, 0.008, 0.022, 0.05)
_BLUR_STARTS = (0.0, 0.10, 0.26, 0.5)
_STRIP_ROWS = 512


def mirror_round(original: Pixels, subject: Pixels, frame: Frame, dice: np.random.Generator) -> Pixels:
    """Mirror the picture without its subject at its frame, stretched, bent and blurred more with the distance.

    Args:
        original: H×W×3 uint8.
        subject: h×w bool, the subject at any smaller size.
        frame: The geometry.
        dice: Bends the mirror image and makes its grain.

    Returns:
        The whole larger picture, 3 uint8; inside the frame it has unspecified pixels.
    """
    bend = dice.normal(0, 1, (_NOISE_CELLS, _NOISE_CELLS, 2)).astype(np.float32)
    plate = _without_subject(original, subject) if subject.any() else original
    result = _paint_far(plate, frame, bend)
    _add_grain(result, min(4.0, estimate_noise(shrink(original, 1600))), dice)
    _paint_seam(result, plate, frame, bend)
    return result


def _without_subject(original: Pixels, mask: Pixels) -> Pixels:
    """Remove the subject, so that it is not repeated in the filler; near a side it touches it stays, to continue."""
    small = cv2.resize(original, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_AREA)
    touched = touched_sides(mask)
    reach = max(3, round(0.02 * max(mask.shape)))
    hole = cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0
    rows, columns = round(_CONTINUED * mask.shape[0]), round(_CONTINUED * mask.shape[1])
    strips = {
        "top": hole[:rows],
        "bottom": hole[-rows:],
        "left": hole[:, :columns],
        "right": hole[:, -columns:],
    }
    for side in touched:
        strips[side][:] = False
    filled = fill_smoothly(small, hole)
    size = (original.shape[1], original.shape[0])
    weight = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), max(1.0, reach / 3))
    # At the frame the plate is the original itself, or the seam would show.
    rim = max(2.0, 0.03 * min(hole.shape))
    y = np.minimum(np.arange(hole.shape[0]), np.arange(hole.shape[0])[::-1])[:, None]
    x = np.minimum(np.arange(hole.shape[1]), np.arange(hole.shape[1])[::-1])[None]
    away = smoothstep(np.minimum(x, y) / rim)
    # The softened rim must not bring the subject back: inside the hole the filler stays whole.
    weight = cv2.resize((np.maximum(weight, hole) * away).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    large = cv2.resize(filled, size, interpolation=cv2.INTER_CUBIC)
    plate = original.copy()
    for top in range(0, size[1], _STRIP_ROWS):
        rows_here = slice(top, top + _STRIP_ROWS)
        share = weight[rows_here][:, :, None]
        plate[rows_here] = (plate[rows_here] * (1 - share) + large[rows_here] * share + 0.5).astype(np.uint8)
    return plate


def _sources(frame: Frame, columns: Pixels, rows: Pixels, bend: Pixels) -> tuple[Pixels, Pixels, Pixels]:
    """Say where in the original each point of the result is taken from.

    Args:
        frame: The geometry.
        columns: Positions along x in result pixels, length w.
        rows: Positions along y in result pixels, length h.
        bend: Random field that bends the mirror image, so that it is not recognised as one.

    Returns:
        h×w float32 source x and y in original pixels, and the distance from the original as a share of its size.
    """
    across, far_x = _mirror(columns - frame.left, frame.width)
    down, far_y = _mirror(rows - frame.top, frame.height)
    distance = np.sqrt(
        (far_x[None] / frame.width) ** 2 + (far_y[:, None] / frame.height) ** 2,
    ).astype(np.float32)
    grid_x = (columns / frame.full_width * (_NOISE_CELLS - 1)).astype(np.float32)[None].repeat(len(rows), 0)
    grid_y = (rows / frame.full_height * (_NOISE_CELLS - 1)).astype(np.float32)[:, None].repeat(len(columns), 1)
    field = cv2.remap(bend, grid_x, grid_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    strength = _WARP * np.minimum(distance, 0.6)
    x = across[None] + field[:, :, 0] * strength * frame.width * 0.5
    y = down[:, None] + field[:, :, 1] * strength * frame.height * 0.5
    x = np.clip(x, 0, frame.width - 1).astype(np.float32)
    y = np.clip(y, 0, frame.height - 1).astype(np.float32)
    return x, y, distance


def _mirror(position: Pixels, length: int) -> tuple[Pixels, Pixels]:
    """Mirror positions outside 0..length−1: slope 1 at the seam, flattening out at a share of the length."""
    before, after = np.maximum(0.0, -position), np.maximum(0.0, position - (length - 1))
    reach = _REACH * length
    source = np.where(
        before > 0,
        reach * (1 - np.exp(-(before - 1) / reach)),
        np.where(after > 0, length - 1 - reach * (1 - np.exp(-(after - 1) / reach)), position),
    )
    return source.astype(np.float32), (before + after).astype(np.float32)


def _paint_far(plate: Pixels, frame: Frame, bend: Pixels) -> Pixels:
    """Paint the whole result at working size, blurred by distance, and enlarge it."""
    scale = min(1.0, _WORK_SIDE / max(frame.full_width, frame.full_height))
    width, height = max(1, round(frame.full_width * scale)), max(1, round(frame.full_height * scale))
    columns = (np.arange(width, dtype=np.float32) + 0.5) * (frame.full_width / width) - 0.5
    rows = (np.arange(height, dtype=np.float32) + 0.5) * (frame.full_height / height) - 0.5
    x, y, distance = _sources(frame, columns, rows, bend)
    small = shrink(plate, max(2, round(max(frame.width, frame.height) * scale)))
    ratio_x, ratio_y = small.shape[1] / frame.width, small.shape[0] / frame.height
    x, y = (x + 0.5) * ratio_x - 0.5, (y + 0.5) * ratio_y - 0.5
    painted = np.zeros((height, width, 3), dtype=np.float32)
    for index, blur in enumerate(_BLURS):
        sigma = blur * max(small.shape[:2])
        level = cv2.GaussianBlur(small, (0, 0), sigma) if sigma > 0.3 else small
        sampled = cv2.remap(level, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        painted += sampled * _level_weight(distance, index)[:, :, None]
    softened = np.clip(painted + 0.5, 0, 255).astype(np.uint8)
    size = (frame.full_width, frame.full_height)
    return np.asarray(cv2.resize(softened, size, interpolation=cv2.INTER_CUBIC))


def _level_weight(distance: Pixels, index: int) -> Pixels:
    """How much of one blur level belongs at a distance; the weights of all levels sum to 1."""
    start = _BLUR_STARTS[index]
    rising = smoothstep((distance - _BLUR_STARTS[index - 1]) / (start - _BLUR_STARTS[index - 1])) if index else 1.0
    if index + 1 == len(_BLURS):
        return np.asarray(rising * np.ones_like(distance))
    following = _BLUR_STARTS[index + 1]
    return np.asarray(rising - smoothstep((distance - start) / (following - start)))


def _paint_seam(result: Pixels, plate: Pixels, frame: Frame, bend: Pixels) -> None:
    """Paint the strips next to the original at full resolution, fading into the far filler; changes `result`."""
    reach = max(2, round(_SEAM * min(frame.width, frame.height)))
    first_row, last_row = max(0, frame.top - reach), min(frame.full_height, frame.top + frame.height + reach)
    first_column, last_column = max(0, frame.left - reach), min(frame.full_width, frame.left + frame.width + reach)
    right, bottom = frame.left + frame.width, frame.top + frame.height
    boxes = (
        (first_row, frame.top, first_column, last_column),
        (bottom, last_row, first_column, last_column),
        (frame.top, bottom, first_column, frame.left),
        (frame.top, bottom, right, last_column),
    )
    for top, below, left, beyond in boxes:
        if below <= top or beyond <= left:
            continue
        columns, rows = np.arange(left, beyond, dtype=np.float32), np.arange(top, below, dtype=np.float32)
        x, y, _ = _sources(frame, columns, rows, bend)
        sharp = cv2.remap(plate, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        _, far_x = _mirror(columns - frame.left, frame.width)
        _, far_y = _mirror(rows - frame.top, frame.height)
        away = np.sqrt(far_x[None] ** 2 + far_y[:, None] ** 2) / reach
        weight = (1 - smoothstep(away))[:, :, None]
        box = result[top:below, left:beyond]
        box[:] = (box * (1 - weight) + sharp * weight + 0.5).astype(np.uint8)


def _add_grain(result: Pixels, sigma: float, dice: np.random.Generator) -> None:
    """Give the blurred filler the grain of the photo; changes `result`."""
    tile = np.round(dice.normal(0, sigma, (_STRIP_ROWS, 509, 1))).astype(np.int16)
    wide = np.tile(tile, (1, result.shape[1] // tile.shape[1] + 1, 1))[:, : result.shape[1]]
    for top in range(0, len(result), _STRIP_ROWS):
        strip = result[top : top + _STRIP_ROWS]
        strip[:] = np.clip(strip + wide[: len(strip)], 0, 255).astype(np.uint8)

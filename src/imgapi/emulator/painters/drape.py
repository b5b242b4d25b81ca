"""Laying a garment's fabric over the clothes a person wears, in their light and folds."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.emulator.painters.garments import Garment
from imgapi.matting.edges import guided_filter
from imgapi.matting.pixels import Pixels, shrink

_WORK_SIDE = 1600
_STRIP = 512
_INSET = 0.03


@dataclass(frozen=True, slots=True)
class Region:
    """A worn piece that is to take another fabric.

    Attributes:
        part: 'top' or 'bottom'.
        mask: H×W bool, in pixels of the person's crop.
        middle: The column of the body's middle.
        unit: The width of the face, in the same pixels.
        reaches_hem: Whether the lower end of the piece shows.
    """

    part: str
    mask: Pixels
    middle: float
    unit: float
    reaches_hem: bool


def drape(rgb: Pixels, garment: Garment, region: Region) -> None:
    """Paint the region of `rgb` (H×W×3 uint8, in place) with the garment; pixels outside it stay as they are."""
    work = shrink(rgb, _WORK_SIDE)
    height, width = work.shape[:2]
    coarse = cv2.resize(region.mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    scale = height / region.mask.shape[0]
    solid, soft = _soften(work, coarse)
    if not solid.any():
        return
    near = soft > 0
    grown = Region(region.part, near, region.middle * scale, region.unit * scale, region.reaches_hem)
    fabric = _lay(garment, grown)
    painted = fabric * shading(work, solid, region.unit * scale)[:, :, None] * _exposure(work)
    _blend(rgb, np.clip(painted + 0.5, 0, 255).astype(np.uint8), soft)


def _soften(work: Pixels, coarse: Pixels) -> tuple[Pixels, Pixels]:
    """Fit a coarse mask to the picture's edges: H×W bool and H×W float32 in 0..1."""
    solid = coarse > 0.5
    radius = max(2, max(work.shape[:2]) // 220)
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    soft = guided_filter(work.astype(np.float32) / 255.0, solid.astype(np.float32), radius, 1e-3)
    hard = solid.astype(np.uint8)
    soft = np.clip((soft - 0.15) / 0.7, 0, 1) * cv2.dilate(hard, kernel)
    return solid, np.maximum(soft, cv2.erode(hard, kernel)).astype(np.float32)


def _blend(rgb: Pixels, painted: Pixels, soft: Pixels) -> None:
    height, width = rgb.shape[:2]
    fabric = (
        painted if painted.shape == rgb.shape else cv2.resize(painted, (width, height), interpolation=cv2.INTER_CUBIC)
    )
    weight = (
        soft if soft.shape == (height, width) else cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
    )
    rows = np.flatnonzero(weight.max(axis=1) > 0)
    for row in range(int(rows[0]), int(rows[-1]) + 1, _STRIP):
        strip = slice(row, min(int(rows[-1]) + 1, row + _STRIP))
        share = weight[strip][:, :, None]
        rgb[strip] = (rgb[strip] * (1 - share) + fabric[strip] * share + 0.5).astype(np.uint8)


def shading(work: Pixels, region: Pixels, unit: float) -> Pixels:
    """Light and folds of the worn clothes as a factor about 1: H×W float32 within 0.5..1.3.

    A print would ghost through as folds do. Folds change the light little and the hue hardly at all; so large steps are
    compressed, steps that come with a step of hue are dropped, and the busier the clothes are the less of their
    detail is kept.
    """
    lab = cv2.cvtColor(work, cv2.COLOR_RGB2LAB).astype(np.float32)
    light = lab[:, :, 0] + 14.0
    weight = region.astype(np.float32)
    broad = _mean_within(light, weight, max(3.0, 0.55 * unit))
    middle = _mean_within(light, weight, max(1.0, 0.045 * unit))
    hue = sum(
        np.abs(
            _mean_within(lab[:, :, axis], weight, max(1.0, 0.045 * unit))
            - _mean_within(lab[:, :, axis], weight, 0.4 * unit)
        )
        for axis in (1, 2)
    )
    level = float(np.median(light[region]))
    folds = middle / np.maximum(broad, 1.0) - 1.0
    grain = light / np.maximum(middle, 1.0) - 1.0
    plain = 1.0 / (1.0 + (hue / 7.0) ** 2)
    busy = float(np.percentile(np.abs(folds[region]), 80))
    # Plain clothes have folds of some 5 to 15 %; a print or a check is far above.
    calm = float(np.clip(0.14 / max(0.14, busy), 0.25, 1.0)) * float(np.clip(np.mean(plain[region]) * 1.3, 0.3, 1.0))
    kept = np.tanh(folds * plain * 1.6) / 1.6 * calm + 0.35 * np.tanh(grain * 2.0) / 2.0 * calm * plain
    slope = np.clip(broad / level, 0.7, 1.25) ** (0.7 * calm)
    return np.asarray(np.clip(slope * (1.0 + 0.9 * kept), 0.5, 1.3), dtype=np.float32)


def _mean_within(values: Pixels, weight: Pixels, sigma: float) -> Pixels:
    """Blur within the weighted pixels only, at reduced size where the blur is wide."""
    step = max(1, int(sigma / 4))
    height, width = values.shape
    size = (max(1, width // step), max(1, height // step))
    total = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(values * weight, size, interpolation=cv2.INTER_AREA)
    total = cv2.GaussianBlur(total, (0, 0), sigma / step)
    mean = cv2.GaussianBlur(mean, (0, 0), sigma / step) / (total + 1e-3)
    return cv2.resize(mean, (width, height), interpolation=cv2.INTER_LINEAR)


def _exposure(work: Pixels) -> float:
    """How bright white is in the picture, 0.6..1: a white shirt must not glow in a dim room."""
    bright = float(np.percentile(cv2.cvtColor(work[::4, ::4], cv2.COLOR_RGB2GRAY), 98))
    return float(np.clip(bright / 225.0, 0.6, 1.0))


def _lay(garment: Garment, region: Region) -> Pixels:
    """Sample the fabric for every pixel of the region: H×W×3 float32."""
    place = _place_top if region.part == "top" else _place_bottom
    x, y, zoom = place(garment, region)
    fabric = _extend(garment)
    if zoom > 1.4:
        fabric = cv2.GaussianBlur(fabric, (0, 0), 0.35 * zoom)
    return cv2.remap(fabric, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT).astype(np.float32)


def _place_top(garment: Garment, region: Region) -> tuple[Pixels, Pixels, float]:
    """Map trunk to trunk at one scale; sleeves beyond the garment's trunk go on in its mirror image.

    Returns:
        Two H×W float32 of source columns and rows, and how many source pixels one pixel of the region is.
    """
    height, width = region.mask.shape
    first, last = _body_rows(garment.mask)
    left, right = _runs(garment.mask)
    body = slice(first + round(0.4 * (last - first)), first + round(0.95 * (last - first)))
    own_half = max(2.0, float(np.percentile(right[body] - left[body], 30)) / 2)
    top, bottom = _extent(region.mask, 1)
    across, middle = _trunk(region, top, bottom)
    zoom = own_half / across
    natural = (last - first) * (1 - 2 * _INSET) / max(1, bottom - top)
    step = float(np.clip(natural, zoom / 1.45, zoom / 0.7)) if region.reaches_hem else zoom
    # Where cloth is wanted beyond the hem, the mirror stands before the hem: its seam would show twice.
    tall = (last - first) * (1 - 2 * _INSET if step <= natural * 1.01 else 0.86)
    rows = first + _INSET * (last - first) + _reflect(step * (np.arange(height) - top), 0.0, tall)
    source = np.clip(np.round(rows).astype(int), first, last)
    near, far = left[source], right[source]
    margin = np.minimum(0.06 * (far - near), 0.1 * own_half)
    centre = (left[body].mean() + right[body].mean()) / 2
    x = centre + zoom * (np.arange(width)[None] - middle[:, None])
    x = _reflect(x, (near + margin)[:, None], (far - margin)[:, None])
    y = np.broadcast_to(rows[:, None], (height, width))
    return x.astype(np.float32), np.ascontiguousarray(y.astype(np.float32)), max(zoom, step)


def _body_rows(mask: Pixels) -> tuple[int, int]:
    """First row of a garment, and last row of its body: sleeves may hang lower than the hem."""
    first, last = _extent(mask, 1)
    left, right = _extent(mask, 0)
    third = mask[:, left + (right - left) * 2 // 5 : left + (right - left) * 3 // 5 + 1]
    whole = np.flatnonzero(third.mean(axis=1) > 0.95)
    return (first, int(whole[-1])) if len(whole) and whole[-1] > first + 0.5 * (last - first) else (first, last)


def _trunk(region: Region, top: int, bottom: int) -> tuple[float, Pixels]:
    """Half the width of the trunk, without arms, and the column of its middle in every row."""
    left, right = _runs(region.mask, round(region.middle))
    rows = np.arange(top + round(0.35 * (bottom - top)), bottom + 1)
    half = float(np.clip(np.percentile((right - left)[rows], 30) / 2, 0.8 * region.unit, 1.3 * region.unit))
    low = np.clip(left, region.middle - 1.4 * region.unit, None)
    high = np.clip(right, None, region.middle + 1.4 * region.unit)
    own = (low + high)[rows] / 2
    lean = np.polyfit(rows, own, 1) if len(rows) > 8 else np.array([0.0, region.middle])
    line = np.polyval(lean, np.clip(np.arange(region.mask.shape[0]), top, bottom))
    return half, np.clip(line, region.middle - region.unit, region.middle + region.unit)


def _place_bottom(garment: Garment, region: Region) -> tuple[Pixels, Pixels, float]:
    """Map leg to leg where both are parted, span to span elsewhere; returns as `_place_top`."""
    height, width = region.mask.shape
    first, last = _extent(garment.mask, 1)
    top, bottom = _extent(region.mask, 1)
    own, worn = _legs(garment.mask), _legs(region.mask)
    hips = slice(top, top + max(2, (bottom - top) // 5))
    own_hips = slice(first, first + max(2, (last - first) // 5))
    zoom = float(np.median((own[3] - own[0])[own_hips]) / max(2.0, float(np.median((worn[3] - worn[0])[hips]))))
    tall = (last - first) * (1 - 2 * _INSET)
    natural = tall / max(1, bottom - top)
    step = float(np.clip(natural, zoom / 1.7, zoom / 0.6)) if region.reaches_hem else min(natural, zoom)
    rows = first + _INSET * (last - first) + _reflect(step * (np.arange(height) - top), 0.0, tall)
    source = np.clip(np.round(rows).astype(int), first, last)
    columns = np.arange(width, dtype=np.float64)[None]
    sides = []
    for one, other in ((0, 1), (2, 3)):
        near, far = worn[one][:, None], worn[other][:, None]
        share = np.clip((columns - near) / np.maximum(far - near, 1.0), 0, 1)
        own_near, own_far = own[one][source][:, None], own[other][source][:, None]
        margin = 0.05 * (own_far - own_near)
        sides.append(own_near + margin + share * (own_far - own_near - 2 * margin))
    split = (worn[1] + worn[2])[:, None] / 2
    x = np.where(columns < split, sides[0], sides[1])
    y = np.broadcast_to(rows[:, None], (height, width))
    return x.astype(np.float32), np.ascontiguousarray(y.astype(np.float32)), max(zoom, step)


def _extent(mask: Pixels, axis: int) -> tuple[int, int]:
    """First and last row (axis 1) or column (axis 0) that holds a pixel of the mask."""
    found = np.flatnonzero(mask.any(axis=axis))
    return int(found[0]), int(found[-1])


def _reflect(values: Pixels, low: Pixels | float, high: Pixels | float) -> Pixels:
    """Fold values back into low..high at both ends, as between two mirrors."""
    span = np.maximum(np.asarray(high, dtype=np.float64) - low, 1.0)
    turned = np.mod(values - low, 2 * span)
    return np.asarray(low + np.minimum(turned, 2 * span - turned))


def _runs(mask: Pixels, column: int | None = None) -> tuple[Pixels, Pixels]:
    """First and last column of the run that holds the mask's middle, for every row: two float64 of length H."""
    height, width = mask.shape
    if column is None:
        column = round(float(np.flatnonzero(mask.any(axis=0)).mean()))
    column = min(max(column, 0), width - 1)
    index = np.arange(width)[None]
    gaps = ~mask
    left = np.where(gaps & (index < column), index, -1).max(axis=1) + 1
    right = np.where(gaps & (index > column), index, width).min(axis=1) - 1
    known = mask[:, column] & (right > left)
    if not known.any():
        span = np.flatnonzero(mask.any(axis=0))
        return np.full(height, float(span[0])), np.full(height, float(span[-1]))
    rows = np.flatnonzero(known)
    return _even(rows, left[rows], height), _even(rows, right[rows], height)


def _legs(mask: Pixels) -> tuple[Pixels, Pixels, Pixels, Pixels]:
    """Outer and inner columns of both legs for every row; the inner ones meet where nothing parts the legs."""
    height, width = mask.shape
    rows = np.flatnonzero(mask.any(axis=1))
    left = mask.argmax(axis=1)[rows].astype(np.float64)
    right = (width - 1 - mask[:, ::-1].argmax(axis=1))[rows].astype(np.float64)
    inner_left, inner_right = (left + right) / 2, (left + right) / 2
    for index, row in enumerate(rows):
        line = mask[row, int(left[index]) : int(right[index]) + 1]
        gaps = np.flatnonzero(~line)
        if len(gaps) < 3:
            continue
        pieces = np.split(gaps, np.flatnonzero(np.diff(gaps) > 1) + 1)
        gap = max(pieces, key=len)
        if len(gap) >= 3 and 0.2 < gap.mean() / len(line) < 0.8:
            inner_left[index], inner_right[index] = left[index] + gap[0] - 1, left[index] + gap[-1] + 1
    values = (left, inner_left, inner_right, right)
    ends = [_even(rows, each, height) for each in values]
    return ends[0], ends[1], ends[2], ends[3]


def _even(rows: Pixels, values: Pixels, height: int) -> Pixels:
    """Smooth values known at some rows and give them to all rows."""
    window = max(1, len(rows) // 28) * 2 + 1
    padded = np.pad(values.astype(np.float64), window // 2, mode="edge")
    smooth = np.convolve(padded, np.ones(window) / window, mode="valid")
    return np.asarray(np.interp(np.arange(height), rows, smooth))


def _extend(garment: Garment) -> Pixels:
    """Continue the fabric beyond its outline, so that no backdrop is sampled at the rim."""
    inner = garment.mask
    if inner.all():
        return garment.rgb
    _, labels = cv2.distanceTransformWithLabels(
        (~inner).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((int(labels.max()) + 1, 3), dtype=np.uint8)
    colours[labels[inner]] = garment.rgb[inner]
    return np.asarray(colours[labels])

"""Virtual try-on: the person's own clothes take the fabric of the given garments."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.emulator.painters.canvas import cover, decode, encode_jpeg, flatten
from imgapi.emulator.painters.job import PaintingRefused, PaintJob
from imgapi.emulator.painters.people import Person, find_clothes, find_person
from imgapi.errors import SubjectNotFound
from imgapi.matting.classical import find_subject
from imgapi.matting.edges import guided_filter
from imgapi.matting.pixels import Pixels, shrink

_NO_PERSON = "The input image has no human body or multi human bodies. Please upload other image with single person."
_NO_GARMENT = "Missing clothing image.Please input at least one top garment or bottom garment image."
_SEARCH_SIDE = 640
_WORK_SIDE = 1600
_GARMENT_SIDE = 1024
_LEAST_SHARE = 0.004
_INSET = 0.06
_SIZES = {-1: None, 1024: (576, 1024), 1280: (720, 1280)}


@dataclass(frozen=True, slots=True)
class _Garment:
    """A garment's fabric and where in its picture it lies: H×W×3 uint8 and H×W bool."""

    rgb: Pixels
    mask: Pixels


def paint_try_on(job: PaintJob) -> list[bytes]:
    """Give the clothes of 'person' the fabric of 'top' and 'bottom'; cut, sleeves and neckline stay the person's own.

    `resolution` 1024 and 1280 crop to 576×1024 and 720×1280 round the person; -1 keeps the size. Results are JPEG.

    Raises:
        PaintingRefused: InvalidPerson, InvalidGarment, or InvalidParameter for another resolution.
    """
    size = job.parameters.get("resolution", -1)
    if not isinstance(size, int) or size not in _SIZES:
        raise PaintingRefused("InvalidParameter", "resolution must be -1, 1024 or 1280")
    garments = {part: _read_garment(job, part) for part in ("top", "bottom") if part in job.pictures}
    if not garments:
        raise PaintingRefused("InvalidGarment", _NO_GARMENT)
    picture = decode(job, "person")
    rgb = flatten(picture)
    small = shrink(rgb, _SEARCH_SIDE)
    person = find_person(small)
    regions = dict(zip(("top", "bottom"), find_clothes(small, person), strict=True))
    if "bottom" not in garments and _is_long(garments.get("top")):
        regions = {"top": regions["top"] | regions["bottom"]}
    wearable = {part: region for part, region in regions.items() if part in garments and region.mean() > _LEAST_SHARE}
    if not wearable:
        raise PaintingRefused("InvalidPerson", _NO_PERSON)
    dressed = _dress(rgb, [(garments[part], region) for part, region in wearable.items()])
    target = _SIZES[size]
    if target is not None:
        dressed = _crop_round(dressed, person, small.shape[1], target)
    return [encode_jpeg(dressed, icc_profile=picture.icc_profile)] * job.count


def _read_garment(job: PaintJob, part: str) -> _Garment:
    """Cut a garment out of its picture; one that fills its picture is taken whole, as a swatch of fabric."""
    picture = decode(job, part)
    swatch = shrink(picture.rgb, _GARMENT_SIDE)
    try:
        pixels = shrink(find_subject(picture).pixels, _GARMENT_SIDE)
    except SubjectNotFound:
        return _Garment(swatch, np.ones(swatch.shape[:2], dtype=bool))
    solid = pixels[:, :, 3] > 200
    if not solid.any():
        return _Garment(swatch, np.ones(swatch.shape[:2], dtype=bool))
    return _Garment(np.ascontiguousarray(pixels[:, :, :3]), solid)


def _is_long(garment: _Garment | None) -> bool:
    """Whether a garment is a dress: about twice as tall as wide."""
    if garment is None:
        return False
    rows, columns = np.flatnonzero(garment.mask.any(axis=1)), np.flatnonzero(garment.mask.any(axis=0))
    return len(rows) > 0 and (rows[-1] - rows[0]) > 1.75 * (columns[-1] - columns[0])


def _dress(rgb: Pixels, pairs: list[tuple[_Garment, Pixels]]) -> Pixels:
    """Paint each region with its garment at up to working size; pixels outside the regions stay as they are."""
    work = shrink(rgb, _WORK_SIDE)
    height, width = rgb.shape[:2]
    result = rgb.copy()
    for garment, region in pairs:
        coarse = cv2.resize(region.astype(np.float32), (work.shape[1], work.shape[0]), interpolation=cv2.INTER_LINEAR)
        radius = max(2, max(work.shape[:2]) // 220)
        soft = guided_filter(work.astype(np.float32) / 255.0, (coarse > 0.5).astype(np.float32), radius, 1e-3)
        solid = (coarse > 0.5).astype(np.uint8)
        near = cv2.dilate(solid, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))
        soft = np.clip((soft - 0.15) / 0.7, 0, 1) * near
        soft = np.maximum(soft, cv2.erode(solid, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)))
        painted = _drape(garment, near > 0) * _shading(work, solid > 0)[:, :, None]
        painted = np.clip(painted + 0.5, 0, 255).astype(np.uint8)
        fabric = cv2.resize(painted, (width, height), interpolation=cv2.INTER_CUBIC)
        weight = cv2.resize(soft.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        rows = np.flatnonzero(weight.max(axis=1) > 0)
        for row in range(int(rows[0]), int(rows[-1]) + 1, 512):
            strip = slice(row, min(int(rows[-1]) + 1, row + 512))
            share = weight[strip][:, :, None]
            result[strip] = (result[strip] * (1 - share) + fabric[strip] * share + 0.5).astype(np.uint8)
    return result


def _drape(garment: _Garment, region: Pixels) -> Pixels:
    """Map the garment's rows to the region's rows and its spans to the region's spans: H×W×3 float32."""
    height, width = region.shape
    rows = np.flatnonzero(region.any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1])
    left, right = _spans(region)
    own_rows = np.flatnonzero(garment.mask.any(axis=1))
    first, last = int(own_rows[0]), int(own_rows[-1])
    inset = _INSET * (last - first)
    own_left, own_right = _spans(garment.mask)
    x, y = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    columns = np.arange(width, dtype=np.float32)
    for row in range(top, bottom + 1):
        source = first + inset + (last - first - 2 * inset) * (row - top) / max(1, bottom - top)
        near, far = own_left[round(source)], own_right[round(source)]
        margin = _INSET * (far - near)
        share = (columns - left[row]) / max(1.0, right[row] - left[row])
        x[row] = near + margin + np.clip(share, 0, 1) * (far - near - 2 * margin)
        y[row] = source
    fabric = _extend(garment)
    zoom = max(1.0, fabric.shape[0] / max(1, bottom - top), fabric.shape[1] / max(1, width))
    if zoom > 1.5:
        fabric = cv2.GaussianBlur(fabric, (0, 0), 0.35 * zoom)
    return cv2.remap(fabric, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def _spans(mask: Pixels) -> tuple[Pixels, Pixels]:
    """First and last column of the mask in every row, smoothed along the rows: two float64 arrays of length H."""
    height, width = mask.shape
    filled = np.flatnonzero(mask.any(axis=1))
    left = mask.argmax(axis=1)[filled].astype(np.float64)
    right = (width - 1 - mask[:, ::-1].argmax(axis=1))[filled].astype(np.float64)
    window = max(1, len(filled) // 24) * 2 + 1
    ends = []
    for values in (left, right):
        padded = np.pad(values, window // 2, mode="edge")
        smooth = np.convolve(padded, np.ones(window) / window, mode="valid")
        ends.append(np.interp(np.arange(height), filled, smooth))
    return ends[0], ends[1]


def _extend(garment: _Garment) -> Pixels:
    """Continue the fabric beyond its outline, so that no backdrop is sampled at the rim."""
    inner = cv2.erode(garment.mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    if inner.all() or not inner.any():
        return garment.rgb
    _, labels = cv2.distanceTransformWithLabels(
        (~inner).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((int(labels.max()) + 1, 3), dtype=np.uint8)
    colours[labels[inner]] = garment.rgb[inner]
    return np.asarray(colours[labels])


def _shading(work: Pixels, region: Pixels) -> Pixels:
    """Light and folds of the original clothes as a factor about 1; prints are held down, so that few ghost through."""
    light = cv2.cvtColor(work, cv2.COLOR_RGB2LAB)[:, :, 0].astype(np.float32) + 12.0
    fine = cv2.bilateralFilter(light, 7, 12, 4)
    weight = region.astype(np.float32)
    spread = max(4.0, max(region.shape) / 22)
    total = cv2.GaussianBlur(weight, (0, 0), spread) + 1e-3
    local = cv2.GaussianBlur(fine * weight, (0, 0), spread) / total
    level = float(np.median(fine[region])) if region.any() else 128.0
    # Broad light is kept in part; a fold is a small step, a print a large one, so large steps are compressed.
    broad = np.clip(local / level, 0.75, 1.2) ** 0.5
    folds = np.tanh((fine / np.maximum(local, 1.0) - 1.0) * 1.8) / 1.8
    return np.clip(broad * (1.0 + 0.75 * folds), 0.5, 1.3).astype(np.float32)


def _crop_round(rgb: Pixels, person: Person, width: int, size: tuple[int, int]) -> Pixels:
    """Crop to the shape of `size` (width, height) with the person in the middle, and scale to it."""
    columns = np.flatnonzero(person.mask.any(axis=0))
    middle = float(columns.mean()) / width
    shown = min(1.0, size[0] / size[1] * rgb.shape[0] / rgb.shape[1])
    focus = 0.5 if shown >= 1 else float(np.clip((middle - shown / 2) / (1 - shown), 0, 1))
    return cover(rgb, size[0], size[1], focus=(focus, 0.5))

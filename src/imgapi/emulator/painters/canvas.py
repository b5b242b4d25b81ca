"""Pixel steps that several painters share."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from imgapi.emulator.painters.job import Painting, PaintingRefused, PaintJob
from imgapi.matting.pixels import Picture, Pixels, read_picture, shrink, write_png

MAX_OUTPUT_PIXELS = 100_000_000
_SOFTWARE = "imgapi local preview"
_TELEA_RADIUS = 4
_WHOLE_WORK_PIXELS = 1_500_000
_WIDE_HOLE = 40
_WHITE = 255


def decode(job: PaintJob, name: str) -> Picture:
    """Decode one of the job's pictures; raises PaintingRefused, UnreadableImage, ImageTooLarge."""
    return read_picture(job.picture(name))


def flatten(picture: Picture) -> Pixels:
    """Lay the picture on white where it is transparent: H×W×3 uint8."""
    if picture.alpha is None:
        return picture.rgb
    weight = picture.alpha.astype(np.uint16)[:, :, None]
    mixed = (picture.rgb * weight + _WHITE * (_WHITE - weight) + 127) // _WHITE
    return mixed.astype(np.uint8)


def encode_png(
    pixels: Pixels, *, warnings: Sequence[str] = (), ignored: Sequence[str] = (), icc_profile: bytes | None = None
) -> bytes:
    """Encode as PNG with text chunks that say who painted it, what to be warned of and what was ignored."""
    return write_png(pixels, notes=notes(warnings=warnings, ignored=ignored), icc_profile=icc_profile)


def notes(*, warnings: Sequence[str] = (), ignored: Sequence[str] = ()) -> dict[str, str]:
    """What a result's text chunks say: who painted it, what to be warned of and what was ignored."""
    said = {"Software": _SOFTWARE}
    if warnings:
        said["Warning"] = ", ".join(warnings)
    if ignored:
        said["Ignored"] = ", ".join(ignored)
    return said


def one_painting(
    job: PaintJob, pixels: Pixels, icc_profile: bytes | None, *, warnings: Sequence[str] = (), ignored: Sequence[str]
) -> Painting:
    """Encode the only answer an operation has, as often as it was asked for."""
    content = encode_png(pixels, warnings=warnings, ignored=ignored, icc_profile=icc_profile)
    return Painting((content,) * job.count, tuple(warnings), tuple(ignored))


def encode_jpeg(pixels: Pixels, *, icc_profile: bytes | None = None) -> bytes:
    """Encode H×W×3 uint8 as JPEG of quality 95 with a comment that says who painted it."""
    stream = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(stream, format="JPEG", quality=95, subsampling=0, comment=_SOFTWARE, icc_profile=icc_profile)
    return stream.getvalue()


def refuse_giant_output(width: int, height: int, remedy: str) -> None:
    """Raise PaintingRefused when the result would need more memory than a worker may take."""
    if width * height > MAX_OUTPUT_PIXELS:
        raise PaintingRefused(
            "InvalidParameter",
            f"the result would have {width}x{height} pixels and the local preview paints at most "
            f"{MAX_OUTPUT_PIXELS // 1_000_000} million: {remedy}",
        )


def cover(
    rgb: Pixels, width: int, height: int, *, zoom: float = 1.0, focus: tuple[float, float] = (0.5, 0.5)
) -> Pixels:
    """Scale and crop so that the picture covers width×height.

    Args:
        rgb: H×W×C uint8.
        width: Of the result, in pixels.
        height: Of the result, in pixels.
        zoom: 1 shows as much as fits; more comes closer.
        focus: What part of the surplus to cut at the left and the top, 0..1 each.
    """
    scale = min(rgb.shape[1] / width, rgb.shape[0] / height) / zoom
    across, down = width * scale, height * scale
    left, top = (rgb.shape[1] - across) * focus[0], (rgb.shape[0] - down) * focus[1]
    box = (left, top, left + across, top + down)
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return np.array(image.resize((width, height), Image.Resampling.LANCZOS, box=box, reducing_gap=3.0))


def smoothstep(values: Pixels) -> Pixels:
    """Ease 0..1 to 0..1 with flat ends; values outside are clamped."""
    bounded = np.clip(values, 0.0, 1.0)
    return np.asarray(bounded * bounded * (3.0 - 2.0 * bounded))


def fill_smoothly(rgb: Pixels, hole: Pixels) -> Pixels:
    """Fill a large hole with what surrounds it, coarse far from the rim and finer near it (push and pull).

    Args:
        rgb: H×W×3 uint8.
        hole: H×W bool.
    """
    if not hole.any() or hole.all():
        return rgb.copy()
    known = (~hole).astype(np.float32)
    levels = [(rgb.astype(np.float32) * known[:, :, None], known)]
    while min(levels[-1][1].shape) > 2:
        colours, weights = levels[-1]
        size = ((weights.shape[1] + 1) // 2, (weights.shape[0] + 1) // 2)
        smaller = cv2.resize(weights, size, interpolation=cv2.INTER_AREA)
        total = cv2.resize(colours, size, interpolation=cv2.INTER_AREA)
        # A cell that saw a little of the picture counts as known: its colour is a real average.
        gain = np.minimum(1.0, 4.0 * smaller) / np.maximum(smaller, 1e-6)
        levels.append((total * gain[:, :, None], smaller * gain))
    colours, weights = levels[-1]
    answer = colours / np.maximum(weights, 1e-6)[:, :, None]
    for colours, weights in reversed(levels[:-1]):
        coarse = cv2.resize(answer, (weights.shape[1], weights.shape[0]), interpolation=cv2.INTER_LINEAR)
        answer = colours + (1.0 - weights)[:, :, None] * coarse
    filled = rgb.copy()
    filled[hole] = np.clip(answer[hole] + 0.5, 0, 255).astype(np.uint8)
    return filled


def inpaint(rgb: Pixels, mask: Pixels) -> Pixels:
    """Replace what the mask marks by what surrounds it; every other pixel stays as it is.

    Thin marks by Telea's method at full size; where the hole is wide, its middle is filled at a smaller size, because
    Telea's time and smears grow with the width.

    Args:
        rgb: H×W×3 uint8.
        mask: H×W bool.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return rgb.copy()
    margin = 3 * _WIDE_HOLE
    top, bottom = max(0, int(rows[0]) - margin), min(mask.shape[0], int(rows[-1]) + margin + 1)
    left, right = max(0, int(columns[0]) - margin), min(mask.shape[1], int(columns[-1]) + margin + 1)
    part, hole = rgb[top:bottom, left:right], mask[top:bottom, left:right]
    depth = float(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3).max())
    result = rgb.copy()
    result[top:bottom, left:right][hole] = _fill(np.ascontiguousarray(part), hole, depth)[hole]
    return result


def _fill(part: Pixels, hole: Pixels, depth: float) -> Pixels:
    height, width = hole.shape
    marked = float(hole.sum())
    scale = min(1.0, _WIDE_HOLE / max(1.0, depth), float(np.sqrt(_WHOLE_WORK_PIXELS / 4 / max(1.0, marked))))
    if scale >= 1.0:
        return cv2.inpaint(part, hole.astype(np.uint8), _TELEA_RADIUS, cv2.INPAINT_TELEA)
    longest = max(32, round(max(height, width) * scale))
    small = shrink(part, longest)
    covered = cv2.resize(hole.astype(np.float32), (small.shape[1], small.shape[0]), interpolation=cv2.INTER_AREA) > 0
    painted = cv2.inpaint(small, covered.astype(np.uint8), _TELEA_RADIUS, cv2.INPAINT_TELEA)
    return cv2.resize(painted, (width, height), interpolation=cv2.INTER_CUBIC)

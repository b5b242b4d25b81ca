"""Background replacement: the subject over a reference picture or over a backdrop painted from the prompt's words."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.emulator.painters.backdrops import paint_backdrop
from imgapi.emulator.painters.canvas import cover, decode, encode_png, fill_smoothly
from imgapi.emulator.painters.job import Painting, PaintingRefused, PaintJob
from imgapi.matting.classical import find_subject
from imgapi.matting.pixels import Pixels, prepare_process, shrink, to_lab
from imgapi.matting.regions import touched_sides

_STRIP_ROWS = 512
_PULL = 0.35
_MOST_LIGHTNESS = 10.0
_MOST_COLOUR = 7.0
_WRAP = 0.3
_SHADOW = 0.55
_SHADOW_SIDE = 640
_HUE_SIDE = 512
_UNTINT = 0.8
_OPAQUE = 255


@dataclass(frozen=True, slots=True)
class _Composition:
    """One way to place the subject and the reference: all lengths are shares of the frame."""

    zoom: float
    focus: tuple[float, float]
    mirrored: bool = False
    subject_scale: float = 1.0
    shift: float = 0.0
    blur: float = 0.0
    warmth: float = 0.0


def paint_background(job: PaintJob) -> Painting:
    """Put the subject of 'base' before 'ref', or before a backdrop in the colours the prompt names.

    A base without transparency is cut out first. Results have the base's size. Each of up to four results is
    another composition: as it is; the reference mirrored and closer behind a subject moved to one side; a small
    subject on the other side of a cooler reference; the reference mirrored, warmer and out of focus.

    Raises:
        PaintingRefused: Neither a reference nor a prompt.
        SubjectNotFound: An opaque base in which no subject is found.
    """
    if "ref" not in job.pictures and not job.prompt.strip():
        raise PaintingRefused("InvalidParameter", "one of ref_image_url and ref_prompt must be given")
    base = decode(job, "base")
    subject = find_subject(base)
    ignored = ("ref_prompt",) if "ref" in job.pictures else ()
    reference = _read_reference(job) if "ref" in job.pictures else None
    results = []
    for index, composition in enumerate(_compositions(job)):
        prepare_process()
        if reference is None:
            backdrop = paint_backdrop(job.prompt, base.width, base.height, seed=job.seed + 101 * index)
        else:
            source = reference[:, ::-1] if composition.mirrored else reference
            backdrop = cover(source, base.width, base.height, zoom=composition.zoom, focus=composition.focus)
        placed = _place(subject.pixels, composition)
        painted = _compose(placed, _finish(backdrop, composition))
        results.append(encode_png(painted, warnings=subject.warnings, ignored=ignored, icc_profile=base.icc_profile))
    return Painting(tuple(results), subject.warnings, ignored)


def _read_reference(job: PaintJob) -> Pixels:
    """Decode the reference; its transparent zones are filled from the rest, because they are not to be referenced."""
    picture = decode(job, "ref")
    if picture.alpha is None:
        return picture.rgb
    small = shrink(np.dstack([picture.rgb, picture.alpha]), 2048)
    return fill_smoothly(np.ascontiguousarray(small[:, :, :3]), small[:, :, 3] < _OPAQUE // 2)


def _compositions(job: PaintJob) -> list[_Composition]:
    dice = np.random.default_rng(job.seed)
    side = float(dice.choice([-1.0, 1.0]))
    focus = [tuple(float(value) for value in dice.uniform(0.25, 0.75, 2)) for _ in range(4)]
    variants = [
        _Composition(zoom=1.0, focus=(focus[0][0], 0.5)),
        _Composition(
            mirrored=True, zoom=1.45, focus=(focus[1][0], focus[1][1]), subject_scale=0.92, shift=-side * 0.12
        ),
        _Composition(zoom=1.12, focus=(focus[2][0], 0.8), subject_scale=0.74, shift=side * 0.14, warmth=-0.04),
        _Composition(mirrored=True, zoom=1.15, focus=(focus[3][0], 0.4), blur=0.012, warmth=0.06),
    ]
    return variants[: job.count]


def _finish(backdrop: Pixels, composition: _Composition) -> Pixels:
    """Blur the backdrop as a lens out of focus would, and grade it warmer or cooler."""
    result = backdrop
    if composition.blur:
        result = cv2.GaussianBlur(result, (0, 0), max(1.0, composition.blur * max(result.shape[:2])))
    if composition.warmth:
        gains = np.array([1 + composition.warmth, 1.0, 1 - composition.warmth])
        levels = np.clip(np.arange(256)[:, None] * gains[None] + 0.5, 0, 255).astype(np.uint8)
        result = cv2.LUT(np.ascontiguousarray(result), levels[None])
    return result


def _place(subject: Pixels, composition: _Composition) -> Pixels:
    """Scale and move the subject; sides of the frame that it touches stay touched, so that no cut floats in the air."""
    alpha = subject[:, :, 3]
    rows, columns = np.flatnonzero(alpha.max(axis=1) > 127), np.flatnonzero(alpha.max(axis=0) > 127)
    touched = touched_sides(alpha > 127)
    fixed = {"left", "right"} <= touched or {"top", "bottom"} <= touched
    if (composition.subject_scale == 1.0 and not composition.shift) or fixed or not len(rows):
        return subject
    height, width = alpha.shape
    scale = composition.subject_scale
    x = {"left": 0.0, "right": float(width)}.get(next(iter(touched & {"left", "right"}), ""), float(np.mean(columns)))
    y = 0.0 if "top" in touched else float(rows[-1] + 1)
    room = (columns[0] * 0.9, (width - 1 - columns[-1]) * 0.9)
    shift = 0.0 if touched & {"left", "right"} else float(np.clip(composition.shift * width, -room[0], room[1]))
    matrix = np.array([[scale, 0, x * (1 - scale) + shift], [0, scale, y * (1 - scale)]])
    moved = cv2.warpAffine(subject, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0, 0))
    return np.asarray(moved)


def _compose(subject: Pixels, backdrop: Pixels) -> Pixels:
    """Lay the subject over the backdrop with its colours pulled, light wrapped round it and a shadow below it."""
    height, width = backdrop.shape[:2]
    alpha = np.ascontiguousarray(subject[:, :, 3])
    gain, offset = _colour_pull(subject, backdrop)
    shadow = _shadow(alpha)
    reach = max(1, round(0.012 * max(height, width)))
    edge = cv2.blur(_OPAQUE - alpha, (2 * reach + 1, 2 * reach + 1), borderType=cv2.BORDER_REPLICATE)
    glow = cv2.GaussianBlur(shrink(backdrop, 256), (0, 0), 6)
    glow = cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR)
    hue = _inner_hue(subject)
    result = np.empty((height, width, 3), dtype=np.uint8)
    for top in range(0, height, _STRIP_ROWS):
        rows = slice(top, min(height, top + _STRIP_ROWS))
        lab = to_lab(subject[rows, :, :3])
        # The rim keeps its lightness, or hair would go flat, but not the tint of the old background.
        rim = np.minimum(1.0, edge[rows].astype(np.float32) * (_UNTINT * 2 / _OPAQUE))[:, :, None]
        lab[:, :, 1:] += rim * (_enlarge_rows(hue, rows, (height, width)) - lab[:, :, 1:])
        lab = lab * gain + offset
        front = np.clip(cv2.cvtColor(lab.astype(np.float32), cv2.COLOR_LAB2RGB), 0, 1) * float(_OPAQUE)
        wrap = (edge[rows].astype(np.float32) * (_WRAP / _OPAQUE))[:, :, None]
        front += wrap * (glow[rows].astype(np.float32) - front)
        behind = (
            backdrop[rows].astype(np.float32) * (1 - _SHADOW / _OPAQUE * shadow[rows].astype(np.float32))[:, :, None]
        )
        weight = (alpha[rows].astype(np.float32) / _OPAQUE)[:, :, None]
        result[rows] = np.clip(behind + weight * (front - behind) + 0.5, 0, _OPAQUE).astype(np.uint8)
    return result


def _colour_pull(subject: Pixels, backdrop: Pixels) -> tuple[Pixels, Pixels]:
    """Gain and offset in Lab that bring the subject a third of the way to the backdrop's mood, within limits."""
    small = shrink(subject, 256)
    inside = small[:, :, 3] > 200
    if not inside.any():
        return np.ones(3, np.float32), np.zeros(3, np.float32)
    own = to_lab(np.ascontiguousarray(small[:, :, :3]))[inside]
    other = to_lab(shrink(backdrop, 256)).reshape(-1, 3)
    limits = np.array([_MOST_LIGHTNESS, _MOST_COLOUR, _MOST_COLOUR])
    move = np.clip(_PULL * (other.mean(axis=0) - own.mean(axis=0)), -limits, limits)
    ratio = (other.std(axis=0) + 4.0) / (own.std(axis=0) + 4.0)
    gain = np.clip(1.0 + _PULL * (ratio - 1.0), 0.9, 1.1)
    offset = own.mean(axis=0) * (1.0 - gain) + move
    return gain.astype(np.float32), offset.astype(np.float32)


def _inner_hue(subject: Pixels) -> Pixels:
    """The subject's Lab a and b away from its rim, continued outward: h×w×2 float32 at a small size."""
    small = shrink(subject, _HUE_SIDE)
    solid = (small[:, :, 3] > 250).astype(np.uint8)
    inner = cv2.erode(solid, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_REPLICATE) > 0
    filled = fill_smoothly(np.ascontiguousarray(small[:, :, :3]), ~inner)
    return to_lab(filled)[:, :, 1:]


def _enlarge_rows(small: Pixels, rows: slice, size: tuple[int, int]) -> Pixels:
    """Give some rows of a small array enlarged to `size` (height, width), without enlarging the whole."""
    scale_x, scale_y = small.shape[1] / size[1], small.shape[0] / size[0]
    sampling = np.array([[scale_x, 0, scale_x / 2 - 0.5], [0, scale_y, (rows.start + 0.5) * scale_y - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shape = (size[1], rows.stop - rows.start)
    return np.asarray(cv2.warpAffine(small, sampling, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _shadow(alpha: Pixels) -> Pixels:
    """Draw the shadow where the subject stands: H×W uint8, all zero when the frame cuts the subject below."""
    height, width = alpha.shape
    small = shrink(alpha, _SHADOW_SIDE)
    rows = np.flatnonzero(small.max(axis=1) > 127)
    if not len(rows) or "bottom" in touched_sides(small > 127):
        return np.zeros((height, width), dtype=np.uint8)
    tall = int(rows[-1] - rows[0] + 1)
    foot = int(rows[-1])
    contact = _underside(small > 127, foot, tall)
    drawn = 1.6 * cv2.GaussianBlur(contact, (0, 0), max(0.8, tall / 110))
    drawn += 0.8 * cv2.GaussianBlur(contact, (0, 0), max(1.2, tall / 40))
    # The light from all round that the figure keeps off reaches farther along the ground than towards the eye.
    drawn += 1.3 * cv2.GaussianBlur(contact, (0, 0), max(2.0, tall / 10), sigmaY=max(1.2, tall / 36))
    levels = np.clip(drawn * _OPAQUE, 0, _OPAQUE).astype(np.uint8)
    return np.asarray(cv2.resize(levels, (width, height), interpolation=cv2.INTER_LINEAR))


def _underside(solid: Pixels, foot: int, tall: int) -> Pixels:
    """Draw a line below the lowest pixel of each column, fainter the higher above the ground it is: h×w float32."""
    height = len(solid)
    lowest = height - 1 - np.argmax(solid[::-1], axis=0)
    strength = np.clip(1 - (foot - lowest) / max(1.0, 0.3 * tall), 0, 1) * solid.any(axis=0)
    below = np.arange(height)[:, None] - lowest[None]
    thick = max(1, round(tall / 80))
    return np.asarray(((below >= -thick) & (below <= thick)) * strength[None], dtype=np.float32)

"""From a coarse mask to a full-resolution matte with edge colours free of the old background."""

# ruff: noqa: PLR2004 - the thresholds were tuned on photos; each one's meaning is the comparison it stands in.

from dataclasses import dataclass

import cv2
import numpy as np

from imgapi.matting.backdrop import Backdrop
from imgapi.matting.pixels import Pixels, shrink

_WORK_SIDE = 1600
_BAND_SHARE = 0.008
_STRIP_ROWS = 512
_GUIDED_EPSILON = 2e-4


@dataclass(frozen=True, slots=True)
class _Coarse:
    """What is known at working size (H×W float32 in 0..1): the matte, the subject's and the background's colours."""

    rgb: Pixels
    matte: Pixels
    foreground: Pixels
    background: Pixels


def refine(rgb: Pixels, mask: Pixels, backdrop: Backdrop | None) -> Pixels:
    """Turn a coarse mask into the picture with a soft matte.

    Args:
        rgb: H×W×3 uint8 at full size.
        mask: h×w bool of any size.
        backdrop: The surface behind the subject where it is known; None in a scene.

    Returns:
        H×W×4 uint8; within the soft edge the colours are the subject's own.
    """
    work = shrink(rgb, _WORK_SIDE).astype(np.float32) / 255.0
    height, width = work.shape[:2]
    soft = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    # Smoothing removes the stairs that the small mask leaves when it is enlarged.
    soft = cv2.GaussianBlur(soft, (0, 0), max(0.8, max(height, width) / mask.shape[1] * 0.6))
    radius = max(3, round(max(height, width) * _BAND_SHARE))
    solid = (soft > 0.5).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    # The frame's rim is no edge of the subject: replicate, so that a cropped subject stays opaque up to the frame.
    inside = cv2.erode(solid, kernel, borderType=cv2.BORDER_REPLICATE) > 0
    near = cv2.dilate(solid, kernel, borderType=cv2.BORDER_REPLICATE) > 0
    matte = guided_filter(work, solid.astype(np.float32), radius, _GUIDED_EPSILON)
    matte = np.clip((matte - 0.12) / 0.76, 0.0, 1.0)
    if backdrop is not None:
        matte = _known_backdrop_matte(work, backdrop, inside, matte, radius)
    matte = np.where(inside, 1.0, np.where(near, matte, 0.0)).astype(np.float32)
    foreground, background = _separate_colours(work, matte, radius)
    return _enlarge(rgb, _Coarse(work, matte, foreground, background))


def guided_filter(guide: Pixels, values: Pixels, radius: int, epsilon: float) -> Pixels:
    """Smooth `values` so that its edges follow those of the colour guide (He, Sun and Tang, 2010).

    Args:
        guide: H×W×3 float32 in 0..1.
        values: H×W float32.
        radius: Of the box window, in pixels.
        epsilon: Variance below which the guide counts as flat.

    Returns:
        H×W float32.
    """
    slopes, offset = _guided_coefficients(guide, values, radius, epsilon)
    return np.asarray((slopes * guide).sum(axis=2) + offset)


def _guided_coefficients(guide: Pixels, values: Pixels, radius: int, epsilon: float) -> tuple[Pixels, Pixels]:
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(plane: Pixels) -> Pixels:
        return cv2.blur(plane, window, borderType=cv2.BORDER_REFLECT)

    mean_guide, mean_values = mean(guide), mean(values)
    covariance = mean(guide * values[:, :, None]) - mean_guide * mean_values[:, :, None]
    red, green, blue = (guide[:, :, i] for i in range(3))
    m_red, m_green, m_blue = (mean_guide[:, :, i] for i in range(3))
    rr = mean(red * red) - m_red * m_red + epsilon
    rg = mean(red * green) - m_red * m_green
    rb = mean(red * blue) - m_red * m_blue
    gg = mean(green * green) - m_green * m_green + epsilon
    gb = mean(green * blue) - m_green * m_blue
    bb = mean(blue * blue) - m_blue * m_blue + epsilon
    # The inverse of the symmetric 3×3 covariance, written out: numpy's own would need H×W matrices in memory.
    i_rr, i_rg, i_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    i_gg, i_gb, i_bb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    determinant = np.maximum(rr * i_rr + rg * i_rg + rb * i_rb, 1e-12)
    c_red, c_green, c_blue = (covariance[:, :, i] for i in range(3))
    slopes = np.stack(
        [
            (i_rr * c_red + i_rg * c_green + i_rb * c_blue) / determinant,
            (i_rg * c_red + i_gg * c_green + i_gb * c_blue) / determinant,
            (i_rb * c_red + i_gb * c_green + i_bb * c_blue) / determinant,
        ],
        axis=2,
    )
    offset = mean_values - (slopes * mean_guide).sum(axis=2)
    return mean(slopes), mean(offset)


def _known_backdrop_matte(rgb: Pixels, backdrop: Backdrop, inside: Pixels, matte: Pixels, radius: int) -> Pixels:
    """Project each edge pixel on the line from the backdrop's colour to the subject's nearest inner colour."""
    height, width = inside.shape
    behind = np.clip(cv2.cvtColor(backdrop.at_size(height, width), cv2.COLOR_LAB2RGB), 0, 1)
    weight = inside.astype(np.float32)
    window = (6 * radius + 1, 6 * radius + 1)
    total = cv2.blur(weight, window)
    front = cv2.blur(rgb * weight[:, :, None], window) / np.maximum(total, 1e-6)[:, :, None]
    line = front - behind
    length = (line * line).sum(axis=2)
    projected = np.clip(((rgb - behind) * line).sum(axis=2) / np.maximum(length, 1e-6), 0.0, 1.0)
    # A pixel that differs from the backdrop in another direction than its inner neighbours is still the subject.
    off = np.sqrt(((rgb - behind) ** 2).sum(axis=2)) / np.maximum(np.sqrt(length), 0.08)
    projected = np.clip((np.maximum(projected, np.minimum(off, 1.0)) - 0.06) / 0.86, 0.0, 1.0)
    trusted = np.clip((length - 0.002) / 0.01, 0.0, 1.0) * (total > 1e-3)
    return np.asarray(trusted * projected * np.clip(matte * 6.0, 0.0, 1.0) + (1.0 - trusted) * matte)


def _separate_colours(rgb: Pixels, matte: Pixels, radius: int) -> tuple[Pixels, Pixels]:
    """Estimate both colours of every mixed pixel by two rounds of blur fusion (Forte, 2021)."""
    foreground, background = rgb, rgb
    for spread in (3 * radius, max(2, radius // 2)):
        window = (2 * spread + 1, 2 * spread + 1)
        weight = matte[:, :, None]
        near_foreground = cv2.blur(foreground * weight, window) / (cv2.blur(matte, window)[:, :, None] + 1e-5)
        near_background = cv2.blur(background * (1 - weight), window) / (cv2.blur(1 - matte, window)[:, :, None] + 1e-5)
        missing = rgb - weight * near_foreground - (1 - weight) * near_background
        foreground = np.clip(near_foreground + weight * missing, 0.0, 1.0)
        background = np.clip(near_background, 0.0, 1.0)
    return foreground.astype(np.float32), background.astype(np.float32)


def _enlarge(rgb: Pixels, coarse: _Coarse) -> Pixels:
    """Bring the matte to full size, strip by strip so that 50 megapixels need no more float memory than 1."""
    height, width = rgb.shape[:2]
    result = np.empty((height, width, 4), dtype=np.uint8)
    result[:, :, :3] = rgb
    same_size = coarse.matte.shape == (height, width)
    if same_size:
        layers = np.dstack([coarse.matte, coarse.foreground, coarse.background])
    else:
        slopes, offset = _guided_coefficients(coarse.rgb, coarse.matte, 2, 1e-5)
        layers = np.dstack([coarse.matte, coarse.foreground, coarse.background, slopes, offset])
    for top in range(0, height, _STRIP_ROWS):
        bottom = min(height, top + _STRIP_ROWS)
        strip = layers[top:bottom] if same_size else _resample_rows(layers, top, bottom, (height, width))
        pixels = rgb[top:bottom].astype(np.float32) / 255.0
        matte = strip[:, :, 0]
        if not same_size:
            followed = (strip[:, :, 7:10] * pixels).sum(axis=2) + strip[:, :, 10]
            matte = np.where((matte > 0.01) & (matte < 0.99), np.clip(followed, 0.0, 1.0), np.round(matte))
        mixed = (matte > 0) & (matte < 1)
        weight = matte[mixed][:, None]
        near = strip[:, :, 1:4][mixed]
        missing = pixels[mixed] - weight * near - (1 - weight) * strip[:, :, 4:7][mixed]
        result[top:bottom, :, :3][mixed] = np.clip((near + weight * missing) * 255.0 + 0.5, 0, 255).astype(np.uint8)
        result[top:bottom, :, 3] = (matte * 255.0 + 0.5).astype(np.uint8)
    return result


def _resample_rows(layers: Pixels, top: int, bottom: int, size: tuple[int, int]) -> Pixels:
    """Enlarge `layers` bilinearly to `size` (height, width), computing only rows `top` to `bottom`."""
    height, width = size
    scale = layers.shape[0] / height
    first = max(0, int(top * scale) - 2)
    last = min(layers.shape[0], int(np.ceil(bottom * scale)) + 2)
    x = ((np.arange(width, dtype=np.float32) + 0.5) * (layers.shape[1] / width) - 0.5)[None].repeat(bottom - top, 0)
    y = ((np.arange(top, bottom, dtype=np.float32) + 0.5) * scale - 0.5 - first)[:, None].repeat(width, 1)
    parts = [
        cv2.remap(
            np.ascontiguousarray(layers[first:last, :, index : index + 4]),
            x,
            y,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for index in range(0, layers.shape[2], 4)
    ]
    return np.concatenate([part if part.ndim == 3 else part[:, :, None] for part in parts], axis=2)

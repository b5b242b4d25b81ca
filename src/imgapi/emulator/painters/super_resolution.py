"""Super-resolution: enlargement that is never worse than Lanczos, without haloes and without invented detail."""

import cv2
import numpy as np
from PIL import Image

from imgapi.emulator.painters.canvas import decode, encode_png, refuse_giant_output
from imgapi.emulator.painters.job import PaintingRefused, PaintJob
from imgapi.matting.pixels import Picture, Pixels

_MAX_FACTOR = 4
_REFINED_PIXELS = 17_000_000
_BLOCKY_JPEG = 40
_NOISY_SIGMA = 4.0
_STEPS = 8
# The mean of the standard luminance table of ITU-T T.81 Annex K, which encoders scale by quality.
_ANNEX_K_MEAN = 57.625
_FULL_SCALE = 100


def paint_enlargement(job: PaintJob) -> list[bytes]:
    """Enlarge 'base' by `upscale_factor` (1 to 4; 1 sharpens without enlarging); the prompt is not used.

    Lossless pictures are refined by back-projection: the enlarged picture must shrink to the given one. JPEGs get
    plain Lanczos, below quality 40 after a mild deblocking, because trials showed refinement to amplify their
    artefacts; so do results beyond 17 million pixels.

    Raises:
        PaintingRefused: A factor out of range, or a result beyond 100 million pixels.
    """
    base = decode(job, "base")
    factor = job.number("upscale_factor", 1)
    if factor not in range(1, _MAX_FACTOR + 1):
        raise PaintingRefused("InvalidParameter", f"upscale_factor must be an integer from 1 to {_MAX_FACTOR}")
    width, height = base.width * int(factor), base.height * int(factor)
    refuse_giant_output(width, height, "use a smaller upscale_factor")
    enlarged = sharpen(base.rgb) if factor == 1 else enlarge(base, int(factor))
    if base.alpha is not None:
        enlarged = np.dstack([enlarged, _lanczos(base.alpha, width, height)])
    return [encode_png(enlarged, warnings=("prompt_ignored",), icc_profile=base.icc_profile)] * job.count


def enlarge(base: Picture, factor: int) -> Pixels:
    """Enlarge the colours of a picture: (factor·H)×(factor·W)×3 uint8."""
    width, height = base.width * factor, base.height * factor
    source = base.rgb
    quality = jpeg_quality(base.jpeg_tables)
    if quality is not None and quality < _BLOCKY_JPEG:
        source = cv2.bilateralFilter(source, 5, 8 + (_BLOCKY_JPEG - quality) * 0.3, 1.5)
    if quality is not None or width * height > _REFINED_PIXELS:
        return _lanczos(source, width, height)
    sigma = estimate_noise(source)
    if sigma > _NOISY_SIGMA:
        return _lanczos(cv2.bilateralFilter(source, 5, 2.5 * sigma, 1.6), width, height)
    return _back_project(source, width, height)


def sharpen(rgb: Pixels) -> Pixels:
    """Sharpen the lightness without enlarging; no pixel leaves the range of its neighbours, so no edge gets a halo."""
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)
    light = planes[:, :, 0].astype(np.float32)
    sharper = light + 0.7 * (light - cv2.GaussianBlur(light, (0, 0), 1.2))
    least, most = _neighbourhood(planes[:, :, 0])
    planes[:, :, 0] = np.clip(sharper + 0.5, least, most).astype(np.uint8)
    return cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB)


def jpeg_quality(tables: dict[int, list[int]] | None) -> int | None:
    """Estimate the quality (1..100) a JPEG was saved with from its luminance table; None for other formats."""
    if not tables:
        return None
    scale = 100.0 * float(np.mean(tables[min(tables)])) / _ANNEX_K_MEAN
    quality = (200.0 - scale) / 2.0 if scale <= _FULL_SCALE else 5000.0 / scale
    return int(np.clip(round(quality), 1, 100))


def estimate_noise(rgb: Pixels) -> float:
    """Estimate the standard deviation of the noise in 8-bit levels (Immerkær's Laplacian, on the flattest half)."""
    light = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    response = np.abs(cv2.filter2D(light, cv2.CV_32F, kernel))
    # Texture answers like noise; the quieter half of the frame tells them apart.
    activity = cv2.blur(response, (17, 17))
    quiet = response[activity <= np.median(activity)]
    return float(np.sqrt(np.pi / 2) / 6.0 * quiet.mean())


def _lanczos(pixels: Pixels, width: int, height: int) -> Pixels:
    return np.array(Image.fromarray(np.ascontiguousarray(pixels)).resize((width, height), Image.Resampling.LANCZOS))


def _back_project(rgb: Pixels, width: int, height: int) -> Pixels:
    """Correct Lanczos until it shrinks back to the original, in lightness only: the eye sees no more in colour."""
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)
    result = cv2.cvtColor(_lanczos(rgb, width, height), cv2.COLOR_RGB2YCrCb)
    light = planes[:, :, 0].astype(np.float32)
    refined = result[:, :, 0].astype(np.float32)
    small = (rgb.shape[1], rgb.shape[0])
    for _ in range(_STEPS):
        missing = light - cv2.resize(refined, small, interpolation=cv2.INTER_AREA)
        refined += 0.8 * cv2.resize(missing, (width, height), interpolation=cv2.INTER_CUBIC)
    least, most = _neighbourhood(planes[:, :, 0])
    least = cv2.resize(least, (width, height), interpolation=cv2.INTER_NEAREST)
    most = cv2.resize(most, (width, height), interpolation=cv2.INTER_NEAREST)
    result[:, :, 0] = np.clip(refined + 0.5, least, most).astype(np.uint8)
    return cv2.cvtColor(result, cv2.COLOR_YCrCb2RGB)


def _neighbourhood(plane: Pixels) -> tuple[Pixels, Pixels]:
    """The least and the greatest of each pixel's 3×3 neighbours."""
    kernel = np.ones((3, 3), np.uint8)
    return cv2.erode(plane, kernel), cv2.dilate(plane, kernel)

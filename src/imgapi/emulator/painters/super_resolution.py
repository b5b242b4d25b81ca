"""Super-resolution: enlargement that is never worse than Lanczos, without haloes and without invented detail."""

import io
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image

from imgapi.emulator.painters.canvas import decode, fill_smoothly, notes, refuse_giant_output
from imgapi.emulator.painters.job import Painting, PaintingRefused, PaintJob
from imgapi.emulator.painters.scanlines import write_png_bands
from imgapi.matting.pixels import Picture, Pixels

_MAX_FACTOR = 4
_STEPS = 8
_MOST_REFINED_PIXELS = 70_000_000
_BAND_PIXELS = 3_000_000
_BAND_MARGIN = 12
_UNTOUCHED_JPEG = 70
# The mean of the standard luminance table of ITU-T T.81 Annex K, which encoders scale by quality.
_ANNEX_K_MEAN = 57.625
_FULL_SCALE = 100
_BLOCK = 8
# Block edges stand out from their neighbours by more than this share in compressed pictures, hardly ever in others.
_BLOCKY = 1.05
_SHIFTS = ((0, 0), (4, 4), (2, 6), (6, 2), (1, 3), (3, 7), (5, 1), (7, 5))
# Noise in 8-bit levels: from where it is smoothed, over what range more and more, and where refinement would
# only sharpen what is left of it.
_SMOOTHED_FROM, _SMOOTHED_RANGE, _PLAIN_FROM = 2.0, 2.5, 6.0
_NOISE_FLOOR = 1.0
_NOISE_SHARE = 20.0
# Texture survives compression as what looks like noise; smoothing would take it for block edges.
_TEXTURED_JPEG = 3.0
_MOST_SMOOTHED_PIXELS = 20_000_000


def paint_enlargement(job: PaintJob) -> Painting:
    """Enlarge 'base' by `upscale_factor` (1 to 4; 1 sharpens without enlarging); the prompt is not used.

    Lossless pictures are refined by back-projection, where they have more contrast than noise: the enlarged picture
    must shrink to the given one. Lossy ones get plain Lanczos, because trials showed refinement to amplify their
    artefacts; so do results beyond 70 million pixels. JPEGs below quality 70 are deblocked first.

    Raises:
        PaintingRefused: A factor out of range, or a result beyond 100 million pixels.
    """
    base = decode(job, "base")
    factor = job.number("upscale_factor", 1)
    if factor not in range(1, _MAX_FACTOR + 1):
        raise PaintingRefused("InvalidParameter", f"upscale_factor must be an integer from 1 to {_MAX_FACTOR}")
    width, height = base.width * int(factor), base.height * int(factor)
    refuse_giant_output(width, height, "use a smaller upscale_factor")
    if factor == 1:
        sharp = sharpen(base.rgb)
        bands = iter([sharp if base.alpha is None else np.dstack([sharp, base.alpha])])
    else:
        bands = _enlarge_in_bands(base, int(factor), lossy=is_lossy_webp(job.picture("base")))
    ignored = ("prompt",)
    content = write_png_bands(bands, width, height, notes=notes(ignored=ignored), icc_profile=base.icc_profile)
    return Painting((content,) * job.count, (), ignored)


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


def is_lossy_webp(content: bytes) -> bool:
    """Whether encoded bytes are a WebP with a lossy ('VP8 ') frame, or an AVIF or HEIF picture."""
    if content[4:8] == b"ftyp":
        return True
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP" and b"VP8 " in content[12:4096]


def is_blocky(rgb: Pixels) -> bool:
    """Whether a grid of 8×8 blocks shows, as in a JPEG that was saved again in a lossless format."""
    light = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.int16)
    return all(_step_at_blocks(plane) > _BLOCKY for plane in (light, light.T))


def estimate_noise(rgb: Pixels) -> float:
    """Estimate the standard deviation of the noise in 8-bit levels of lightness; fine texture counts as noise."""
    return _noise_of(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32))


def estimate_colour_noise(rgb: Pixels) -> float:
    """Estimate what the channels don't share of their noise, in 8-bit levels: a sensor's noise, but no texture."""
    return _noise_of((rgb[:, :, 0].astype(np.float32) - rgb[:, :, 1]) * np.float32(np.sqrt(0.5)))


def _enlarge_in_bands(base: Picture, factor: int, *, lossy: bool) -> Iterator[Pixels]:
    """Enlarge a few rows at a time: bands of (factor·h)×(factor·W)×3 uint8, ×4 with an alpha channel."""
    source, noise = _prepare(base, lossy=lossy)
    if base.width * base.height * factor**2 > _MOST_REFINED_PIXELS:
        noise = None
    step = max(1, _BAND_PIXELS // (base.width * factor * factor))
    for top in range(0, base.height, step):
        bottom = min(base.height, top + step)
        first, last = max(0, top - _BAND_MARGIN), min(base.height, bottom + _BAND_MARGIN)
        part = source[first:last]
        large = _lanczos(part, factor) if noise is None else _back_project(part, factor, noise)
        if base.alpha is not None:
            alpha = np.clip(_lanczos(base.alpha[first:last], factor), *_limits(base.alpha[first:last], factor))
            large = np.dstack([large, alpha])
        yield large[(top - first) * factor : (bottom - first) * factor]


def _prepare(base: Picture, *, lossy: bool) -> tuple[Pixels, float | None]:
    """Clean the picture as far as it needs it, and tell its noise; None when it is not to be refined."""
    source = base.rgb
    if base.alpha is not None:
        # What hides under full transparency (mostly black) would bleed into the rim.
        source = fill_smoothly(source, base.alpha == 0)
    is_small = base.width * base.height < _MOST_SMOOTHED_PIXELS
    quality = jpeg_quality(base.jpeg_tables)
    if quality is not None and base.jpeg_tables is not None:
        if quality < _UNTOUCHED_JPEG and is_small and estimate_noise(source) < _TEXTURED_JPEG:
            source = _deblock(source, quality, base.jpeg_tables)
        return source, None
    if lossy or is_blocky(source):
        return source, None
    noise = estimate_noise(source)
    share = min(1.0, (min(noise, estimate_colour_noise(source)) - _SMOOTHED_FROM) / _SMOOTHED_RANGE)
    if share > 0 and is_small:
        source = cv2.addWeighted(cv2.bilateralFilter(source, 5, 2.5 * noise, 1.6), share, source, 1.0 - share, 0)
    return source, noise if noise < _PLAIN_FROM else None


def _noise_of(plane: Pixels) -> float:
    """Immerkær's estimate by a Laplacian, on the flattest half of the frame."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    response = np.abs(cv2.filter2D(plane, cv2.CV_32F, kernel))
    # Texture answers like noise; the quieter half of the frame tells them apart.
    activity = cv2.blur(response, (17, 17))
    quiet = response[activity <= np.median(activity)]
    return float(np.sqrt(np.pi / 2) / 6.0 * quiet.mean())


def _deblock(rgb: Pixels, quality: int, tables: dict[int, list[int]]) -> Pixels:
    """Average out block edges: compress again with the same tables on shifted grids, and smooth what is nearly flat.

    Half of each, because the two err in different places: the half is better than either on photos of every quality.
    """
    total = np.zeros(rgb.shape, dtype=np.uint16)
    height, width = rgb.shape[:2]
    for down, right in _SHIFTS:
        moved = cv2.copyMakeBorder(rgb, down, _BLOCK, right, _BLOCK, cv2.BORDER_REPLICATE)
        stream = io.BytesIO()
        Image.fromarray(moved).save(stream, "JPEG", qtables=tables, subsampling=0)
        total += np.asarray(Image.open(stream))[down : down + height, right : right + width]
    averaged = (total // len(_SHIFTS)).astype(np.uint8)
    smooth = cv2.bilateralFilter(rgb, 5, 12.0 + max(0, 40 - quality) * 0.45, 1.5)
    return cv2.addWeighted(averaged, 0.5, smooth, 0.5, 0)


def _step_at_blocks(light: Pixels) -> float:
    """How much larger the second differences are at multiples of 8 columns than elsewhere: a ratio, 1 for none."""
    before, after = light[:, 1:-2] - light[:, :-3], light[:, 3:] - light[:, 2:-1]
    jump = np.abs(2 * (light[:, 2:-1] - light[:, 1:-2]) - before - after)
    columns = np.minimum(jump, 12).mean(axis=0)
    at_edge = (np.arange(len(columns)) + 2) % _BLOCK == 0
    if at_edge.all() or not at_edge.any():
        return 1.0
    return float(columns[at_edge].mean() / (columns[~at_edge].mean() + 0.05))


def _lanczos(pixels: Pixels, factor: int) -> Pixels:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((image.width * factor, image.height * factor), Image.Resampling.LANCZOS))


def _back_project(rgb: Pixels, factor: int, noise: float) -> Pixels:
    """Correct Lanczos until it shrinks back to the original, in lightness only: the eye sees no more in colour.

    Where the local contrast isn't far above the noise the correction is held back: it would sharpen the noise.
    """
    plain = _lanczos(rgb, factor)
    light = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    small, large = light.shape[::-1], plain.shape[1::-1]
    target, start = light.astype(np.float32), cv2.cvtColor(plain, cv2.COLOR_RGB2GRAY).astype(np.float32)
    refined = start.copy()
    for _ in range(_STEPS):
        missing = target - cv2.resize(refined, small, interpolation=cv2.INTER_AREA)
        cv2.scaleAdd(cv2.resize(missing, large, interpolation=cv2.INTER_CUBIC), 0.8, refined, refined)
    mean = cv2.GaussianBlur(target, (0, 0), 1.0)
    variance = cv2.GaussianBlur(target * target, (0, 0), 1.0) - mean * mean
    trust = 1.0 - _NOISE_SHARE * max(noise, _NOISE_FLOOR) ** 2 / np.maximum(variance, 1e-3)
    refined -= start
    refined *= cv2.resize(np.maximum(trust, 0.0), large, interpolation=cv2.INTER_LINEAR)
    refined += start
    change = np.rint(np.clip(refined, *_limits(light, factor)) - start).astype(np.int16)
    return np.asarray(cv2.add(plain, cv2.merge([change] * 3), dtype=cv2.CV_8U))


def _limits(plane: Pixels, factor: int) -> tuple[Pixels, Pixels]:
    """Between what values each enlarged pixel may lie so that no edge gets a halo."""
    size = (plane.shape[1] * factor, plane.shape[0] * factor)
    least, most = (cv2.resize(side, size, interpolation=cv2.INTER_NEAREST) for side in _neighbourhood(plane))
    return least, most


def _neighbourhood(plane: Pixels) -> tuple[Pixels, Pixels]:
    """The least and the greatest of each pixel's 3×3 neighbours."""
    kernel = np.ones((3, 3), np.uint8)
    return cv2.erode(plane, kernel), cv2.dilate(plane, kernel)

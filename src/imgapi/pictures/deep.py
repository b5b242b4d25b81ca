"""Colour pictures of 16 bits a sample, which Pillow would cut down to 8, and grey ones with transparency.

OpenCV is imported only when such a picture comes, since few do.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgapi.errors import UnreadableImage
from imgapi.pictures import tiff_pages, tiff_samples
from imgapi.pictures.chunks import state_colours
from imgapi.pictures.colour import as_srgb, is_profile_of
from imgapi.pictures.encode import StatedColours
from imgapi.pictures.png_sound import SoundPng, read_sound
from imgapi.pictures.png_writer import write_samples
from imgapi.pictures.rasters import decoding, open_raster

if TYPE_CHECKING:
    from imgapi.pictures.outcomes import PictureInfo

# H×W, H×W×2 (grey, alpha), H×W×3 (BGR) or H×W×4 (BGRA)
DeepPixels = npt.NDArray[np.uint16]

_COLOUR_MODES = frozenset({"RGB", "RGBA", "LA", "CMYK"})
_WITH_ALPHA = frozenset({2, 4})
_GREY_WITH_ALPHA = 2
_GREY_TYPE, _GREY_ALPHA_TYPE = 0, 4
_FULL = 65_535


def is_deep_colour(info: "PictureInfo") -> bool:
    """Tell whether a picture has 16-bit samples that Pillow can't hold (16-bit grey it can, but no alpha beside it)."""
    return info.deep and (info.mode in _COLOUR_MODES or (info.mode == "I;16" and info.has_transparency))


def decode_deep(content: bytes, info: "PictureInfo", page: int = 0) -> DeepPixels | None:
    """Decode 16-bit colour pixels, orientation applied; None if there is no 16-bit reading of this file."""
    if info.format != "tiff":
        return _decode_png(content, info)
    with decoding("tiff"):
        directory = tiff_pages.page_at(content, page)
        if not tiff_samples.is_needed(directory) or tiff_samples.mode_of(directory) not in _COLOUR_MODES:
            return None
        if tiff_samples.mode_of(directory) == "CMYK" and directory.profile:
            # Through the profile there are only 8 bits.
            return None
        samples = tiff_samples.decode(content, directory)
    if tiff_samples.mode_of(directory) == "CMYK":
        samples = _without_inks(samples)
    order = [2, 1, 0, 3][: samples.shape[2]]
    return np.ascontiguousarray(orient_deep(samples[..., order], directory.orientation))


def deep_profile(content: bytes, info: "PictureInfo", page: int = 0) -> bytes | None:
    """Give the ICC profile of 16-bit colour pixels, None if there is none that fits them."""
    with decoding(info.format):
        is_tiff = info.format == "tiff"
        profile: bytes | None = (
            tiff_samples.profile_of(tiff_pages.page_at(content, page))
            if is_tiff
            else open_raster(content, info.format).info.get("icc_profile")
        )
    # Grey with alpha comes out of a TIFF as colours.
    return profile if is_profile_of(profile, "RGB" if is_tiff else info.mode) else None


def _decode_png(content: bytes, info: "PictureInfo") -> DeepPixels | None:
    pixels = decode_sound(read_sound(content))
    return None if pixels is None else np.ascontiguousarray(orient_deep(pixels, info.orientation))


def decode_sound(png: SoundPng) -> DeepPixels | None:
    """Decode a PNG of 16-bit samples, whose clear colour becomes alpha; None if it can't be decoded."""
    import cv2

    encoded = np.frombuffer(png.write(animated=False), np.uint8)
    try:
        read = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if read is None or read.dtype != np.uint16:
        return None
    pixels = np.asarray(read, np.uint16)
    colour_type = png.header[9]
    if colour_type == _GREY_ALPHA_TYPE:
        return pixels[..., [0, 3]]
    key = png.body_of(b"tRNS")
    if colour_type == _GREY_TYPE and key:
        # OpenCV passes it over in grey pictures.
        alpha = np.where(pixels == int.from_bytes(key, "big"), 0, _FULL).astype(np.uint16)
        return np.stack((pixels, alpha), axis=2)
    return pixels


def decode_odd_tiff(content: bytes, page: int) -> Image.Image | None:
    """Decode a TIFF page that Pillow has no mode for, oriented: I;16, or CMYK, RGB or RGBA of 8 bits; None for others.

    Its ICC profile is in `info["icc_profile"]`; inks with alpha come as RGBA, their profile applied.
    """
    directory = tiff_pages.page_at(content, page)
    if not tiff_samples.is_needed(directory):
        return None
    samples = orient_deep(tiff_samples.decode(content, directory), directory.orientation)
    profile = tiff_samples.profile_of(directory)
    if samples.shape[2] == 1 and max(directory.bits) > 8:  # noqa: PLR2004 - bits a byte holds
        image = Image.fromarray(np.ascontiguousarray(samples[..., 0]))
    else:
        eight_bits = np.ascontiguousarray((samples >> 8).astype(np.uint8))
        image = _from_8_bits(eight_bits, is_inks=tiff_samples.mode_of(directory) == "CMYK", profile=profile)
    if profile:
        image.info["icc_profile"] = profile
    return image


def _from_8_bits(pixels: npt.NDArray[np.uint8], *, is_inks: bool, profile: bytes) -> Image.Image:
    if not is_inks:
        return Image.fromarray(pixels[..., 0].copy() if pixels.shape[2] == 1 else pixels)
    inks = Image.frombytes("CMYK", (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels[..., :4]).tobytes())
    if pixels.shape[2] == 4:  # noqa: PLR2004 - no alpha
        return inks
    # No mode holds inks and alpha, so the colours are turned here.
    inks.info["icc_profile"] = profile
    turned = as_srgb(inks)
    turned.putalpha(Image.fromarray(np.ascontiguousarray(pixels[..., 4])))
    return turned


def _without_inks(samples: DeepPixels) -> DeepPixels:
    """Turn cyan, magenta, yellow and black (and alpha) into RGB (and alpha) by the plain formula."""
    light = _FULL - samples[..., :4].astype(np.uint32)
    colours = ((light[..., :3] * light[..., 3:] + _FULL // 2) // _FULL).astype(np.uint16)
    return np.concatenate((colours, samples[..., 4:]), axis=2)


def orient_deep(pixels: DeepPixels, orientation: int) -> DeepPixels:
    """Turn and mirror pixels the way EXIF orientation 1 to 8 asks."""
    if orientation in (2, 7):
        pixels = pixels[:, ::-1]
    if orientation in (4, 5):
        pixels = pixels[::-1]
    turns = {3: 2, 5: 3, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, turns)


def resample_deep(pixels: DeepPixels, size: tuple[int, int]) -> DeepPixels:
    """Resample to (width, height), colours weighed by their alpha."""
    import cv2

    method = cv2.INTER_AREA if size[0] < pixels.shape[1] else cv2.INTER_LANCZOS4
    if pixels.ndim < 3 or pixels.shape[2] not in _WITH_ALPHA:  # noqa: PLR2004 - H×W×channels
        return np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint16)
    # A channel at a time: all of them as floats would take gigabytes.
    alpha = pixels[..., -1].astype(np.float32)
    resized_alpha = np.asarray(cv2.resize(alpha, size, interpolation=method), np.float32)
    resampled = np.empty((size[1], size[0], pixels.shape[2]), np.uint16)
    resampled[..., -1] = _to_samples(resized_alpha.copy())
    alpha /= _FULL
    factor = np.float32(_FULL) / np.maximum(resized_alpha, 1)
    for channel in range(pixels.shape[2] - 1):
        resized = np.asarray(cv2.resize(pixels[..., channel] * alpha, size, interpolation=method), np.float32)
        resampled[..., channel] = _to_samples(np.multiply(resized, factor, dtype=np.float32))
    return resampled


def _to_samples(values: npt.NDArray[np.float32]) -> DeepPixels:
    """Round to 16 bits; overwrites what it is given."""
    np.clip(values, 0, _FULL, out=values)
    return np.rint(values, out=values).astype(np.uint16)


def encode_deep_png(pixels: DeepPixels, profile: bytes | None, stated: StatedColours = ()) -> bytes:
    """Write a 16-bit PNG that states the profile, or else the stated colour chunks, or sRGB."""
    import cv2

    if pixels.ndim == 3 and pixels.shape[2] == _GREY_WITH_ALPHA:  # noqa: PLR2004 - H×W×channels
        # OpenCV has no such kind.
        return state_colours(write_samples(pixels, "LA"), profile, stated)
    done, encoded = cv2.imencode(".png", pixels)
    if not done:
        raise UnreadableImage("the 16-bit picture can't be written as PNG")
    return state_colours(encoded.tobytes(), profile, stated)

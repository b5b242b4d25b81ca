"""Colour pictures of 16 bits a sample, which Pillow would cut down to 8.

OpenCV is imported only when such a picture comes, since few do.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgapi.errors import UnreadableImage
from imgapi.pictures import tiff_samples
from imgapi.pictures.chunks import state_colours
from imgapi.pictures.colour import profile_fits
from imgapi.pictures.encode import StatedColours
from imgapi.pictures.png_sound import read_sound
from imgapi.pictures.rasters import decoding, open_raster

if TYPE_CHECKING:
    from imgapi.pictures.probe import PictureInfo

# H×W, H×W×3 (BGR) or H×W×4 (BGRA)
DeepPixels = npt.NDArray[np.uint16]

_COLOUR_MODES = frozenset({"RGB", "RGBA", "LA"})
_ALPHA_CHANNELS = 4
_FULL = 65_535


def is_deep_colour(info: "PictureInfo") -> bool:
    """Tell whether a picture has 16-bit samples that Pillow can't hold (16-bit grey it can)."""
    return info.deep and info.mode in _COLOUR_MODES


def decode_deep(content: bytes, info: "PictureInfo", page: int = 0) -> DeepPixels | None:
    """Decode 16-bit colour pixels, orientation applied; None if there is no 16-bit reading of this file."""
    if info.format != "tiff":
        return _decode_png(content, info)
    with decoding("tiff"):
        directory = tiff_samples.page_at(content, page)
        if not tiff_samples.is_needed(directory) or tiff_samples.mode_of(directory) not in _COLOUR_MODES:
            return None
        samples = tiff_samples.decode(content, directory)
    order = [2, 1, 0, 3][: samples.shape[2]]
    return np.ascontiguousarray(_orient(samples[..., order], directory.orientation))


def deep_profile(content: bytes, info: "PictureInfo", page: int = 0) -> bytes | None:
    """Give the ICC profile of 16-bit colour pixels, None if there is none that fits them."""
    with decoding(info.format):
        if info.format == "tiff":
            image = Image.new("RGB", (1, 1))
            image.info["icc_profile"] = tiff_samples.page_at(content, page).profile
        else:
            image = open_raster(content, info.format)
    return image.info.get("icc_profile") if profile_fits(image) else None


def _decode_png(content: bytes, info: "PictureInfo") -> DeepPixels | None:
    import cv2

    encoded = np.frombuffer(read_sound(content).write(animated=False), np.uint8)
    try:
        pixels = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if pixels is None or pixels.dtype != np.uint16:
        return None
    return np.ascontiguousarray(_orient(np.asarray(pixels, np.uint16), info.orientation))


def decode_odd_tiff(content: bytes, page: int) -> Image.Image | None:
    """Decode a TIFF page that Pillow has no mode for, oriented: I;16, or CMYK, RGB or RGBA of 8 bits; None for others.

    Its ICC profile is in `info["icc_profile"]`.
    """
    directory = tiff_samples.page_at(content, page)
    if not tiff_samples.is_needed(directory):
        return None
    samples = _orient(tiff_samples.decode(content, directory), directory.orientation)
    if samples.shape[2] == 1:
        image = Image.fromarray(np.ascontiguousarray(samples[..., 0]))
    else:
        eight_bits = np.ascontiguousarray((samples >> 8).astype(np.uint8))
        image = Image.fromarray(eight_bits, "CMYK" if tiff_samples.mode_of(directory) == "CMYK" else None)
    if directory.profile:
        image.info["icc_profile"] = directory.profile
    return image


def _orient(pixels: DeepPixels, orientation: int) -> DeepPixels:
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
    if pixels.ndim < 3 or pixels.shape[2] != _ALPHA_CHANNELS:  # noqa: PLR2004 - H×W×channels
        return np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint16)
    weighed = pixels.astype(np.float32)
    weighed[..., :3] *= weighed[..., 3:] / _FULL
    resized = np.asarray(cv2.resize(weighed, size, interpolation=method), np.float32)
    resized[..., :3] *= _FULL / np.maximum(resized[..., 3:], 1)
    return np.rint(np.clip(resized, 0, _FULL)).astype(np.uint16)


def encode_deep_png(pixels: DeepPixels, profile: bytes | None, stated: StatedColours = ()) -> bytes:
    """Write a 16-bit PNG that states the profile, or else the stated colour chunks, or sRGB."""
    import cv2

    done, encoded = cv2.imencode(".png", pixels)
    if not done:
        raise UnreadableImage("the 16-bit picture can't be written as PNG")
    return state_colours(encoded.tobytes(), profile, stated)

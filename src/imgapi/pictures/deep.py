"""Colour pictures of 16 bits a sample, which Pillow would cut down to 8.

OpenCV is imported only when such a picture comes, since few do.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imgapi.errors import UnreadableImage
from imgapi.pictures.chunks import strip_png

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
    """Decode 16-bit pixels, EXIF orientation applied; None if OpenCV has no 16-bit reading of this file."""
    import cv2

    encoded = np.frombuffer(content, np.uint8)
    try:
        found, pages = cv2.imdecodemulti(encoded, cv2.IMREAD_UNCHANGED, range=(page, page + 1))
    except cv2.error:
        return None
    if not found or not pages or pages[0].dtype != np.uint16:
        return None
    # OpenCV turns a TIFF by its own orientation tag.
    orientation = 1 if info.format == "tiff" else info.orientation
    return np.ascontiguousarray(_orient(np.asarray(pages[0], np.uint16), orientation))


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


def encode_deep_png(pixels: DeepPixels, profile: bytes | None) -> bytes:
    """Write a 16-bit PNG that states the profile, or sRGB."""
    import cv2

    done, encoded = cv2.imencode(".png", pixels)
    if not done:
        raise UnreadableImage("the 16-bit picture can't be written as PNG")
    return strip_png(encoded.tobytes(), profile=profile)

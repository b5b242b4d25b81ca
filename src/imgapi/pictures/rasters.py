"""Opening encoded pixels with Pillow, its faults and its global settings kept in here."""

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin

from imgapi.errors import ImgapiError, UnreadableImage
from imgapi.pictures.jpeg_sound import bare_jpeg
from imgapi.pictures.png_sound import MAX_PROFILE_BYTES, read_sound

# Sizes are checked against PictureLimits before each decode; Pillow's own threshold would only add a warning.
Image.MAX_IMAGE_PIXELS = None
# Texts are taken out before Pillow sees a PNG, so this bounds only ICC profiles.
PngImagePlugin.MAX_TEXT_CHUNK = MAX_PROFILE_BYTES

_PLUGINS = {"png": "PNG", "webp": "WEBP", "tiff": "TIFF", "gif": "GIF"}
# Of the bits a sample in a PNG, whose header comes first.
_DEPTH_PLACE = 24
_QUARTER_TURNS = frozenset({5, 6, 7, 8})
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# warnings.catch_warnings swaps process-wide state, so two threads must not be inside at once.
_QUIET = threading.RLock()


@contextmanager
def decoding(format_name: str) -> Iterator[None]:
    """Turn whatever a decoder raises into UnreadableImage, its warnings about odd metadata into silence."""
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (ImgapiError, MemoryError):
            raise
        # A decoder fed with hostile bytes raises nearly anything (struct.error, KeyError, ZeroDivisionError ...).
        except Exception as exc:
            raise UnreadableImage(_sentence(format_name, exc), detail=f"{type(exc).__name__}: {exc}") from exc


def _sentence(format_name: str, exc: Exception) -> str:
    words = str(exc).lower()
    early = ("truncated", "not enough", "unexpected end", "requires a buffer")
    if isinstance(exc, EOFError) or any(word in words for word in early):
        return f"the {format_name} picture is truncated: its data end early; send the whole file"
    return f"the {format_name} picture is damaged and can't be decoded; save it anew and send that"


def open_raster(content: bytes, format_name: str) -> Image.Image:
    """Read the header of a JPEG, PNG, WebP, TIFF or GIF; pixels come with `load()`. An APNG opens still.

    Both belong inside `decoding`, after the limits were checked.
    """
    if format_name == "jpeg":
        # Image.open would make a multi-picture file of a phone's JPEG with a gain map; its first picture is meant.
        try:
            return JpegImagePlugin.JpegImageFile(io.BytesIO(content))
        except (SyntaxError, ValueError, LookupError, struct.error):
            # Pillow stumbles over stray bytes and odd application segments that mean nothing to the pixels.
            return JpegImagePlugin.JpegImageFile(io.BytesIO(bare_jpeg(content)))
    coded_profile: bytes | None = None
    if format_name == "png":
        png = read_sound(content)
        content, coded_profile = png.write(animated=False), png.coded_profile
    image = Image.open(io.BytesIO(content), formats=(_PLUGINS[format_name],))
    if coded_profile is not None:
        image.info["icc_profile"] = coded_profile
    key = image.info.get("transparency")
    if image.mode == "L" and isinstance(key, int) and format_name == "png":
        # Pillow stretches samples of 2 and 4 bits over 8, but not the one that is clear.
        image.info["transparency"] = key * 255 // ((1 << content[_DEPTH_PLACE]) - 1)
    return image


def exif_orientation(exif: bytes) -> int:
    """Read the orientation (1 to 8) from an EXIF block, with or without its `Exif` lead; 1 when it says none."""
    if not exif:
        return 1
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tags = Image.Exif()
            tags.load(exif)
            value: Any = tags.get(ExifTags.Base.Orientation, 1)
        # Damaged metadata must not make a sound picture unreadable.
        except Exception:  # noqa: BLE001 - the EXIF reader raises nearly anything on hostile bytes
            return 1
    return value if isinstance(value, int) and value in _TRANSPOSITIONS else 1


def oriented_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Tell width and height as they are after the orientation is applied."""
    return (height, width) if orientation in _QUARTER_TURNS else (width, height)


def orient(image: Image.Image, orientation: int) -> Image.Image:
    """Turn and mirror stored pixels the way EXIF orientation 1 to 8 asks; 1 gives the same object."""
    method = _TRANSPOSITIONS.get(orientation)
    return image if method is None else image.transpose(method)


def without_metadata(image: Image.Image) -> Image.Image:
    """Copy the reference to the pixels with nothing Pillow would write unasked (comments, profile, resolution).

    The transparency of palettes and colour keys is part of the pixels and stays.
    """
    transparency = image.info.get("transparency")
    bare = image.copy()
    bare.info = {} if transparency is None else {"transparency": transparency}
    return bare

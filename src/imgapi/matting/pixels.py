"""How a picture's bytes become arrays, and arrays bytes again."""

import io
import warnings
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from imgapi.errors import ImageTooLarge, UnreadableImage

Pixels: TypeAlias = NDArray[Any]
"""An array of rows; each function's docstring says its shape, type and range."""

MAX_PIXELS = 50_000_000
_OPAQUE = 255
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture, EXIF orientation applied.

    Attributes:
        rgb: H×W×3 uint8.
        alpha: H×W uint8, or None when every pixel is opaque.
        icc_profile: The profile the RGB values are to be read with, or None.
        jpeg_tables: The JPEG quantisation tables (first one: luminance, 64 values), or None for other formats.
    """

    rgb: Pixels
    alpha: Pixels | None
    icc_profile: bytes | None
    jpeg_tables: dict[int, list[int]] | None

    @property
    def width(self) -> int:
        """Columns, after orientation."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Rows, after orientation."""
        return int(self.rgb.shape[0])


def prepare_process() -> None:
    """Make OpenCV repeatable and single-threaded in this process; cheap enough to call before every picture."""
    cv2.setNumThreads(1)
    cv2.setRNGSeed(20)


def read_picture(content: bytes) -> Picture:
    """Decode the first frame of a picture to 8 bits a channel.

    Raises:
        UnreadableImage: The bytes are no picture, or it is truncated.
        ImageTooLarge: More than 50 million pixels; refused before the pixels are decoded.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns above 89 MP at the header; the limit below refuses such a picture with its own words.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(content))
        _refuse_giants(opened.size)
        tables = getattr(opened, "quantization", None) if opened.format == "JPEG" else None
        opened.load()
        profile = opened.info.get("icc_profile") if opened.mode in {"RGB", "RGBA", "P"} else None
        image = ImageOps.exif_transpose(opened)
        if _may_be_transparent(image):
            rgba = np.asarray(image.convert("RGBA"))
            alpha = rgba[:, :, 3]
            rgb = np.ascontiguousarray(rgba[:, :, :3])
            return Picture(rgb, None if int(alpha.min()) == _OPAQUE else alpha.copy(), profile, tables)
        return Picture(np.array(_to_rgb(image)), None, profile, tables)
    except Image.DecompressionBombError as exc:
        raise ImageTooLarge(f"the picture has more than the {MAX_PIXELS} pixels allowed") from exc
    except (OSError, ValueError, SyntaxError, EOFError) as exc:
        raise UnreadableImage("the bytes are not a picture that can be decoded") from exc


def write_png(pixels: Pixels, *, notes: dict[str, str], icc_profile: bytes | None = None) -> bytes:
    """Encode H×W×3 or H×W×4 uint8 as PNG, each note as one tEXt (or iTXt) chunk.

    Compression level 1: a few per cent larger than the default and several times faster.
    """
    chunks = PngImagePlugin.PngInfo()
    for key, value in notes.items():
        chunks.add_text(key, value)
    stream = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(stream, format="PNG", pnginfo=chunks, compress_level=1, icc_profile=icc_profile)
    return stream.getvalue()


def shrink(pixels: Pixels, longest_side: int, *, interpolation: int = cv2.INTER_AREA) -> Pixels:
    """Scale down until the longer side is at most `longest_side` pixels; a smaller picture is returned as it is."""
    height, width = pixels.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=interpolation)


def to_lab(rgb: Pixels) -> Pixels:
    """Turn H×W×3 uint8 RGB into H×W×3 float32 CIE Lab (L 0..100, a and b about -100..100)."""
    return cv2.cvtColor(rgb.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)


def _refuse_giants(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageTooLarge(f"the picture has {width}x{height} pixels; at most {MAX_PIXELS} are allowed")


def _may_be_transparent(image: Image.Image) -> bool:
    return image.mode in _ALPHA_MODES or "transparency" in image.info


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float32)
        # 16-bit files use the whole range; Pillow's own conversion would clip them to white.
        top = 65535.0 if float(values.max(initial=0)) > _OPAQUE else 255.0
        return Image.fromarray((values.clip(0, top) * (255.0 / top)).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")

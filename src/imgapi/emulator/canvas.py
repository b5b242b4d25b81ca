"""The pixels of `steps`: a border found, a picture laid on white, a size filled."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from imgapi.emulator.inner import Inner

_TOLERANCE = 3
_LEAST_INNER = 16
_MAX_SCALE = 2.0


def find_inner(content: bytes) -> Inner | None:
    """Take the picture out of a border of one colour; None when there is no such border, or nothing within it."""
    pixels = np.asarray(_open_rgb(content))
    height, width = pixels.shape[:2]
    fill = _border_colour(pixels)
    top = _count_filled(pixels, fill)
    bottom = _count_filled(pixels[::-1], fill)
    if top + bottom > height - _LEAST_INNER:
        return None
    columns = pixels[top : height - bottom].swapaxes(0, 1)
    left = _count_filled(columns, fill)
    right = _count_filled(columns[::-1], fill)
    if left + right > width - _LEAST_INNER or top + bottom + left + right == 0:
        return None
    inner = pixels[top : height - bottom, left : width - right]
    inner_height, inner_width = inner.shape[:2]
    added = {
        "top_scale": top / inner_height,
        "bottom_scale": bottom / inner_height,
        "left_scale": left / inner_width,
        "right_scale": right / inner_width,
    }
    scales = {name: min(_MAX_SCALE, 1 + share) for name, share in added.items()}
    return Inner(_write_png(Image.fromarray(inner)), scales)


def flatten(content: bytes) -> bytes:
    """Lay a picture on white, upright: PNG, RGB."""
    return _write_png(_open_rgb(content))


def fit_size(content: bytes, width: int, height: int) -> bytes:
    """Fill exactly `width` by `height` pixels, cutting what overhangs: PNG, RGB."""
    picture = _open_rgb(content)
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    return _write_png(picture)


def _border_colour(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return the colour that most corners share; a border on any one side covers two of them."""
    corners = np.stack([pixels[0, 0], pixels[0, -1], pixels[-1, 0], pixels[-1, -1]]).astype(np.int16)
    alike = (np.abs(corners[:, None] - corners[None]).max(axis=2) <= _TOLERANCE).sum(axis=1)
    colour: NDArray[np.int16] = corners[int(alike.argmax())]
    return colour


def _count_filled(lines: NDArray[np.uint8], fill: NDArray[np.int16]) -> int:
    """Count the leading lines (H×W×3 uint8) that are of the colour from end to end."""
    for number, line in enumerate(lines):
        if int(np.abs(line.astype(np.int16) - fill).max()) > _TOLERANCE:
            return number
    return len(lines)


def _open_rgb(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as opened:
        upright = ImageOps.exif_transpose(opened)
    if upright.has_transparency_data:
        white = Image.new("RGBA", upright.size, "white")
        white.alpha_composite(upright.convert("RGBA"))
        upright = white
    return upright.convert("RGB")


def _write_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()

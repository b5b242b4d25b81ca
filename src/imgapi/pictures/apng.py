"""APNG: its frames composited as a viewer shows them, at 8 bits a sample or at 16.

Pillow composites at 8 bits only, begins with the picture that an animation hides, lays palettes over each other
wrongly and reads no interlaced region; so each frame is decoded as a PNG of its own, and the drawing is here.
Source: PNG specification, third edition, sections 11.3.6 (fcTL, fdAT) and 12.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgapi.errors import UnreadableImage
from imgapi.pictures.colour import expand_key_colour
from imgapi.pictures.deep import decode_sound
from imgapi.pictures.png_sound import Frame, SoundPng, has_whole_pixels, read_sound
from imgapi.pictures.rasters import open_raster

# H×W×4, uint8 or uint16, alpha last
_Pixels = npt.NDArray[Any]

_TO_BACKGROUND, _TO_PREVIOUS = 1, 2
_OVER = 1
_COLOURS, _WITH_ALPHA = 3, 4
# As many as are blended at once, in floats.
_BAND_ROWS = 64
_GREY_TYPES = frozenset({0, 4})


def composited_frames(content: bytes) -> Iterator[Image.Image]:
    """Give each frame as a viewer shows it, of the canvas's size and 8 bits: L, LA, RGB or RGBA.

    The animation's ICC profile is in the `info["icc_profile"]` of each.

    Raises:
        UnreadableImage: A frame's pixels can't be decoded.
    """
    png = read_sound(content)
    with open_raster(content, "png") as still:
        profile = still.info.get("icc_profile")
    is_grey = png.header[9] in _GREY_TYPES
    for pixels in _composited(png, _decode, np.uint8):
        # Grey ones are of the same value in each colour.
        kept = ([0] if is_grey else [0, 1, 2]) + ([] if _is_opaque(pixels) else [3])
        image = Image.fromarray(np.ascontiguousarray(pixels[..., kept[0] if len(kept) == 1 else kept]))
        if profile:
            image.info["icc_profile"] = profile
        yield image


def composited_deep_frames(content: bytes) -> Iterator[npt.NDArray[np.uint16]]:
    """Give each frame of 16 bits a sample as a viewer shows it: BGRA, or BGR where nothing is transparent.

    Raises:
        UnreadableImage: A frame's pixels can't be decoded.
    """
    for pixels in _composited(read_sound(content), _decode_deep, np.uint16):
        yield pixels[..., :_COLOURS].copy() if _is_opaque(pixels) else pixels.copy()


def _composited(png: SoundPng, decode: Callable[[SoundPng], _Pixels], kind: type[Any]) -> Iterator[_Pixels]:
    """Draw frame after frame on one canvas, which begins clear; what is given is the canvas itself."""
    width, height = png.size
    canvas: _Pixels = np.zeros((height, width, _WITH_ALPHA), kind)
    for number, frame in enumerate(png.frames):
        columns, rows, left, top = struct.unpack(">IIII", frame.control[:16])
        disposal, blending = frame.control[20], frame.control[21]
        region = canvas[top : top + rows, left : left + columns]
        before = region.copy() if disposal == _TO_PREVIOUS else None
        drawn = decode(_alone(png, frame))
        if blending == _OVER:
            for at in range(0, rows, _BAND_ROWS):
                region[at : at + _BAND_ROWS] = _over(drawn[at : at + _BAND_ROWS], region[at : at + _BAND_ROWS])
        else:
            region[:] = drawn
        del drawn
        yield canvas
        # Before the first frame there was nothing to go back to.
        if disposal == _TO_BACKGROUND or (disposal == _TO_PREVIOUS and not number):
            region[:] = 0
        elif before is not None:
            region[:] = before


def _is_opaque(pixels: _Pixels) -> bool:
    return bool((pixels[..., 3] == np.iinfo(pixels.dtype).max).all())


def _alone(png: SoundPng, frame: Frame) -> SoundPng:
    """Make a PNG of one frame, with what its samples mean and nothing else."""
    kept = tuple(chunk for chunk in png.ancillary if chunk[0] in (b"PLTE", b"tRNS"))
    return SoundPng(frame.control[:8] + png.header[8:], kept, frame.data, b"", (), b"")


def _decode(alone: SoundPng) -> _Pixels:
    # Pillow makes up pixels that are missing, over which this stumbles.
    has_whole_pixels(alone)
    with open_raster(alone.write(animated=False), "png") as image:
        image.load()
        expanded = expand_key_colour(image)
        return np.asarray(expanded if expanded.mode == "RGBA" else expanded.convert("RGBA"))


def _decode_deep(alone: SoundPng) -> _Pixels:
    pixels = decode_sound(alone)
    if pixels is None:
        raise UnreadableImage("the png picture is damaged: a frame of its animation can't be decoded")
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape[2] < _COLOURS:
        pixels = pixels[..., [0, 0, 0, *range(1, pixels.shape[2])]]
    if pixels.shape[2] == _COLOURS:
        full = np.iinfo(np.uint16).max
        pixels = np.concatenate((pixels, np.full((*pixels.shape[:2], 1), full, np.uint16)), axis=2)
    return pixels


def _over(top: _Pixels, bottom: _Pixels) -> _Pixels:
    """Lay pixels over others, neither premultiplied."""
    full = np.float32(np.iinfo(top.dtype).max)
    front = top[..., 3:].astype(np.float32)
    back = bottom[..., 3:] * (1 - front / full)
    alpha = front + back
    share = front / np.maximum(alpha, 1 / full)
    laid = np.empty(top.shape, np.float32)
    laid[..., :3] = bottom[..., :3] + (top[..., :3].astype(np.float32) - bottom[..., :3]) * share
    laid[..., 3:] = alpha
    return np.rint(laid, out=laid).astype(top.dtype)

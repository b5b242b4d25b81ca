"""APNG of 16 bits a sample, its frames composited at that depth; Pillow does it at 8.

Source: PNG specification, third edition, sections 11.3.6 (fcTL, fdAT) and 12.
"""

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from imgapi.errors import UnreadableImage
from imgapi.pictures.png_sound import Frame, SoundPng, read_sound

# H×W×4, blue first
_Pixels = npt.NDArray[np.uint16]

_FULL = 65_535
_TO_BACKGROUND, _TO_PREVIOUS = 1, 2
_OVER = 1
_COLOURS, _WITH_ALPHA = 3, 4


def composited_deep_frames(content: bytes) -> Iterator[_Pixels]:
    """Give each frame as a viewer shows it, of the canvas's size: BGRA, or BGR where nothing is transparent.

    Raises:
        UnreadableImage: A frame's pixels can't be decoded.
    """
    png = read_sound(content)
    width, height = png.size
    canvas: _Pixels = np.zeros((height, width, _WITH_ALPHA), np.uint16)
    for number, frame in enumerate(png.frames):
        columns, rows, left, top = struct.unpack(">IIII", frame.control[:16])
        disposal, blending = frame.control[20], frame.control[21]
        region = canvas[top : top + rows, left : left + columns]
        before = region.copy()
        drawn = _decode(png, frame)
        region[:] = _over(drawn, region) if blending == _OVER else drawn
        yield canvas[..., :_COLOURS].copy() if (canvas[..., 3] == _FULL).all() else canvas.copy()
        # Before the first frame there was nothing to go back to.
        if disposal == _TO_BACKGROUND or (disposal == _TO_PREVIOUS and not number):
            region[:] = 0
        elif disposal == _TO_PREVIOUS:
            region[:] = before


def _decode(png: SoundPng, frame: Frame) -> _Pixels:
    """Decode one frame as a PNG of its own."""
    import cv2

    kept = tuple(chunk for chunk in png.ancillary if chunk[0] == b"tRNS")
    alone = SoundPng(frame.control[:8] + png.header[8:], kept, frame.data, b"", (), b"").write(animated=False)
    read = cv2.imdecode(np.frombuffer(alone, np.uint8), cv2.IMREAD_UNCHANGED)
    if read is None or read.dtype != np.uint16:
        raise UnreadableImage("the png picture is damaged: a frame of its animation can't be decoded")
    pixels = np.asarray(read, np.uint16).reshape(*read.shape[:2], -1)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, _COLOURS, axis=2)
    if pixels.shape[2] == _COLOURS:
        pixels = np.concatenate((pixels, np.full((*pixels.shape[:2], 1), _FULL, np.uint16)), axis=2)
    return pixels


def _over(top: _Pixels, bottom: _Pixels) -> _Pixels:
    """Lay pixels over others, neither premultiplied."""
    front = top[..., 3:].astype(np.float64) / _FULL
    back = bottom[..., 3:] / _FULL * (1 - front)
    alpha = front + back
    colours = (top[..., :3] * front + bottom[..., :3] * back) / np.where(alpha > 0, alpha, 1)
    laid: _Pixels = np.rint(np.concatenate((colours, alpha * _FULL), axis=2)).astype(np.uint16)
    return laid

"""GIF: its blocks, and its frames composited as browsers show them.

Pillow draws what no frame covers in the background colour and grows the canvas for frames that overlap its edge;
browsers leave it transparent and clip. So Pillow decodes the LZW data of one frame at a time, and the drawing is here.
Source: the GIF89a specification, sections 17 to 27.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgapi.errors import ImageTooLarge

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_GRAPHIC_CONTROL = 0xF9
_COLOUR_TABLE, _INTERLACED, _TABLE_SIZE = 0x80, 0x40, 0x07
_TO_BACKGROUND = 2
# Writers knew two numbers for it; browsers take both.
_TO_PREVIOUS = frozenset({3, 4})
# The code size, and the block that ends the data.
_EMPTY_DATA_BYTES = 2
# Indices of one frame, a byte each; the canvas itself is bounded elsewhere.
_MAX_FRAME_PIXELS = 100_000_000

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class GifFrame:
    """One frame as it lies in the file: its place on the canvas, its colours, where its LZW data begin and end."""

    left: int
    top: int
    width: int
    height: int
    interlaced: bool
    palette: bytes
    transparent_index: int | None
    disposal: int
    data: slice


@dataclass(frozen=True, slots=True)
class _Screen:
    width: int
    height: int
    palette: bytes
    end: int


def _read(content: bytes, offset: int, length: int) -> bytes:
    part = content[offset : offset + length]
    if len(part) < length:
        raise EOFError
    return part


def _table_bytes(flags: int) -> int:
    return 3 << ((flags & _TABLE_SIZE) + 1) if flags & _COLOUR_TABLE else 0


def _read_screen(content: bytes) -> _Screen:
    lead = _read(content, 0, 13)
    width, height = int.from_bytes(lead[6:8], "little"), int.from_bytes(lead[8:10], "little")
    length = _table_bytes(lead[10])
    return _Screen(width, height, _read(content, 13, length), 13 + length)


def _skip_blocks(content: bytes, offset: int) -> int:
    while size := _read(content, offset, 1)[0]:
        offset += 1 + size
    return offset + 1


def read_frames(content: bytes) -> Iterator[GifFrame]:
    """Walk the frames in file order up to bytes that are no block, as browsers do; EOFError where a frame is cut."""
    screen = _read_screen(content)
    offset, transparent_index, disposal = screen.end, None, 0
    has_frames = False
    while offset < len(content):
        kind = content[offset]
        if kind == _TRAILER or (has_frames and kind not in (_EXTENSION, _IMAGE)):
            return
        if kind == _EXTENSION:
            if _read(content, offset, 2)[1] == _GRAPHIC_CONTROL:
                control = _read(content, offset + 3, 4)
                disposal = control[0] >> 2 & 7
                transparent_index = control[3] if control[0] & 1 else None
            offset = _skip_blocks(content, offset + 2)
        elif kind == _IMAGE:
            frame, offset = _read_image(content, offset, screen, transparent_index, disposal)
            yield frame
            transparent_index, disposal, has_frames = None, 0, True
        else:
            # Stray bytes before the first block cost nothing.
            offset += 1


def _read_image(
    content: bytes, offset: int, screen: _Screen, transparent_index: int | None, disposal: int
) -> tuple[GifFrame, int]:
    """Read the image block at `offset`; tell where the next block begins."""
    place = _read(content, offset + 1, 9)
    left, top, width, height = (int.from_bytes(place[at : at + 2], "little") for at in (0, 2, 4, 6))
    start = offset + 10 + _table_bytes(place[8])
    palette = content[offset + 10 : start] or screen.palette
    try:
        end = _skip_blocks(content, start + 1)
    except EOFError:
        if width and height:
            raise
        # Without pixels there are no data that could be missing.
        end = len(content)
    interlaced = bool(place[8] & _INTERLACED)
    frame = GifFrame(left, top, width, height, interlaced, palette, transparent_index, disposal, slice(start, end))
    return frame, end


def is_empty(content: bytes) -> bool:
    """Tell whether the file is whole and draws nothing: a canvas, then the trailer."""
    return next(read_frames(content), None) is None and content.endswith(b";")


def canvas_size(content: bytes) -> tuple[int, int]:
    """Tell width and height of the canvas; a file that says 0 means its first frame's size."""
    screen = _read_screen(content)
    if screen.width and screen.height:
        return screen.width, screen.height
    first = next(read_frames(content), None)
    return (0, 0) if first is None else (first.left + first.width, first.top + first.height)


def composited_frames(content: bytes) -> Iterator[Image.Image]:
    """Give each frame as a viewer shows it, of the canvas's size: RGBA, or RGB where nothing is transparent."""
    width, height = canvas_size(content)
    canvas: Pixels = np.zeros((height, width, 4), np.uint8)
    if is_empty(content):
        yield Image.fromarray(canvas)
    for frame in read_frames(content):
        rows, columns = slice(frame.top, frame.top + frame.height), slice(frame.left, frame.left + frame.width)
        before = canvas[rows, columns].copy() if frame.disposal in _TO_PREVIOUS else None
        _draw(canvas[rows, columns], content, frame)
        opaque = bool(canvas[..., 3].all())
        yield Image.fromarray(canvas[..., :3].copy() if opaque else canvas.copy())
        if before is not None:
            canvas[rows, columns] = before
        elif frame.disposal == _TO_BACKGROUND:
            canvas[rows, columns] = 0


def _draw(region: Pixels, content: bytes, frame: GifFrame) -> None:
    height, width = region.shape[:2]
    # The smallest GIFs there are say a code size and then no data: browsers draw nothing.
    has_data = frame.data.stop - frame.data.start > _EMPTY_DATA_BYTES
    if not height or not width or not has_data:
        return
    indices = _decode(content, frame, height)[:height, :width]
    colours = np.zeros((256, 4), np.uint8)
    colours[:, 3] = 255
    # What the palette lacks is black, as in browsers; all of it where there is none.
    known = np.frombuffer(frame.palette, np.uint8)
    colours[: len(known) // 3, :3] = known.reshape(-1, 3)
    if frame.transparent_index is None:
        region[:] = colours[indices]
    else:
        drawn = indices != frame.transparent_index
        region[drawn] = colours[indices[drawn]]


def _decode(content: bytes, frame: GifFrame, visible_rows: int) -> Pixels:
    """Decode the colour indices of one frame, H×W uint8, as a GIF of its own that Pillow reads.

    Rows below the canvas are left out, unless interlacing puts them between those above.
    """
    rows = frame.height if frame.interlaced else visible_rows
    if frame.width * rows > _MAX_FRAME_PIXELS:
        raise ImageTooLarge(f"a frame of the gif picture is {frame.width}x{frame.height} pixels, far beyond its canvas")
    size = frame.width.to_bytes(2, "little") + rows.to_bytes(2, "little")
    # A table that is no grey ramp keeps Pillow from reading the indices as anything but indices.
    table = bytes(value for index in range(256) for value in (index, 0, 0))
    flags = _INTERLACED if frame.interlaced else 0
    alone = b"".join(
        (
            b"GIF89a",
            size,
            b"\xf7\x00\x00",
            table,
            b",\x00\x00\x00\x00",
            size,
            bytes([flags]),
            content[frame.data],
            b";",
        ),
    )
    with Image.open(io.BytesIO(alone), formats=("GIF",)) as image:
        image.load()
        return np.asarray(image)

"""GIF: its blocks, and its frames composited as browsers show them.

Pillow draws what no frame covers in the background colour and grows the canvas for frames that overlap its edge;
browsers leave it transparent and clip. So Pillow decodes the LZW data of one frame at a time, and the drawing is here.
Source: the GIF89a specification, sections 17 to 27.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import Image

from imgapi.errors import ImageTooLarge, UnreadableImage

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
# What asks for repetition, and so for a viewer that shows one frame after the other.
_REPEATING = (b"\x0bNETSCAPE2.0", b"\x0bANIMEXTS1.0")

# H×W: one of at most 256 colours, or red, green, blue and alpha as the bytes of one number.
Indices = npt.NDArray[np.uint8]
Pixels = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Control:
    """What a graphic control extension says of the frame after it."""

    transparent_index: int | None = None
    disposal: int = 0
    delayed: bool = False


@dataclass(frozen=True, slots=True)
class GifFrame:
    """One frame as it lies in the file: its place on the canvas, its colours, where its LZW data begin and end."""

    left: int
    top: int
    width: int
    height: int
    interlaced: bool
    palette: bytes
    control: Control
    data: slice

    def covers(self, width: int, height: int) -> bool:
        """Whether it lies over all of a canvas of this size."""
        return self.left == self.top == 0 and self.width >= width and self.height >= height

    def decoded_rows(self, visible_rows: int) -> int:
        """Tell how many rows are decoded to draw the first so many: all, where interlacing puts others between them."""
        return self.height if self.interlaced else min(self.height, visible_rows)


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
    while offset < len(content):
        size = content[offset]
        offset += 1 + size
        if not size:
            return offset
    raise EOFError


def read_frames(content: bytes) -> Iterator[GifFrame]:
    """Walk the frames in file order up to bytes that are no block, as browsers do; EOFError where a frame is cut."""
    screen = _read_screen(content)
    offset, control = screen.end, Control()
    has_frames = False
    while offset < len(content):
        kind = content[offset]
        if kind == _TRAILER or (has_frames and kind not in (_EXTENSION, _IMAGE)):
            return
        if kind == _EXTENSION:
            if _read(content, offset, 2)[1] == _GRAPHIC_CONTROL:
                control = _read_control(_read(content, offset + 3, 4))
            offset = _skip_blocks(content, offset + 2)
        elif kind == _IMAGE:
            frame, offset = _read_image(content, offset, screen, control)
            yield frame
            control, has_frames = Control(), True
        else:
            # Stray bytes before the first block cost nothing.
            offset += 1


def _read_control(block: bytes) -> Control:
    return Control(block[3] if block[0] & 1 else None, block[0] >> 2 & 7, any(block[1:3]))


def _read_image(content: bytes, offset: int, screen: _Screen, control: Control) -> tuple[GifFrame, int]:
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
    frame = GifFrame(left, top, width, height, interlaced, palette, control, slice(start, end))
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


def still(content: bytes) -> Image.Image:
    """Give the picture as a viewer shows it first; one in parts, which doesn't move, is all of them laid together.

    A frame has at most 256 colours, so pictures of more were written as tiles, each with colours of its own.

    Raises:
        UnreadableImage: There is no frame.
    """
    canvas = _Canvas(content)
    frames = read_frames(content)
    shown = list(frames if _is_in_parts(content) else islice(frames, 1))
    if not shown and not is_empty(content):
        raise UnreadableImage("the gif picture has no frame")
    for frame in shown:
        canvas.draw(frame)
    return canvas.image()


def _is_in_parts(content: bytes) -> bool:
    """Whether frames are parts of one picture: the first leaves room for others, none waits, and nothing repeats."""
    width, height = canvas_size(content)
    pixels = 0
    for number, frame in enumerate(read_frames(content)):
        if number == 0 and (frame.covers(width, height) or any(name in content for name in _REPEATING)):
            return False
        pixels += frame.width * frame.height
        if frame.control.delayed or pixels > _MAX_FRAME_PIXELS:
            return False
    return True


def composited_frames(content: bytes) -> Iterator[Image.Image]:
    """Give each frame as a viewer shows it, of the canvas's size: RGBA, or RGB where nothing is transparent."""
    canvas = _Canvas(content)
    if is_empty(content):
        yield canvas.image()
    for frame in read_frames(content):
        canvas.draw(frame)
        yield canvas.image()


class _Canvas:
    """What a viewer shows, clear at first."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        width, height = canvas_size(content)
        self._pixels: Pixels = np.zeros((height, width), np.uint32)
        self._last: GifFrame | None = None
        self._before: Pixels | None = None

    def draw(self, frame: GifFrame) -> None:
        """Dispose of the frame before as it says, and draw the next."""
        if self._last is not None:
            if self._before is not None:
                self._region(self._last)[:] = self._before
            elif self._last.control.disposal == _TO_BACKGROUND:
                self._region(self._last)[:] = 0
        self._last = frame
        self._before = self._region(frame).copy() if frame.control.disposal in _TO_PREVIOUS else None
        _draw(self._region(frame), self._content, frame)

    def _region(self, frame: GifFrame) -> Pixels:
        return self._pixels[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width]

    def image(self) -> Image.Image:
        """Give a copy of what is shown."""
        image = Image.fromarray(self._pixels.view(np.uint8).reshape(*self._pixels.shape, 4))
        *_, alpha = np.bitwise_and.reduce(self._pixels, axis=None).tobytes()
        return image.convert("RGB") if alpha else image.copy()


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
    drawn = colours.view(np.uint32)[:, 0].take(indices)
    if frame.control.transparent_index is None:
        region[:] = drawn
    else:
        np.copyto(region, drawn, where=indices != frame.control.transparent_index)


def _decode(content: bytes, frame: GifFrame, visible_rows: int) -> Indices:
    """Decode the colour indices of one frame, H×W uint8, as a GIF of its own that Pillow reads.

    Rows below the canvas are left out, unless interlacing puts them between those above.
    """
    rows = frame.decoded_rows(visible_rows)
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

"""Sizes, frames and flags read from the headers of raster formats, before any library allocates for them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imgapi.errors import ImageTooLarge, UnreadableImage
from imgapi.pictures import chunks, gif
from imgapi.pictures.rasters import exif_orientation

# More chunks than any writer makes of a picture within the byte limit; beyond it, only the walk itself would cost.
_MAX_CHUNKS = 100_000
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PNG_ALPHA_TYPES = frozenset({4, 6})
_DEEP_BITS = 16


@dataclass(frozen=True, slots=True)
class Header:
    """Stored width and height (before orientation), frames and flags; `mode` None where Pillow is to tell it."""

    width: int
    height: int
    frames: int = 1
    mode: str | None = None
    orientation: int = 1
    transparent: bool = False
    total_pixels: int = 0
    deep: bool = False


def read_jpeg(content: bytes, _max_frames: int) -> Header:
    """Read the frame header (SOFn) of a JPEG."""
    for marker, body in chunks.jpeg_segments(content):
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", body, 1)
            return Header(width, height)
    raise EOFError


def read_png(content: bytes, _max_frames: int) -> Header:
    """Read IHDR, acTL, tRNS and eXIf of a PNG, wherever they are."""
    width, height = struct.unpack_from(">II", content, 16)
    depth, colour_type = content[24], content[25]
    frames, orientation, transparent = 1, 1, colour_type in _PNG_ALPHA_TYPES
    for count, chunk in enumerate(chunks.png_chunks(content)):
        if count > _MAX_CHUNKS:
            raise UnreadableImage(f"the png picture has more than {_MAX_CHUNKS} chunks")
        if chunk.name == b"acTL":
            frames = max(1, int.from_bytes(chunk.body[:4], "big"))
        elif chunk.name == b"tRNS":
            transparent = True
        elif chunk.name == b"eXIf":
            orientation = exif_orientation(bytes(chunk.body))
    return Header(
        width,
        height,
        frames=frames,
        orientation=orientation,
        transparent=transparent,
        deep=depth == _DEEP_BITS,
    )


def read_webp(content: bytes, max_frames: int) -> Header:
    """Read the canvas, the flags, the EXIF and the number of frames of a WebP."""
    width = height = frames = 0
    alpha, orientation = False, 1
    for count, chunk in enumerate(chunks.riff_chunks(content)):
        if count > _MAX_CHUNKS:
            raise UnreadableImage(f"the webp picture has more than {_MAX_CHUNKS} chunks")
        body = chunk.body
        if chunk.name == b"VP8X":
            alpha = bool(body[0] & 0x10)
            width, height = (1 + int.from_bytes(body[at : at + 3], "little") for at in (4, 7))
        elif chunk.name == b"VP8 " and not width:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", body, 6))
        elif chunk.name == b"VP8L" and not width:
            bits = int.from_bytes(body[1:5], "little")
            width, height, alpha = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF), bool(bits >> 28 & 1)
        elif chunk.name == b"ANMF":
            frames = min(frames + 1, max_frames + 1)
        elif chunk.name == b"EXIF":
            orientation = exif_orientation(bytes(body))
    if not width:
        raise EOFError
    mode = "RGBA" if alpha else "RGB"
    return Header(width, height, frames=max(1, frames), mode=mode, orientation=orientation, transparent=alpha)


def read_gif(content: bytes, max_frames: int) -> Header:
    """Read canvas, number of frames and transparency of a GIF; transparent is also what no first frame covers."""
    width, height = gif.canvas_size(content)
    frames, transparent = 0, False
    try:
        for frame in gif.read_frames(content):
            if not frames:
                covers = frame.left == frame.top == 0 and frame.width >= width and frame.height >= height
                transparent = not covers
            transparent = transparent or frame.transparent_index is not None
            frames += 1
            if frames > max_frames:
                break
    except EOFError:
        # The first frame may be whole; decoding tells.
        frames += 1
    if not frames:
        raise EOFError
    return Header(width, height, frames=frames, mode="P", transparent=transparent)


def read_bmp(content: bytes, _max_frames: int) -> Header:
    """Read the size from a BMP's OS/2 or Windows information header."""
    size_of_header = int.from_bytes(content[14:18], "little")
    if size_of_header == 12:  # noqa: PLR2004 - BITMAPCOREHEADER, the only one with 16-bit sides
        width, height = struct.unpack_from("<HH", content, 18)
    else:
        width, height = struct.unpack_from("<ii", content, 18)
    return Header(abs(width), abs(height))


@dataclass(frozen=True, slots=True)
class _Page:
    width: int
    height: int
    orientation: int
    bits: int


def read_tiff(content: bytes, max_frames: int) -> Header:
    """Read the first page's size, and the number and pixels of all pages, of a TIFF or BigTIFF."""
    first: _Page | None = None
    frames = total_pixels = 0
    for page in _tiff_pages(content):
        first = first or page
        frames += 1
        total_pixels += page.width * page.height
        if frames > max_frames:
            raise ImageTooLarge(f"the picture has more than {max_frames} frames; at most that many are taken")
    if first is None:
        raise EOFError
    return Header(
        first.width,
        first.height,
        frames=frames,
        orientation=first.orientation,
        total_pixels=total_pixels,
        deep=first.bits == _DEEP_BITS,
    )


def _tiff_pages(content: bytes) -> Iterator[_Page]:
    order = "<" if content.startswith(b"II") else ">"
    big = content[2:4] in (b"+\x00", b"\x00+")
    count_layout, entry_layout, next_layout = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    (offset,) = struct.unpack_from(order + next_layout, content, 8 if big else 4)
    seen: set[int] = set()
    while offset and offset not in seen:
        seen.add(offset)
        (entries,) = struct.unpack_from(order + count_layout, content, offset)
        offset += struct.calcsize(count_layout)
        step = struct.calcsize(order + entry_layout)
        if offset + entries * step > len(content):
            raise EOFError
        tags: dict[int, int] = {}
        for at in range(offset, offset + entries * step, step):
            tag, kind, count, value = struct.unpack_from(order + entry_layout, content, at)
            if tag in _TIFF_TAGS:
                tags[tag] = _tiff_value(content, order, kind, count, value)
        orientation = tags.get(274, 1)
        yield _Page(
            tags.get(256, 0), tags.get(257, 0), orientation if orientation in range(1, 9) else 1, tags.get(258, 1)
        )
        (offset,) = struct.unpack_from(order + next_layout, content, offset + entries * step)


# ImageWidth, ImageLength, BitsPerSample, Orientation
_TIFF_TAGS = frozenset({256, 257, 258, 274})
_TIFF_KINDS = {1: "B", 3: "H", 4: "I", 16: "Q"}


def _tiff_value(content: bytes, order: str, kind: int, count: int, value: bytes) -> int:
    """Read a tag's first value, which lies in the entry itself where it fits and elsewhere in the file where not."""
    layout = _TIFF_KINDS.get(kind)
    if layout is None:
        return 0
    if count * struct.calcsize(layout) <= len(value):
        return int(struct.unpack_from(order + layout, value)[0])
    (offset,) = struct.unpack(order + ("Q" if len(value) == 8 else "I"), value)  # noqa: PLR2004 - BigTIFF's pointers
    return int(struct.unpack_from(order + layout, content, offset)[0])

"""Sizes, frames and flags read from the headers of raster formats, before any library allocates for them."""

import struct
from dataclasses import dataclass

from imgapi.errors import ImageTooLarge, UnreadableImage
from imgapi.pictures import bmp, chunks, gif, tiff_pages, tiff_samples
from imgapi.pictures.jpeg_sound import jpeg_segments, refuse_many_scans
from imgapi.pictures.png_sound import MAX_CHUNKS, read_sound
from imgapi.pictures.rasters import exif_orientation
from imgapi.pictures.unsupported import JPEG_KIND_MARKERS, refuse_jpeg, refuse_tiff

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SEQUENTIAL = frozenset({0xC0, 0xC1})
_JPEG_SCAN = 0xDA
_APP0, _APP14, _ADOBE_YCC = 0xE0, 0xEE, 1
_PNG_ALPHA_TYPES = frozenset({4, 6})
_ANY_DEPTH = 0
# Pillow's modes by depth and colour type.
_PNG_MODES = {
    (1, 0): "1",
    (16, 0): "I;16",
    (_ANY_DEPTH, 0): "L",
    (_ANY_DEPTH, 2): "RGB",
    (_ANY_DEPTH, 3): "P",
    (_ANY_DEPTH, 4): "LA",
    (_ANY_DEPTH, 6): "RGBA",
}
_DEEP_BITS = 16
_MORE_THAN_8_BITS = 9


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
    hides_still: bool = False


def read_jpeg(content: bytes, _max_frames: int) -> Header:
    """Read the frame header (SOFn) of a JPEG, and see that decoders know it and that it won't keep them busy."""
    header: Header | None = None
    components, is_ycc = 0, False
    for marker, body in jpeg_segments(content):
        is_ycc = is_ycc or _says_ycc(marker, bytes(body[:12]))
        if marker in JPEG_KIND_MARKERS or (marker in _JPEG_FRAMES and header is None):
            bits, height, width, components = struct.unpack_from(">BHHB", body)
            refuse_jpeg(marker, bits, components, is_ycc=is_ycc)
            header = Header(width, height)
            # Where all is in the first scan, no decoder looks for a second.
            components = components if marker in _JPEG_SEQUENTIAL else 0
        elif marker == _JPEG_SCAN and header is not None and body[:1] != bytes((components,)):
            refuse_many_scans(content)
    if header is None:
        raise EOFError
    return header


def _says_ycc(marker: int, lead: bytes) -> bool:
    if marker == _APP14:
        return lead.startswith(b"Adobe") and lead[11:12] == bytes((_ADOBE_YCC,))
    return marker == _APP0 and lead.startswith(b"JFIF\x00")


def read_png(content: bytes, _max_frames: int) -> Header:
    """Read what a PNG is, wherever its chunks lie."""
    png = read_sound(content)
    depth, colour_type = png.header[8], png.header[9]
    transparent = colour_type in _PNG_ALPHA_TYPES or any(name == b"tRNS" for name, _ in png.ancillary)
    return Header(
        *png.size,
        frames=max(1, len(png.frames)),
        mode=_PNG_MODES.get((depth, colour_type)) or _PNG_MODES[_ANY_DEPTH, colour_type],
        orientation=exif_orientation(png.exif),
        transparent=transparent,
        deep=depth == _DEEP_BITS,
        hides_still=bool(png.frames) and not png.frames[0].is_default_image,
    )


def read_webp(content: bytes, max_frames: int) -> Header:
    """Read the canvas, the flags, the EXIF and the number of frames of a WebP."""
    width = height = frames = 0
    alpha, orientation = False, 1
    for count, chunk in enumerate(chunks.riff_chunks(content)):
        if count > MAX_CHUNKS:
            raise UnreadableImage(f"the webp picture has more than {MAX_CHUNKS} chunks")
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
    """Read canvas, frames and transparency of a GIF; transparent is also what no first frame covers.

    A frame counts as its canvas, or as what has to be decoded to draw it where that is more.
    """
    width, height = gif.canvas_size(content)
    frames, total_pixels, transparent = 0, 0, False
    try:
        for frame in gif.read_frames(content):
            if not frames:
                transparent = not frame.covers(width, height)
            transparent = transparent or frame.control.transparent_index is not None
            frames += 1
            total_pixels += max(width * height, frame.width * frame.decoded_rows(height))
            if frames > max_frames:
                break
    except EOFError:
        # The first frame may be whole; decoding tells.
        frames += 1
    if not frames and not gif.is_empty(content):
        raise EOFError
    return Header(
        width,
        height,
        frames=max(1, frames),
        mode="P",
        transparent=transparent or not frames,
        total_pixels=total_pixels,
    )


def read_bmp(content: bytes, _max_frames: int) -> Header:
    """Read size and kind of a BMP."""
    header = bmp.read_header(content)
    return Header(header.width, header.height, mode=header.mode, transparent=header.mode == "RGBA")


def read_tiff(content: bytes, max_frames: int) -> Header:
    """Read the first page's size and kind, and the number and pixels of all pages, of a TIFF or BigTIFF."""
    first: tiff_pages.TiffPage | None = None
    frames = total_pixels = 0
    for page in tiff_pages.read_pages(content):
        first = first or page
        frames += 1
        total_pixels += page.width * page.height
        if frames > max_frames:
            raise ImageTooLarge(f"the picture has more than {max_frames} frames; at most that many are taken")
    if first is None:
        raise EOFError
    refuse_tiff(first)
    return Header(
        first.width,
        first.height,
        frames=frames,
        mode=tiff_samples.mode_of(first) if tiff_samples.is_needed(first) else None,
        orientation=first.orientation,
        transparent=tiff_samples.is_needed(first) and tiff_samples.has_alpha(first),
        total_pixels=total_pixels,
        deep=max(first.bits) >= _MORE_THAN_8_BITS,
    )

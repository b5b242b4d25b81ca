"""The containers of JPEG, PNG and WebP walked piece by piece, and what of each piece is not pixels taken out.

Taking metadata out this way leaves the compressed pixels as they are, so nothing is lost and little is computed.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_APP0, _APP2, _APP14, _APP15, _COM = 0xE0, 0xE2, 0xEE, 0xEF, 0xFE
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
# In entropy-coded data FF00 is a stuffed FF and FFD0 to FFD7 are restarts; any other marker ends the scan.
_SCAN_END = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"})
_PNG_COLOUR = frozenset({b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"cICP", b"mDCV", b"cLLI"})
_PNG_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_PNG_SPACES = frozenset({b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP"})

_WEBP_KEPT = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_METADATA_FLAGS = 0x08 | 0x04


@dataclass(frozen=True, slots=True)
class Chunk:
    """One named piece of a PNG or RIFF file."""

    name: bytes
    body: memoryview


def jpeg_segments(content: bytes) -> Iterator[tuple[int, memoryview]]:
    """Walk marker and body of a JPEG's segments up to and including the first start of scan; EOFError if cut."""
    for marker, start, end in _jpeg_markers(content):
        yield marker, memoryview(content)[start + 2 : end]
        if marker == _SOS:
            return


def _jpeg_markers(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Walk marker, start of its length field and end of its segment, up to the end-of-image marker."""
    offset = 2
    while True:
        offset = content.find(b"\xff", offset)
        if offset < 0:
            raise EOFError
        while content[offset : offset + 1] == b"\xff":
            offset += 1
        if offset >= len(content):
            raise EOFError
        marker = content[offset]
        offset += 1
        if marker == _EOI:
            yield marker, offset, offset
            return
        if marker in _STANDALONE or marker in (0, _SOI):
            continue
        (length,) = struct.unpack_from(">H", content, offset)
        end = offset + length
        if end > len(content):
            raise EOFError
        yield marker, offset, end
        offset = end
        if marker == _SOS:
            found = _SCAN_END.search(content, end)
            if found is None:
                raise EOFError
            offset = found.start()


def strip_jpeg(content: bytes) -> bytes:
    """Rewrite a JPEG with nothing but its pixels, JFIF and Adobe markers and ICC profile; EOFError if it is cut.

    What follows the end of the image (thumbnails, gain maps, foreign files) goes as well.
    """
    pieces = [b"\xff\xd8"]
    scan_start = 0
    for marker, start, end in _jpeg_markers(content):
        if scan_start:
            pieces.append(content[scan_start : _marker_start(content, start)])
            scan_start = 0
        if marker == _EOI:
            pieces.append(b"\xff\xd9")
        elif _is_kept(marker, content[start + 2 : start + 16]):
            pieces.append(bytes((0xFF, marker)) + content[start:end])
        if marker == _SOS:
            scan_start = end
    return b"".join(pieces)


def _marker_start(content: bytes, length_start: int) -> int:
    offset = length_start - 2
    while content[offset - 1] == 0xFF:  # noqa: PLR2004 - fill bytes before a marker
        offset -= 1
    return offset


def _is_kept(marker: int, lead: bytes) -> bool:
    if marker == _APP0:
        return lead.startswith(b"JFIF\x00")
    if marker == _APP2:
        return lead.startswith(b"ICC_PROFILE\x00")
    if marker == _APP14:
        return lead.startswith(b"Adobe")
    return not (_APP0 < marker <= _APP15 or marker == _COM)


def png_chunks(content: bytes) -> Iterator[Chunk]:
    """Walk the chunks of a PNG up to IEND or to where the file ends; EOFError when a chunk is cut."""
    offset, view = len(_PNG_SIGNATURE), memoryview(content)
    while offset < len(content):
        (length,) = struct.unpack_from(">I", content, offset)
        end = offset + 8 + length
        if end + 4 > len(content):
            raise EOFError
        chunk = Chunk(content[offset + 4 : offset + 8], view[offset + 8 : end])
        yield chunk
        if chunk.name == b"IEND":
            return
        offset = end + 4


def strip_png(
    content: bytes,
    *,
    keep_animation: bool = False,
    keep_profile: bool = True,
    profile: bytes | None = None,
) -> bytes:
    """Rewrite a PNG with nothing but its pixels and what states their colours; sRGB where it states none.

    Args:
        content: A PNG that decodes.
        keep_animation: Keep the frames of an APNG, not only its default image.
        keep_profile: Keep the ICC profile it states.
        profile: An ICC profile to state instead of what the file states.
    """
    kept = _PNG_PIXELS | _PNG_COLOUR | (_PNG_ANIMATION if keep_animation else frozenset())
    if not keep_profile:
        kept -= {b"iCCP"}
    found = [chunk for chunk in png_chunks(content) if chunk.name in kept]
    if profile is not None:
        found = [chunk for chunk in found if chunk.name not in _PNG_SPACES]
    grey_or_colour = [chunk for chunk in found if chunk.name in _PNG_SPACES]
    pieces = [_PNG_SIGNATURE]
    for chunk in found:
        pieces.append(_png_chunk(chunk.name, chunk.body))
        if chunk.name == b"IHDR" and profile is not None:
            pieces.append(_png_chunk(b"iCCP", b"profile\x00\x00" + zlib.compress(profile)))
        elif chunk.name == b"IHDR" and not grey_or_colour:
            pieces.append(_png_chunk(b"sRGB", b"\x00"))
    if found[-1].name != b"IEND":
        pieces.append(_png_chunk(b"IEND", b""))
    return b"".join(pieces)


def _png_chunk(name: bytes, body: bytes | memoryview) -> bytes:
    return b"".join((struct.pack(">I", len(body)), name, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))))


def riff_chunks(content: bytes) -> Iterator[Chunk]:
    """Walk the chunks of a WebP; EOFError when one is cut."""
    end = min(len(content), 8 + int.from_bytes(content[4:8], "little"))
    offset, view = 12, memoryview(content)
    while offset + 8 <= end:
        length = int.from_bytes(content[offset + 4 : offset + 8], "little")
        if offset + 8 + length > len(content):
            raise EOFError
        yield Chunk(content[offset : offset + 4], view[offset + 8 : offset + 8 + length])
        offset += 8 + length + length % 2


def strip_webp(content: bytes) -> bytes:
    """Rewrite a WebP with nothing but its pixels, frames and ICC profile."""
    pieces = []
    for chunk in riff_chunks(content):
        if chunk.name not in _WEBP_KEPT:
            continue
        body = bytes(chunk.body)
        if chunk.name == b"VP8X":
            body = bytes((body[0] & ~_WEBP_METADATA_FLAGS,)) + body[1:]
        pieces.append(chunk.name + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) % 2))
    payload = b"WEBP" + b"".join(pieces)
    return b"RIFF" + struct.pack("<I", len(payload)) + payload

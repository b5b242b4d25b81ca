"""The containers of PNG and WebP, and what in them is not pixels taken out.

Taking metadata out this way leaves the compressed pixels as they are, so nothing is lost and little is computed.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from imgapi.pictures.png_sound import chunk_bytes, has_whole_pixels, read_sound

_PNG_SPACES = frozenset({b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP"})
# The signature and IHDR.
_PNG_HEADER_END = 33

_WEBP_KEPT = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_METADATA_FLAGS = 0x08 | 0x04


@dataclass(frozen=True, slots=True)
class Chunk:
    """One named piece of a PNG or RIFF file."""

    name: bytes
    body: memoryview


def strip_png(
    content: bytes,
    *,
    keep_animation: bool = False,
    keep_profile: bool = True,
) -> bytes | None:
    """Rewrite a PNG with nothing but its pixels and what states their colours; sRGB where it states none.

    Args:
        content: A PNG.
        keep_animation: Keep the frames of an APNG, not only its default image.
        keep_profile: Keep the ICC profile it states.

    Returns:
        The file, or None if its compressed pixels are not as a strict reader wants them.

    Raises:
        EOFError: Pixels are missing.
        UnreadableImage: Its critical chunks are damaged.
    """
    png = read_sound(content)
    if not has_whole_pixels(png):
        return None
    kept = tuple(chunk for chunk in png.ancillary if keep_profile or chunk[0] != b"iCCP")
    if not any(name in _PNG_SPACES for name, _ in kept):
        kept = ((b"sRGB", memoryview(b"\x00")), *kept)
    return png.write(animated=keep_animation, ancillary=kept)


def state_colours(png: bytes, profile: bytes | None, stated: tuple[tuple[bytes, memoryview], ...] = ()) -> bytes:
    """Say in a PNG as an encoder wrote it what its colours mean.

    Args:
        png: A PNG that says nothing of its colours.
        profile: The ICC profile they are in.
        stated: Without a profile, colour chunks of the PNG that the pixels come from; sRGB without any.
    """
    if profile is not None:
        chunks = chunk_bytes(b"iCCP", b"profile\x00\x00" + zlib.compress(profile))
    else:
        chunks = b"".join(chunk_bytes(*chunk) for chunk in stated) or chunk_bytes(b"sRGB", b"\x00")
    return png[:_PNG_HEADER_END] + chunks + png[_PNG_HEADER_END:]


def stated_colours(content: bytes) -> tuple[tuple[bytes, memoryview], ...]:
    """List the chunks by which a PNG without ICC profile says what its colours mean."""
    return tuple(chunk for chunk in read_sound(content).ancillary if chunk[0] in _PNG_SPACES - {b"iCCP"})


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

"""A PNG written band by band, so that a picture of any height needs the memory of one band."""

import struct
import zlib
from collections.abc import Iterable, Mapping

import numpy as np

from imgapi.matting.pixels import Pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BITS = 8
_COLOUR_TYPES = {3: 2, 4: 6}
_UP = 2


def write_png_bands(
    bands: Iterable[Pixels], width: int, height: int, *, notes: Mapping[str, str], icc_profile: bytes | None
) -> bytes:
    """Encode bands that lie below one another as one PNG.

    Every row is stored as its difference from the row above, which suits enlarged pictures: as small as with a
    filter chosen row by row, in half the time.

    Args:
        bands: h×W×3 or h×W×4 uint8 each, from the top; all of one kind.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels: the sum of the bands' heights.
        notes: One tEXt chunk each; Latin-1.
        icc_profile: What the values are to be read with, or None for sRGB.
    """
    packer, packed, above, colour_type = zlib.compressobj(1), [], None, 0
    for band in bands:
        rows = np.ascontiguousarray(band).reshape(band.shape[0], -1)
        colour_type = _COLOUR_TYPES[band.shape[2]]
        packed.append(packer.compress(_filter(rows, above).data))
        above = rows[-1].copy()
    packed.append(packer.flush())
    header = struct.pack(">2I5B", width, height, _EIGHT_BITS, colour_type, 0, 0, 0)
    chunks = [_SIGNATURE, *_chunk(b"IHDR", header)]
    if icc_profile:
        chunks += _chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc_profile))
    for key, value in notes.items():
        chunks += _chunk(b"tEXt", f"{key}\0{value}".encode("latin-1"))
    for part in packed:
        if part:
            chunks += _chunk(b"IDAT", part)
    return b"".join([*chunks, *_chunk(b"IEND", b"")])


def _filter(rows: Pixels, above: Pixels | None) -> Pixels:
    """Lead every row with its filter type and subtract the row above it (modulo 256)."""
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), dtype=np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0] if above is None else rows[0] - above
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered


def _chunk(name: bytes, body: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    checksum = struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))
    return struct.pack(">I", len(body)), name, body, checksum

"""PNG by ISA-L's deflate: a tenth of the time of zlib, a few per cent larger (bench/results.md)."""

import struct
from collections.abc import Iterator

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray
from PIL import Image

from imgapi.pictures.png_sound import SIGNATURE, chunk_bytes

# Mode to colour type (PNG specification, 11.2.1); palettes, bilevel and 16-bit pictures are Pillow's to write.
_COLOUR_TYPES = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}
_LEVEL = 1
# Rows are filtered and compressed by bands, so that a large picture needs no second copy of itself.
_BAND_BYTES = 1024 * 1024
_NO_FILTER, _UP = 0, 2
_SAMPLES, _SAMPLE_ROWS = 3, 4

Rows = NDArray[np.uint8]


def write_png(image: Image.Image) -> bytes | None:
    """Write a picture of mode L, LA, RGB or RGBA without any metadata; None for other modes."""
    if image.mode not in _COLOUR_TYPES:
        return None
    return write_samples(np.asarray(image), image.mode)


def write_samples(samples: Rows | NDArray[np.uint16], mode: str) -> bytes:
    """Write samples (H×W or H×W×channels, of 8 or 16 bits) of mode L, LA, RGB or RGBA without any metadata.

    All rows are filtered alike: by the row above, which suits photographs, or not at all where a sample of the rows
    compresses better so, as drawings do.
    """
    height, width = samples.shape[:2]
    big_endian = samples.astype(samples.dtype.newbyteorder(">"), copy=False)
    rows = big_endian.reshape(height, -1).view(np.uint8)
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, _COLOUR_TYPES[mode], 0, 0, 0)
    parts = [SIGNATURE, chunk_bytes(b"IHDR", header)]
    parts += [chunk_bytes(b"IDAT", data) for data in _compressed(rows, _choose_filter(rows))]
    parts.append(chunk_bytes(b"IEND", b""))
    return b"".join(parts)


def _compressed(rows: Rows, kind: int) -> Iterator[bytes]:
    """Filter and compress by bands; each piece becomes a chunk."""
    compressor = isal_zlib.compressobj(_LEVEL)
    band = max(1, _BAND_BYTES // rows.shape[1])
    for top in range(0, len(rows), band):
        if data := compressor.compress(_filtered(rows, kind, top, top + band)):
            yield data
    yield compressor.flush()


def _filtered(rows: Rows, kind: int, top: int, bottom: int) -> Rows:
    """Lay the filter's number before each row, and take the row above from it where that is the filter."""
    part = rows[top:bottom]
    lines = np.empty((part.shape[0], part.shape[1] + 1), np.uint8)
    lines[:, 0] = kind
    lines[:, 1:] = part
    if kind == _UP:
        # What is above the first row counts as zero.
        first = 1 if top == 0 else 0
        lines[first:, 1:] -= rows[top + first - 1 : top + len(part) - 1]
    return lines


def _choose_filter(rows: Rows) -> int:
    """Compress a few rows from top, middle and bottom both ways."""
    sizes = {_UP: 0, _NO_FILTER: 0}
    for number in range(_SAMPLES):
        top = number * max(0, len(rows) - _SAMPLE_ROWS) // max(1, _SAMPLES - 1)
        for kind in sizes:
            sizes[kind] += len(isal_zlib.compress(_filtered(rows, kind, top, top + _SAMPLE_ROWS), _LEVEL))
    return min(sizes, key=sizes.__getitem__)

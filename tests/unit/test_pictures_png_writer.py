"""PNGs written by ISA-L: bit for bit the pixels, valid to a strict reader, no metadata."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from imgapi.pictures.png_writer import write_png
from pictures import draw_cutout, draw_photo


def chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Every chunk, its checksum checked."""
    found, place = [], 8
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        name, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", content, place + 8 + length)[0] == zlib.crc32(name + data)
        found.append((name, data))
        place += 12 + length
    assert place == len(content)
    return found


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (3, 2), (640, 481)])
def test_pixels_survive(mode: str, size: tuple[int, int]) -> None:
    """What is read back is what was written, mode and all; only the three chunks a PNG needs are there."""
    image = draw_cutout(max(8, size[0]), max(8, size[1])).crop((0, 0, *size)).convert(mode)
    content = write_png(image)
    assert content is not None
    with Image.open(io.BytesIO(content)) as read:
        assert (read.mode, read.size) == (mode, size)
        assert np.array_equal(np.asarray(read), np.asarray(image))
    assert {name for name, _ in chunks(content)} == {b"IHDR", b"IDAT", b"IEND"}


def test_stream_is_whole_zlib_of_the_right_length() -> None:
    """The data chunks together are one zlib stream of exactly the filtered rows, also when written by bands."""
    image = draw_photo(1300, 1200)
    content = write_png(image)
    assert content is not None
    pieces = [data for name, data in chunks(content) if name == b"IDAT"]
    assert len(pieces) > 1
    reader = zlib.decompressobj()
    assert len(reader.decompress(b"".join(pieces))) == 1200 * (1300 * 3 + 1)
    assert reader.eof
    assert not reader.unused_data
    with Image.open(io.BytesIO(content)) as read:
        assert np.array_equal(np.asarray(read), np.asarray(image))


def test_filter_suits_the_picture() -> None:
    """A photograph's rows are told by those above them, black and white grain as it is."""
    photo = draw_photo(400, 300).resize((800, 600), Image.Resampling.BICUBIC)
    grain = np.random.default_rng(1).integers(0, 2, (600, 800), dtype=np.uint8) * 255
    filters = []
    for image in (photo, Image.fromarray(grain)):
        content = write_png(image)
        assert content is not None
        data = b"".join(data for name, data in chunks(content) if name == b"IDAT")
        filters.append(zlib.decompress(data)[0])
    assert filters == [2, 0]


@pytest.mark.parametrize("mode", ["1", "P", "I;16", "CMYK", "F"])
def test_other_modes_are_left_to_others(mode: str) -> None:
    """What it can't write it says so of."""
    assert write_png(Image.new(mode, (4, 4))) is None

"""TIFFs of many pages and tiles, and what these may cost."""

import io
import struct
import time
import zlib

import pytest
from PIL import Image

from imgapi.errors import UnreadableImage
from imgapi.pictures.bounds import Bounds
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.fit import fit
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.probe import probe
from imgapi.pictures.reencode import reencode
from imgapi.pictures.resize import resize
from pictures import read_deep, swapped_profile, tiff_of

LIMITS = PictureLimits()


def scan_of(pages: int) -> bytes:
    """Write as many pages as a scanner would, 200 kB each and not compressed."""
    page = Image.new("L", (500, 400), 200)
    out = io.BytesIO()
    page.save(out, "TIFF", save_all=True, append_images=[page] * (pages - 1))
    return out.getvalue()


def test_a_late_page_costs_no_more_than_an_early_one() -> None:
    """Ninety pages take a moment: to come to one, neither the pages before it nor the rest of the file are read."""
    content = scan_of(90)
    begun = time.process_time()
    assert len(convert_to_png(content, all_frames=True, limits=LIMITS, svg_renderer="resvg").frames) == 90
    assert time.process_time() - begun < 3


def long_lists_of(pages: int) -> bytes:
    """Write pages of one 16-bit pixel, which share a list of a million numbers in every tag that may have one."""
    numbers = struct.pack("<I", 8) * 1_000_000
    content = bytearray(b"II*\x00" + bytes(4) + numbers)
    pointer_at = 4
    single = {256: 1, 257: 1, 258: 16, 259: 1, 262: 0, 277: 1, 278: 1}
    for _ in range(pages):
        struct.pack_into("<I", content, pointer_at, len(content))
        entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in single.items()]
        entries += [struct.pack("<HHII", tag, 4, 1_000_000, 8) for tag in (273, 279, 284, 317, 320, 338, 339, 34_675)]
        content += struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
        pointer_at = len(content) - 4
    return bytes(content)


def test_lists_longer_than_they_can_mean_are_not_read() -> None:
    """A page has no more blocks than samples, and other tags few values: lists that many pages share cost little."""
    content = long_lists_of(30)
    begun = time.process_time()
    assert len(convert_to_png(content, all_frames=True, limits=LIMITS, svg_renderer="resvg").frames) == 30
    assert time.process_time() - begun < 1


@pytest.mark.parametrize("size", [200_000, 1_200_000])
def test_a_large_profile_is_kept(size: int) -> None:
    """Profiles of printing conditions have a million bytes or more."""
    profile = swapped_profile().ljust(size, b"\x00")
    numbers = struct.unpack(f"<{size // 4}I", profile)
    content = tiff_of([bytes(range(240)) * 6], samples=3, bits=16, tags={34_675: numbers})
    content = content.replace(struct.pack("<HHI", 34_675, 4, size // 4), struct.pack("<HHI", 34_675, 7, size))
    converted = convert_to_png(content, all_frames=False, limits=LIMITS, svg_renderer="resvg")
    with Image.open(io.BytesIO(converted.frames[0])) as image:
        assert len(image.info["icc_profile"]) == size


def test_narrow_tiles_of_odd_depths_cost_little_more_than_strips() -> None:
    """Thousands of tiles of 12-bit samples are not read row by row of each."""
    packed = [zlib.compress(bytes((tile % 256, 0, tile % 256)) * 128) for tile in range(64 * 64)]
    tiles = tiff_of(packed, samples=1, bits=12, size=(1024, 1024), tags={322: (16,), 323: (16,)}, packed_already=True)
    strips = tiff_of([bytes(1024 * 1536)], samples=1, bits=12, size=(1024, 1024))
    seconds = []
    for content in (strips, tiles):
        begun = time.process_time()
        converted = convert_to_png(content, all_frames=False, limits=LIMITS, svg_renderer="resvg")
        seconds.append(time.process_time() - begun)
    assert seconds[1] < 12 * seconds[0]
    # The first and the second sample of three bytes, of the second tile in the second row.
    shown = read_deep(converted.frames[0])[17, 16:18]
    assert shown.tolist() == [((65 << 4) * 65_535 + 2047) // 4095, (65 * 65_535 + 2047) // 4095]


@pytest.mark.parametrize("value", [(5,), (5, 6, 7)])
@pytest.mark.parametrize("samples", [1, 3])
def test_a_profile_that_is_a_number_counts_as_none(value: tuple[int, ...], samples: int) -> None:
    """A tag of profiles that holds numbers makes no picture unreadable, whatever is done with it."""
    content = tiff_of([bytes(20 * 12 * samples)], samples=samples, bits=8, tags={34_675: value})
    for all_frames in (False, True):
        frame = convert_to_png(content, all_frames=all_frames, limits=LIMITS, svg_renderer="resvg").frames[0]
        with Image.open(io.BytesIO(frame)) as image:
            assert "icc_profile" not in image.info
    assert resize(content, min_dim=1, max_dim=10, limits=LIMITS, svg_renderer="resvg").width == 10
    assert reencode(content, "webp", limits=LIMITS)
    bounds = Bounds(frozenset({"jpeg"}), min_side=1, max_side=10, max_bytes=100_000)
    assert fit(content, bounds, LIMITS).width == 10


def test_directories_that_lie_over_each_other_are_refused() -> None:
    """A file of 2 MB has no more entries to read than a writer could have meant."""
    pages, entries = 20, 100_000
    places = [16 + 20 * number for number in range(pages)]
    content = bytearray(16 + 20 * (pages + entries) + 16)
    content[:16] = b"II+\x00\x08\x00\x00\x00" + struct.pack("<Q", places[0])
    for place, following in zip(places, [*places[1:], 0], strict=True):
        struct.pack_into("<Q", content, place, entries)
        struct.pack_into("<Q", content, place + 8 + 20 * entries, following)
    for tag in (256, 257):
        struct.pack_into("<HHQI", content, places[-1] + 68 + 20 * (tag - 256), tag, 3, 1, 1)
    with pytest.raises(UnreadableImage, match="more than 100000 entries"):
        probe(bytes(content), LIMITS)

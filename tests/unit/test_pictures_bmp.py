"""BMPs of every kind that browsers show, written byte by byte."""

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from imgapi.errors import UnreadableImage
from imgapi.pictures.bmp_runs import decode_runs
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.probe import probe
from pictures import bmp_of, encode, palette_of, swapped_profile

LIMITS = PictureLimits()
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def pixels_of(content: bytes) -> np.ndarray:
    """Convert to PNG and read its pixels as H×W×4."""
    converted = convert_to_png(content, all_frames=False, limits=LIMITS, svg_renderer="resvg")
    assert converted.original_format == "bmp"
    with Image.open(io.BytesIO(converted.frames[0])) as image:
        return np.asarray(image.convert("RGBA"))


@pytest.mark.parametrize(
    ("bits", "row"),
    [(1, b"\x40\x00\x00\x00"), (2, b"\x10\x00\x00\x00"), (4, b"\x01\x00\x00\x00"), (8, b"\x00\x01\x00\x00")],
)
def test_every_palette_depth_is_read(bits: int, row: bytes) -> None:
    """One, two, four and eight bits a pixel look their colours up in the palette."""
    pixels = pixels_of(bmp_of((3, 1), bits, row, palette=palette_of(RED, BLUE)))
    assert pixels[0, :, :3].tolist() == [list(RED), list(BLUE), list(RED)]


@pytest.mark.parametrize("entries", [1, 3])
def test_a_palette_of_odd_size_is_read(entries: int) -> None:
    """A palette too short leaves black, and one longer than the depth allows loses its surplus."""
    pixels = pixels_of(bmp_of((2, 1), 1, b"\x40\x00\x00\x00", palette=palette_of(*(WHITE,) * entries)))
    assert pixels[0, :, 0].tolist() == [255, 0 if entries == 1 else 255]


def test_pixels_said_to_begin_in_the_palette_leave_it_whole() -> None:
    """Where the pixels begin does not cut the palette, as old writers and other decoders have it."""
    content = bytearray(bmp_of((1, 1), 8, b"", palette=palette_of(RED, (0, 0, 1))))
    struct.pack_into("<I", content, 10, 14 + 40 + 4)
    assert pixels_of(bytes(content))[0, 0, :3].tolist() == [0, 0, 1]


@pytest.mark.parametrize(("compression", "row"), [(0, b"\x01\x00\x00\x00"), (0, b"\x01"), (1, b"\x01\x01\x00\x01")])
def test_pixels_that_end_the_file_behind_the_palette_begin_there(compression: int, row: bytes) -> None:
    """Some writers forget the palette when they say where the pixels begin; the file's size tells."""
    content = bytearray(bmp_of((1, 1), 8, row, compression=compression, palette=palette_of(BLUE, RED)))
    struct.pack_into("<I", content, 10, 14 + 40)
    assert pixels_of(bytes(content))[0, 0].tolist() == [*RED, 255]


def test_a_palette_of_more_than_256_colours_loses_its_surplus() -> None:
    """Eight bits can mean 256 colours, and the file may bring more."""
    pixels = pixels_of(bmp_of((2, 1), 8, b"\x00\xff\x00\x00", palette=palette_of(*[RED] * 255, *[BLUE] * 45)))
    assert pixels[0, :, :3].tolist() == [list(RED), list(BLUE)]


@pytest.mark.parametrize("header_bytes", [12, 16, 20, 36, 40, 48, 64, 124])
def test_every_header_is_read(header_bytes: int) -> None:
    """The headers of OS/2 and of Windows give the same picture."""
    palette = bytes((0, 0, 255, 255, 0, 0)) if header_bytes == 12 else palette_of(RED, BLUE)
    content = bmp_of((2, 1), 8, b"\x00\x01\x00\x00", palette=palette, header_bytes=header_bytes)
    assert pixels_of(content)[0, :, :3].tolist() == [list(RED), list(BLUE)]


@pytest.mark.parametrize(
    ("bits", "masks", "stored", "expected"),
    [
        (16, (0xF800, 0x07E0, 0x001F), 0xF800, (255, 0, 0, 255)),
        (16, (0xF00, 0xF0, 0xF, 0xF000), 0x8F00, (255, 0, 0, 136)),
        (32, (0xFFE00000, 0x1FFC00, 0x3FF), 0x1FFC00, (0, 255, 0, 255)),
        (32, (0xFF, 0xFF00, 0xFF0000), 0x102030, (48, 32, 16, 255)),
    ],
)
def test_any_bit_fields_are_read(bits: int, masks: tuple[int, ...], stored: int, expected: tuple[int, ...]) -> None:
    """Channels lie wherever the masks say, however many bits they have."""
    row = struct.pack("<H" if bits == 16 else "<I", stored).ljust(4, b"\x00")
    content = bmp_of((1, 1), bits, row, compression=3, masks=masks, header_bytes=56 if len(masks) == 4 else 40)
    assert tuple(pixels_of(content)[0, 0].tolist()) == expected
    assert probe(content, LIMITS).has_transparency == (len(masks) == 4)


def test_alpha_that_is_zero_everywhere_means_none() -> None:
    """Writers that know no alpha leave it 0; the picture shows all the same."""
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    content = bmp_of((2, 1), 32, bytes((1, 2, 3, 0)) * 2, compression=3, masks=masks, header_bytes=56)
    assert pixels_of(content)[0].tolist() == [[3, 2, 1, 255]] * 2


def test_unused_bits_are_not_alpha() -> None:
    """The fourth byte of plain 32-bit pixels says nothing."""
    assert pixels_of(bmp_of((1, 1), 32, bytes((1, 2, 3, 7))))[0, 0].tolist() == [3, 2, 1, 255]


def test_rows_may_run_from_the_top() -> None:
    """A negative height turns the order of rows."""
    rows = bytes((0, 0, 0, 0, 1, 0, 0, 0))
    assert pixels_of(bmp_of((1, -2), 8, rows, palette=palette_of(RED, BLUE)))[:, 0, :3].tolist() == [
        list(RED),
        list(BLUE),
    ]


def test_runs_of_eight_bits_leave_skipped_pixels_clear() -> None:
    """A run, a literal, a skip and the end of the picture; what no run covers is transparent."""
    runs = bytes((2, 1, 0, 3, 1, 0, 1, 0, 0, 0, 0, 2, 1, 0, 1, 0, 0, 1))
    pixels = pixels_of(bmp_of((5, 2), 8, runs, compression=1, palette=palette_of(RED, BLUE)))
    assert pixels[1].tolist() == [[*colour, 255] for colour in (BLUE, BLUE, BLUE, RED, BLUE)]
    assert pixels[0].tolist() == [[0, 0, 0, 0], [*RED, 255], *[[0, 0, 0, 0]] * 3]


def test_runs_of_four_bits_alternate() -> None:
    """A run of four-bit pixels takes turns between the halves of its byte, and its surplus is dropped."""
    runs = bytes((5, 0x01, 0, 0, 0, 4, 0x10, 0x10, 0, 1))
    pixels = pixels_of(bmp_of((4, 2), 4, runs, compression=2, palette=palette_of(RED, BLUE)))
    assert pixels[1, :, 0].tolist() == [255, 0, 255, 0]
    assert pixels[0, :, 0].tolist() == [0, 255, 0, 255]


def test_what_runs_beyond_the_edge_does_not_enter_the_next_row() -> None:
    """A run longer than its row leaves the row above it untouched."""
    runs = bytes((7, 1, 0, 1))
    pixels = pixels_of(bmp_of((4, 2), 8, runs, compression=1, palette=palette_of(RED, BLUE)))
    assert pixels[:, :, 3].tolist() == [[0] * 4, [255] * 4]


def test_runs_of_three_bytes_are_read() -> None:
    """OS/2's RLE24 repeats whole colours."""
    runs = bytes((2, 255, 0, 0, 1, 0, 0, 255, 0, 1))
    pixels = pixels_of(bmp_of((3, 1), 24, runs, compression=4, header_bytes=64))
    assert pixels[0, :, :3].tolist() == [list(BLUE), list(BLUE), list(RED)]


@pytest.mark.parametrize("name", ["jpeg", "png"])
def test_an_embedded_picture_is_shown(name: str) -> None:
    """A BMP may be the shell of a JPEG or PNG of its size, and of no other size."""
    inner = Image.new("RGB", (16, 12), (200, 60, 30))
    coded = encode(inner, name)
    content = bmp_of((16, 12), 0, coded, compression={"jpeg": 4, "png": 5}[name])
    difference = pixels_of(content)[..., :3].astype(int) - np.asarray(inner)
    assert np.abs(difference).max() <= 3
    with pytest.raises(UnreadableImage, match="16x13"):
        pixels_of(bmp_of((16, 13), 0, coded, compression={"jpeg": 4, "png": 5}[name]))


def test_an_embedded_profile_is_applied() -> None:
    """A profile that exchanges red and green shows in the colours."""
    profile = swapped_profile()
    header = bytearray(bmp_of((1, 1), 24, b"\x00\x00\xff\x00", header_bytes=124, tail=profile))
    header[70:74] = b"DEBM"
    struct.pack_into("<II", header, 126, 124 + 4, len(profile))
    red, green = pixels_of(bytes(header))[0, 0, :2].tolist()
    assert red < 200
    assert green > 240


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bmp_of((4, 4), 8, bytes(15), palette=palette_of(RED)), "truncated"),
        (bmp_of((4, 4), 8, bytes((4, 0)), compression=1, palette=palette_of(RED)), "truncated"),
        (bmp_of((4, 4), 24, bytes((4, 0)), compression=1), "can't be"),
        (bmp_of((-4, 4), 24, bytes(64)), "can't be"),
        (bmp_of((4, 4), 48, bytes(96)), "can't be"),
        (bmp_of((4, 4), 8, bytes(16), palette=palette_of(RED))[:40], "truncated"),
    ],
)
def test_a_bmp_that_cannot_be_is_refused(content: bytes, words: str) -> None:
    """Missing pixels and headers that contradict themselves are told, never guessed at."""
    with pytest.raises(UnreadableImage, match=words):
        pixels_of(content)


@pytest.mark.parametrize(
    ("bits", "step"), [(8, b"\x00\x02\x00\x00"), (4, b"\x00\x03\x00\x00"), (8, b"\x01\x01\x00\x02\x00\x00")]
)
def test_a_flood_of_escapes_costs_little_more_than_its_bytes(bits: int, step: bytes) -> None:
    """Moves, short literals and single runs in turn are drawn without an array for each."""
    content, pixels = step * 60_000 + b"\x00\x01", bytearray(1000)
    begun = time.process_time()
    for number in range(60_000):
        pixels[number % 500 : number % 500 + 3] = content[number : number + 3]
    plain = time.process_time() - begun
    begun = time.process_time()
    decode_runs(content, 1000, 1000, bits)
    assert time.process_time() - begun < 25 * plain

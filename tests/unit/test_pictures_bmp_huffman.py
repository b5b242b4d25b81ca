"""BMPs of OS/2 coded as faxes are, written code by code."""

import io
import time

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, TiffImagePlugin

from imgapi.errors import ImageTooLarge, UnreadableImage
from imgapi.pictures.bmp_huffman import decode_huffman
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.resize import resize
from pictures import bmp_of, decode, palette_of

RED, BLUE = (255, 0, 0), (0, 0, 255)

EOL = "000000000001"
# ITU-T T.4, tables 2 and 3, of the runs that are drawn here.
WHITE = {0: "00110101", 1: "000111", 2: "0111", 3: "1000", 4: "1011", 5: "1100", 64: "11011"}
BLACK = {0: "0000110111", 1: "010", 2: "11", 3: "10", 4: "011", 5: "0011", 64: "0000001111"}
# Five pixels a row, in stored order.
ROWS = [(5,), (0, 5), (1, 3, 1), (2, 3)]
SHOWN = [[0, 0, 1, 1, 1], [0, 1, 1, 1, 0], [1] * 5, [0] * 5]


def coded(runs: tuple[int, ...]) -> str:
    """Code the runs of a row, white first."""
    return "".join((BLACK if number % 2 else WHITE)[run] for number, run in enumerate(runs))


def packed(bits: str) -> bytes:
    """Pack bits, the first one highest."""
    return bytes(int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8))


def fax_of(bits: str, *, header_bytes: int = 64, height: int = 4) -> bytes:
    """Write a BMP five pixels wide whose white is red and whose black is blue."""
    palette = palette_of(RED, BLUE)
    return bmp_of((5, height), 1, packed(bits), compression=3, palette=palette, header_bytes=header_bytes)


def shown_by(content: bytes) -> list[list[tuple[int, ...]]]:
    """Convert to PNG and read its pixels: RGB."""
    converted = convert_to_png(content, all_frames=False, limits=PictureLimits(), svg_renderer="resvg")
    pixels = np.asarray(decode(converted.frames[0]).convert("RGB"))
    return [[tuple(pixel) for pixel in row] for row in pixels.tolist()]


@pytest.mark.parametrize("header_bytes", [20, 36, 40, 48, 64])
def test_runs_of_two_colours_are_read(header_bytes: int) -> None:
    """White is the first colour and black the second, rows run upwards, and any header with a coding field will do."""
    content = fax_of("".join(EOL + coded(row) for row in ROWS) + EOL * 6, header_bytes=header_bytes)
    assert shown_by(content) == [[BLUE if black else RED for black in row] for row in SHOWN]


@pytest.mark.parametrize(
    "bits",
    [
        "".join(map(coded, ROWS)),
        "".join(map(coded, ROWS)) + EOL * 6,
        "".join(coded(row) + EOL for row in ROWS),
        "".join("0" * 40 * number + EOL + coded(row) for number, row in enumerate(ROWS)),
        EOL + coded(ROWS[0]) + "".join(map(coded, ROWS[1:])),
    ],
    ids=["none", "at the page's end", "after rows", "filled up", "once"],
)
def test_end_of_line_codes_are_no_must(bits: str) -> None:
    """Rows end where they are full, with end-of-line codes or without."""
    assert decode_huffman(packed(bits), 5, 4).tolist() == SHOWN[::-1]


def test_every_run_is_read_as_libtiff_writes_it() -> None:
    """Runs of either colour from 0 to 2600 pixels come back, those of several make-up codes too."""
    width = 2600
    columns, lengths = np.arange(width), np.arange(width + 1)[:, None]
    drawn: npt.NDArray[np.bool_] = np.concatenate((columns < lengths, columns >= lengths))
    out = io.BytesIO()
    Image.fromarray(drawn).save(out, "TIFF", compression="group3")
    with TiffImagePlugin.TiffImageFile(io.BytesIO(out.getvalue())) as written:
        tags = dict(written.tag_v2)
    content, rows, read = out.getvalue(), tags[278], list[npt.NDArray[np.uint8]]()
    for offset, count in zip(tags[273], tags[279], strict=True):
        left = len(drawn) - len(read) * rows
        read.append(decode_huffman(content[offset : offset + count], width, min(rows, left)))
    # What Pillow calls 1 is T.4's black where the file says that black is zero.
    assert np.array_equal(np.concatenate(read), drawn == bool(tags[262]))


def test_one_of_them_is_resized() -> None:
    """It is scaled as any other BMP."""
    content = fax_of(coded((5,)) * 4)
    resized = resize(content, min_dim=8, max_dim=10, limits=PictureLimits(), svg_renderer="resvg")
    assert (resized.width, resized.height) == (10, 8)


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        ("", "truncated"),
        ("0" * 800, "truncated"),
        ("".join(map(coded, ROWS))[:-10], "truncated"),
        ("".join(EOL + coded(row) for row in ROWS[:3]), "truncated"),
        ("".join(EOL + coded(row) for row in ROWS[:3]) + EOL * 6, "truncated"),
        (coded(ROWS[0]) + "00000001" * 8, "damaged: row 1"),
        (coded((3, 4)) + coded(ROWS[1]) * 9, "damaged: row 0"),
        (EOL + coded((1, 2)) + (EOL + coded(ROWS[1])) * 9, "damaged: row 0"),
        (WHITE[64] * 9 + coded(ROWS[1]) * 9, "damaged: row 0"),
    ],
)
def test_rows_that_cannot_be_are_refused(bits: str, words: str) -> None:
    """Missing rows, bits that are no code and runs that are no row are told, never guessed at."""
    with pytest.raises(UnreadableImage, match=words):
        shown_by(fax_of(bits))


@pytest.mark.parametrize("compression", [1, 2, 5])
def test_other_codings_of_one_bit_are_refused(compression: int) -> None:
    """Nothing else but faxes codes pixels of one bit."""
    content = bmp_of((5, 1), 1, bytes(4), compression=compression, palette=palette_of(RED, BLUE), header_bytes=64)
    with pytest.raises(UnreadableImage, match="can't be"):
        shown_by(content)


@pytest.mark.parametrize("bits", ["0" * 8, WHITE[0] + BLACK[0], coded((1, 1))], ids=["fill", "empty runs", "pixels"])
def test_a_flood_of_codes_ends_soon(bits: str) -> None:
    """Twenty mebibytes of codes that lead nowhere, or of the shortest runs, hold a worker for seconds at most."""
    once = packed(bits * 8)
    begun = time.process_time()
    with pytest.raises((EOFError, ImageTooLarge)):
        decode_huffman(once * (20 * 1024 * 1024 // len(once)), 16_000, 3000)
    assert time.process_time() - begun < 30

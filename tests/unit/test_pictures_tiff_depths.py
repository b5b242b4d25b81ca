"""TIFF samples of depths that are no whole number of bytes, or more than any picture needs."""

import tracemalloc

import pytest

from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.tiff_pages import page_at
from imgapi.pictures.tiff_samples import decode
from pictures import read_deep, tiff_of

LIMITS = PictureLimits()
UNSIGNED, SIGNED, FLOAT = 1, 2, 3


def shown(numbers: list[int], bits: int, sample_format: int) -> list[int]:
    """Give what a row of grey samples, packed bit by bit, becomes."""
    packed = "".join(f"{number & ((1 << bits) - 1):0{bits}b}" for number in numbers)
    row = int(packed.ljust(-(-len(packed) // 8) * 8, "0"), 2).to_bytes(-(-len(packed) // 8), "big")
    content = tiff_of([row], samples=1, bits=bits, order=">", size=(len(numbers), 1), tags={339: (sample_format,)})
    frame = convert_to_png(content, all_frames=False, limits=LIMITS, svg_renderer="resvg").frames[0]
    return [int(value) for value in read_deep(frame)[0]]


@pytest.mark.parametrize("bits", [24, 31, 32, 33, 40, 48, 63, 64])
def test_deep_samples_keep_their_upper_bits(bits: int) -> None:
    """White stays white and half of it half, with more than 32 bits too."""
    assert shown([0, 1 << (bits - 1), (1 << bits) - 1], bits, UNSIGNED) == [0, 32_768, 65_535]


@pytest.mark.parametrize("bits", [10, 12, 24, 33, 40, 64])
def test_signed_samples_below_zero_are_black(bits: int) -> None:
    """So they are at 16 and 32 bits, whatever their depth; the largest number is white."""
    highest = (1 << (bits - 1)) - 1
    numbers = shown([-highest - 1, -1, 0, highest], bits, SIGNED)
    assert numbers == [0, 0, 0, 65_535]


@pytest.mark.parametrize(
    ("bits", "sample_format"), [(12, UNSIGNED), (12, SIGNED), (16, SIGNED), (16, FLOAT), (32, FLOAT)]
)
def test_samples_are_brought_to_16_bits_in_little_memory(bits: int, sample_format: int) -> None:
    """Nothing as wide as numbers are reckoned with is held for all of them, but what was read and what comes out."""
    side, samples = 1000, 3
    row = bytes(side * samples * bits // 8)
    content = tiff_of([row * side], samples=samples, bits=bits, size=(side, side), tags={339: (sample_format,)})
    page = page_at(content, 0)
    decode(content, page)
    tracemalloc.start()
    try:
        decode(content, page)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 11 * side * side * samples

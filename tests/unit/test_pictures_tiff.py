"""TIFFs of kinds that Pillow has no mode for, written byte by byte."""

import io
import math
import struct
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from imgapi.errors import ImageTooLarge, UnreadableImage
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.probe import probe
from imgapi.pictures.resize import resize
from pictures import decode, draw_photo, encode, read_deep, tiff_of

LIMITS = PictureLimits()
WIDTH, HEIGHT = 20, 12
Numbers = npt.NDArray[np.generic]


def numbers_of(samples: int, highest: int = 65_535) -> npt.NDArray[np.int64]:
    """Draw samples, H×W×samples, that use the whole range."""
    rows, columns, channels = np.mgrid[0:HEIGHT, 0:WIDTH, 0:samples]
    return np.asarray((rows * 911 + columns * 3307 + channels * 20_011 + 17) * 7 % (highest + 1), np.int64)


def rows_of(numbers: Numbers, kind: str) -> bytes:
    """Write samples row by row in a NumPy number format."""
    return numbers.astype(kind).tobytes()


def converted(content: bytes, page: int = 0) -> npt.NDArray[np.uint16]:
    """Convert and read the PNG's samples as they are, RGB or RGBA first."""
    result = convert_to_png(content, all_frames=page > 0, limits=LIMITS, svg_renderer="resvg")
    return read_deep(result.frames[page])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_16_bit_colours_come_through_exactly(order: str, big: bool) -> None:  # noqa: FBT001 - two layouts
    """Strips of 16-bit RGB, in either byte order and in BigTIFF, keep every bit."""
    numbers = numbers_of(3)
    strips = [rows_of(numbers[at : at + 5], f"{order}u2") for at in (0, 5, 10)]
    content = tiff_of(strips, samples=3, bits=16, order=order, big=big, tags={278: (5,)})
    assert np.array_equal(converted(content), numbers)
    assert probe(content, LIMITS).deep


@pytest.mark.parametrize("samples", [3, 4])
def test_planes_of_16_bits_are_put_together(samples: int) -> None:
    """Samples that lie in planes of their own end in their channels."""
    numbers = numbers_of(samples)
    planes = [rows_of(numbers[..., at], "<u2") for at in range(samples)]
    content = tiff_of(planes, samples=samples, bits=16, tags={284: (2,)} | ({338: (2,)} if samples == 4 else {}))
    assert np.array_equal(converted(content), numbers)


@pytest.mark.parametrize("predicted", [False, True])
def test_tiles_of_16_bits_are_put_together(predicted: bool) -> None:  # noqa: FBT001 - with and without
    """Tiles reach beyond the edge, and each is differenced for itself."""
    numbers = numbers_of(3).astype(np.uint16)
    padded = np.zeros((16, 32, 3), np.uint16)
    padded[:HEIGHT, :WIDTH] = numbers
    tiles = [padded[:, :16], padded[:, 16:]]
    if predicted:
        tiles = [np.concatenate((tile[:, :1], np.diff(tile, axis=1)), axis=1) for tile in tiles]
    tags = {322: (16,), 323: (16,), 317: (2 if predicted else 1,)}
    content = tiff_of([rows_of(tile, "<u2") for tile in tiles], samples=3, bits=16, tags=tags)
    assert np.array_equal(converted(content), numbers)


@pytest.mark.parametrize("predicted", [False, True])
def test_floats_from_0_to_1_fill_the_range(predicted: bool) -> None:  # noqa: FBT001 - with and without
    """Float colours are scaled to 16 bits, with the floating point predictor as well."""
    numbers = numbers_of(3)
    floats = (numbers / 65_535).astype(">f4")
    block = floats.tobytes()
    if predicted:
        split = np.frombuffer(block, np.uint8).reshape(HEIGHT, WIDTH * 3, 4).transpose(0, 2, 1).reshape(HEIGHT, -1, 3)
        block = np.concatenate((split[:, :1], np.diff(split, axis=1)), axis=1).astype(np.uint8).tobytes()
    content = tiff_of([block], samples=3, bits=32, order=">", tags={339: (3, 3, 3), 317: (3 if predicted else 1,)})
    assert np.abs(converted(content).astype(int) - numbers).max() <= 1


@pytest.mark.parametrize(("white", "samples"), [(1, 3), (1, 4), (255, 3), (65_535, 3), (1, 1), (255, 1), (65_535, 1)])
def test_float_colours_brighter_than_white_darken_nothing(white: int, samples: int) -> None:
    """Light beyond 1 is clipped and leaves the rest as it is; brighter colours are 8 or 16 bits by their average."""
    numbers = numbers_of(samples)
    floats = (numbers / 65_535 * white).astype("<f4")
    floats[0, 0, :3] = 3 * white if white == 1 else white
    numbers[0, 0, :3] = 65_535
    content = tiff_of(
        [floats.tobytes()], samples=samples, bits=32, tags={339: (3,)} | ({338: (2,)} if samples == 4 else {})
    )
    assert np.abs(converted(content).astype(int).reshape(numbers.shape) - numbers).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("samples", [1, 3])
def test_odd_depths_are_scaled(bits: int, samples: int) -> None:
    """Samples packed bit by bit become 16 bits, black staying black and white staying white."""
    highest = (1 << bits) - 1
    numbers = numbers_of(samples, highest)
    numbers[0, 0], numbers[0, 1] = 0, highest
    rows = []
    for row in numbers.reshape(HEIGHT, -1):
        joined = "".join(f"{number:0{bits}b}" for number in row)
        rows.append(int(joined.ljust(-(-len(joined) // 8) * 8, "0"), 2).to_bytes(-(-len(joined) // 8), "big"))
    shown = converted(tiff_of([b"".join(rows)], samples=samples, bits=bits)).reshape(numbers.shape)
    assert np.abs(shown - numbers * 65_535 / highest).max() <= 1


def test_premultiplied_colours_are_divided() -> None:
    """Colours stored times their alpha come out as they were before."""
    pixel = np.full((HEIGHT, WIDTH, 4), (10_000, 20_000, 30_000, 32_768), np.uint16)
    shown = converted(tiff_of([rows_of(pixel, "<u2")], samples=4, bits=16, tags={338: (1,)}))
    assert np.abs(shown[0, 0].astype(int) - (20_000, 40_000, 59_999, 32_768)).max() <= 1


def test_white_may_be_zero() -> None:
    """Grey that counts the other way round is turned, alpha is not."""
    pixel = np.full((HEIGHT, WIDTH, 2), (65_535, 40_000), np.uint16)
    content = tiff_of([rows_of(pixel, "<u2")], samples=2, bits=16, tags={262: (0,), 338: (2,)})
    assert converted(content)[0, 0].tolist() == [0, 0, 0, 40_000]


@pytest.mark.parametrize("orientation", [3, 6, 7])
def test_orientation_is_applied(orientation: int) -> None:
    """A 16-bit page is turned as its tag says, and so is its size."""
    numbers = numbers_of(3)
    content = tiff_of([rows_of(numbers, "<u2")], samples=3, bits=16, tags={274: (orientation,)})
    turned = {3: np.rot90(numbers, 2), 6: np.rot90(numbers, 3), 7: np.rot90(numbers[:, ::-1], 3)}[orientation]
    assert np.array_equal(converted(content), turned)
    small = resize(content, min_dim=1, max_dim=10, limits=LIMITS, svg_renderer="resvg")
    assert (small.width > small.height) == (orientation == 3)


def test_a_page_pillow_cannot_read_does_not_hide_the_others() -> None:
    """With a page of 10 bits first, an 8-bit page after it is still split off."""
    first = tiff_of([bytes(HEIGHT * 75)], samples=3, bits=10)
    second = encode(draw_photo(8, 6), "tiff")
    content = _chained(first, second)
    assert probe(content, LIMITS).frames == 2
    assert not converted(content).any()
    result = convert_to_png(content, all_frames=True, limits=LIMITS, svg_renderer="resvg")
    with Image.open(io.BytesIO(result.frames[1])) as page:
        assert np.array_equal(np.asarray(page.convert("RGB")), np.asarray(decode(second)))


def _chained(first: bytes, second: bytes) -> bytes:
    """Put a file behind another, every offset in it moved, and let the first one's page point to it."""
    shift = len(first)
    (directory,) = struct.unpack_from("<I", first, 4)
    (count,) = struct.unpack_from("<H", first, directory)
    moved = bytearray(second)
    (at,) = struct.unpack_from("<I", second, 4)
    (entries,) = struct.unpack_from("<H", second, at)
    for place in range(at + 2, at + 2 + 12 * entries, 12):
        tag, kind, values = struct.unpack_from("<HHI", second, place)
        if tag == 273 or values * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8}[kind] > 4:
            struct.pack_into("<I", moved, place + 8, struct.unpack_from("<I", second, place + 8)[0] + shift)
    joined = bytearray(first) + moved
    struct.pack_into("<I", joined, directory + 2 + 12 * count, at + shift)
    return bytes(joined)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_that_counts_from_white_is_turned(order: str) -> None:
    """Where 0 is white, 16-bit grey is the other way round too."""
    numbers = numbers_of(1)
    content = tiff_of([rows_of(numbers, f"{order}u2")], samples=1, bits=16, order=order, tags={262: (0,)})
    assert np.array_equal(converted(content), 65_535 - numbers[..., 0])


@pytest.mark.parametrize("kind", ["f2", "f4"])
@pytest.mark.parametrize("predicted", [False, True])
def test_grey_floats_fill_the_range(kind: str, predicted: bool) -> None:  # noqa: FBT001 - with and without
    """Grey floats, halves as well, are scaled to 16 bits in either way of storing them, most significant byte first."""
    numbers = numbers_of(1)
    size = int(kind[1])
    block = (numbers / 65_535).astype(f">{kind}").tobytes()
    if predicted:
        split = np.frombuffer(block, np.uint8).reshape(HEIGHT, WIDTH, size).transpose(0, 2, 1).reshape(HEIGHT, -1)
        block = np.concatenate((split[:, :1], np.diff(split, axis=1)), axis=1).astype(np.uint8).tobytes()
    tags = {339: (3,), 317: (3 if predicted else 1,)}
    content = tiff_of([block], samples=1, bits=size * 8, order=">", tags=tags)
    assert np.abs(converted(content).astype(int) - numbers[..., 0]).max() <= (32 if kind == "f2" else 1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [16, 32])
def test_signed_grey_comes_as_it_is_in_either_byte_order(order: str, bits: int) -> None:
    """Signed measurements that fit 16 bits keep their values, and those below zero are 0."""
    numbers = numbers_of(1, 32_767) - 5000
    content = tiff_of([rows_of(numbers, f"{order}i{bits // 8}")], samples=1, bits=bits, order=order, tags={339: (2,)})
    assert np.array_equal(converted(content), np.maximum(numbers[..., 0], 0))


@pytest.mark.parametrize("samples", [1, 3, 4])
def test_big_tiff_of_either_byte_order_is_read(samples: int) -> None:
    """BigTIFF with the most significant byte first, which Pillow does not know, keeps its 8 bits."""
    numbers = numbers_of(samples, 255)
    tags = {338: (2,)} if samples == 4 else {}
    content = tiff_of([rows_of(numbers, "u1")], samples=samples, bits=8, order=">", big=True, tags=tags)
    result = convert_to_png(content, all_frames=False, limits=LIMITS, svg_renderer="resvg").frames[0]
    assert np.array_equal(np.asarray(decode(result)).reshape(HEIGHT, WIDTH, samples), numbers)
    assert probe(content, LIMITS).mode == {1: "L", 3: "RGB", 4: "RGBA"}[samples]


@pytest.mark.parametrize("bits", [1, 4])
def test_palette_with_the_lowest_bit_first_is_read(bits: int) -> None:
    """Indices whose bytes are filled from the lowest bit mean the same colours."""
    numbers = numbers_of(1, (1 << bits) - 1)[..., 0].astype(np.uint8)
    rows = np.unpackbits(numbers[..., None], axis=2)[..., 8 - bits :].reshape(HEIGHT, -1)
    table = tuple(257 * (at * step + 3) for step in (1, 5, 9) for at in range(1 << bits))
    block = np.packbits(rows, axis=1, bitorder="little").tobytes()
    content = tiff_of([block], samples=1, bits=bits, tags={262: (3,), 266: (2,), 320: table}, packed_already=True)
    content = content.replace(struct.pack("<HHII", 259, 4, 1, 8), struct.pack("<HHII", 259, 4, 1, 1))
    expected = np.dstack([numbers.astype(int) * step + 3 for step in (1, 5, 9)])
    assert np.array_equal(converted(content), expected)


@pytest.mark.parametrize("order", ["<", ">"])
def test_palette_of_65536_colours_is_read(order: str) -> None:
    """Sixteen bits an index, as a few scanners write."""
    indices = numbers_of(1)
    colours = np.arange(65_536)[:, None] * np.array([1, 7, 31]) % 65_536
    tags = {262: (3,), 320: tuple(colours.T.reshape(-1).tolist())}
    content = tiff_of([rows_of(indices, order + "u2")], samples=1, bits=16, order=order, tags=tags)
    assert np.array_equal(converted(content), colours[indices[..., 0]])


def _packed_luminances(numbers: list[list[int]], size: int) -> bytes:
    """Pack numbers of some bytes as LogL and LogLuv do: for each row the highest bytes, then the next ones."""
    pieces = []
    for row in numbers:
        for place in range(size):
            column = bytes(number >> 8 * (size - 1 - place) & 255 for number in row)
            pieces.append(bytes([len(column)]) + column)
    return b"".join(pieces)


@pytest.mark.parametrize(("photometric", "compression"), [(32844, 34676), (32845, 34676), (32845, 34677)])
@pytest.mark.parametrize("orientation", [1, 3])
def test_luminances_are_shown(photometric: int, compression: int, orientation: int) -> None:
    """LogL and LogLuv, 24 and 32 bits, look as libtiff shows them: white at 1, a curve of square roots."""
    luminance = [[(column + 1) / WIDTH for column in range(WIDTH)]] * HEIGHT
    # Chromaticities of equal energy: 86 and 194 of 410, by the formulas of the format.
    if photometric == 32844:
        block = _packed_luminances([[int(256 * (math.log2(light) + 64)) for light in row] for row in luminance], 2)
    elif compression == 34676:
        words = [[int(256 * (math.log2(light) + 64)) << 16 | 86 << 8 | 194 for light in row] for row in luminance]
        block = _packed_luminances(words, 4)
    else:
        words = [[int(64 * (math.log2(light) + 12)) << 14 | 8000 for light in row] for row in luminance]
        block = b"".join(word.to_bytes(3, "big") for row in words for word in row)
    samples = 1 if photometric == 32844 else 3
    tags = {262: (photometric,), 259: (compression,), 274: (orientation,), 339: (2,) * samples}
    content = tiff_of([block], samples=samples, bits=16, tags=tags, packed_already=True)
    shown = converted(content) >> 8
    shown = shown if orientation == 1 else shown[::-1, ::-1]
    if compression == 34676:
        expected = np.sqrt(np.array(luminance)) * 255
        assert np.abs(shown.reshape(HEIGHT, WIDTH, samples) - expected[..., None]).max() <= 4
    else:
        assert (np.diff(shown.astype(int).sum(axis=2), axis=1) >= 0).all()
        assert np.ptp(shown) > 200


def test_palette_with_alpha_keeps_it() -> None:
    """A second sample beside an index is its alpha, and a palette's colours are never multiplied by it."""
    numbers = np.stack((numbers_of(1, 3)[..., 0], numbers_of(2, 255)[..., 1]), axis=-1)
    colours = [(65_535, 0, 257), (0, 65_535, 257), (0, 257, 65_535), (514, 257, 0)]
    table = tuple(colours[at][channel] if at < 4 else 0 for channel in range(3) for at in range(256))
    content = tiff_of([rows_of(numbers, "u1")], samples=2, bits=8, tags={262: (3,), 320: table, 338: (1,)})
    expected = np.array(colours)[numbers[..., 0]] // 257
    assert probe(content, LIMITS).has_transparency
    assert np.array_equal(converted(content), np.dstack((expected, numbers[..., 1])))


def test_grey_with_alpha_in_planes_keeps_it() -> None:
    """Alpha in a plane of its own is read, and not taken for 0."""
    numbers = numbers_of(2, 255)
    planes = [rows_of(numbers[..., at], "u1") for at in range(2)]
    content = tiff_of(planes, samples=2, bits=8, tags={284: (2,), 338: (2,)})
    grey, alpha = numbers[..., 0], numbers[..., 1]
    assert np.array_equal(converted(content), np.dstack((grey, grey, grey, alpha)))


@pytest.mark.parametrize("bits", [8, 16])
def test_inks_with_alpha_become_colours_with_alpha(bits: int) -> None:
    """CMYK with a fifth sample is turned by the plain formula, at its own depth."""
    highest = (1 << bits) - 1
    numbers = numbers_of(5, highest)
    content = tiff_of([rows_of(numbers, f"<u{bits // 8}")], samples=5, bits=bits, tags={262: (5,), 338: (2,)})
    light = (highest - numbers[..., :4]) / highest
    expected = np.dstack((np.rint(light[..., :3] * light[..., 3:] * highest), numbers[..., 4]))
    difference = np.abs(converted(content) - expected)
    assert difference[..., 3].max() == 0
    assert difference.max() <= 1
    resized = resize(content, min_dim=1, max_dim=10, limits=LIMITS, svg_renderer="resvg")
    assert (resized.width, resized.height) == (10, 6)


def test_16_bit_inks_keep_16_bits() -> None:
    """CMYK of 16 bits without a profile ends as RGB of 16 bits."""
    numbers = numbers_of(4)
    content = tiff_of([rows_of(numbers, "<u2")], samples=4, bits=16, tags={262: (5,)})
    light = (65_535 - numbers) / 65_535
    expected = np.rint(light[..., :3] * light[..., 3:] * 65_535)
    assert np.abs(converted(content) - expected).max() <= 1


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("tiled", [False, True])
def test_webp_inside_is_read(samples: int, tiled: bool) -> None:  # noqa: FBT001 - two layouts
    """Strips and tiles that are lossless WebP files each are put together."""
    numbers = numbers_of(samples, 255).astype(np.uint8)
    padded = np.zeros((16, 32, samples), np.uint8)
    padded[:HEIGHT, :WIDTH] = numbers
    parts = [padded[:, :16], padded[:, 16:]] if tiled else [numbers[:8], numbers[8:]]
    blocks = []
    for part in parts:
        out = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(part)).save(out, "WEBP", lossless=True, exact=True)
        blocks.append(out.getvalue())
    tags: dict[int, tuple[int, ...]] = {322: (16,), 323: (16,)} if tiled else {278: (8,)}
    tags |= {259: (50_001,)} | ({338: (2,)} if samples == 4 else {})
    content = tiff_of(blocks, samples=samples, bits=8, tags=tags, packed_already=True)
    assert np.array_equal(converted(content), numbers)


@pytest.mark.parametrize(
    ("tags", "blocks"),
    [({278: (12,)}, [b"RIFF\x00\x00\x00\x00WEBP"]), ({278: (6,)}, [b"one of two"]), ({278: (4,)}, [])],
)
def test_damaged_webp_inside_is_refused(tags: dict[int, tuple[int, ...]], blocks: list[bytes]) -> None:
    """Blocks that are no WebP, or too few of them, are the caller's error."""
    content = tiff_of(blocks, samples=3, bits=8, tags=tags | {259: (50_001,)}, packed_already=True)
    with pytest.raises(UnreadableImage):
        converted(content)


@pytest.mark.parametrize(
    ("tags", "blocks"),
    [({}, [b"short"]), ({322: (0,), 323: (0,)}, [bytes(9)]), ({278: (1,)}, [bytes(9)])],
)
def test_a_directory_that_contradicts_itself_is_refused(tags: dict[int, tuple[int, ...]], blocks: list[bytes]) -> None:
    """Blocks without size and pixels that are not there are the caller's error."""
    with pytest.raises(UnreadableImage):
        converted(tiff_of(blocks, samples=3, bits=16, tags=tags))


def said_twice(first: int, then: int, *, kinds: tuple[int, int] = (4, 4)) -> bytes:
    """Write a TIFF whose directory says its width twice, in number formats of TIFF 6.0."""
    content = tiff_of([bytes(240)], samples=1, bits=8, tags={256: (first,), 65_000: (then,)})
    # Only the second entry is known by its number alone.
    place = content.index(struct.pack("<HHI", 65_000, 4, 1))
    content = content[:place] + struct.pack("<HH", 256, kinds[1]) + content[place + 4 :]
    return content.replace(struct.pack("<HHI", 256, 4, 1), struct.pack("<HHI", 256, kinds[0], 1), 1)


def test_a_width_said_twice_is_the_first() -> None:
    """The size that is checked and told is the one that is decoded."""
    assert probe(said_twice(20, 5), LIMITS).width == 20
    resized = resize(said_twice(20, 5), min_dim=1, max_dim=100, limits=LIMITS, svg_renderer="resvg")
    assert (resized.width, resized.height) == (20, 12)
    with pytest.raises(ImageTooLarge):
        probe(said_twice(60_000, 20), LIMITS)


def test_a_width_in_a_kind_that_decoders_skip_is_none() -> None:
    """They would take the next, which may be larger than what was checked."""
    with pytest.raises(UnreadableImage):
        probe(said_twice(20, 60_000, kinds=(18, 4)), LIMITS)


def test_what_samples_are_is_read_where_it_lies() -> None:
    """Three sample formats don't fit into their entry, and where they lie, which stands there instead, is no format."""
    numbers = numbers_of(3, 255)
    block = zlib.compress(rows_of(numbers, "u1"))

    def with_formats(surplus: int) -> tuple[bytes, int]:
        content = tiff_of([block + bytes(surplus)], samples=3, bits=8, tags={339: (0x10001, 1)}, packed_already=True)
        place = content.index(struct.pack("<HHI", 339, 4, 2))
        (offset,) = struct.unpack_from("<I", content, place + 8)
        return content[:place] + struct.pack("<HHI", 339, 3, 3) + content[place + 8 :], offset

    # 6 would be complex numbers, as far as the lower half of the offset goes.
    _, offset = with_formats(0)
    content, offset = with_formats(65_536 + 6 - offset)
    assert offset == 65_536 + 6
    assert np.array_equal(converted(content), numbers)

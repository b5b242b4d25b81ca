"""PNGs whose damage costs no pixel are taken, and what comes out satisfies a strict reader."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from imgapi.errors import UnreadableImage
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.png_sound import has_whole_pixels, read_sound
from imgapi.pictures.probe import probe
from imgapi.pictures.resize import resize
from pictures import draw_photo, encode, exif_bytes, png_chunk

LIMITS = PictureLimits()
SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 0, 0, 0, 0))
PIXELS = zlib.compress(b"\x00\x10\x20")
IDAT, IEND = png_chunk(b"IDAT", PIXELS), png_chunk(b"IEND", b"")
# Of colours, which fits no grey.
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def spoilt(chunk: bytes) -> bytes:
    """Give a chunk a wrong CRC."""
    return chunk[:-4] + bytes((chunk[-4] ^ 1,)) + chunk[-3:]


def convert(content: bytes, *, all_frames: bool = False) -> tuple[bytes, ...]:
    """Convert, frames as PNG."""
    return convert_to_png(content, all_frames=all_frames, limits=LIMITS, svg_renderer="resvg").frames


def names_of(content: bytes) -> list[bytes]:
    """List the names of a PNG's chunks after checking each CRC."""
    names, offset = [], 8
    while offset < len(content):
        (length,) = struct.unpack_from(">I", content, offset)
        body = content[offset + 4 : offset + 8 + length]
        assert struct.unpack_from(">I", content, offset + 8 + length)[0] == zlib.crc32(body)
        names.append(body[:4])
        offset += 12 + length
    return names


@pytest.mark.parametrize(
    "content",
    [
        SIGNATURE + HEADER + spoilt(png_chunk(b"tEXt", b"a\x00b")) + IDAT + IEND,
        SIGNATURE + HEADER + spoilt(png_chunk(b"gAMA", b"\x00\x00\xb1\x8f")) + IDAT + IEND,
        SIGNATURE + HEADER + png_chunk(b"gAMA", b"") + png_chunk(b"cHRM", b"abc") + IDAT + IEND,
        SIGNATURE + HEADER + png_chunk(b"zTXt", b"a\x00\x00" + zlib.compress(bytes(9_000_000))) + IDAT + IEND,
        SIGNATURE + HEADER + IDAT + struct.pack(">I", 99) + b"te\x00t",
        SIGNATURE + HEADER + IDAT,
        SIGNATURE + HEADER + IDAT[:-2],
        SIGNATURE + HEADER + IDAT + IEND + b"trailing garbage",
        SIGNATURE + HEADER + png_chunk(b"PLTE", b"abc") + IDAT + IEND,
        SIGNATURE + HEADER + png_chunk(b"gAMA", struct.pack(">I", 1 << 31)) + IDAT + IEND,
        SIGNATURE + HEADER + png_chunk(b"gAMA", struct.pack(">I", 15)) + IDAT + IEND,
        SIGNATURE + HEADER + png_chunk(b"cHRM", struct.pack(">8I", *[31_270] * 7, 0)) + IDAT + IEND,
        SIGNATURE + HEADER + png_chunk(b"cHRM", struct.pack(">8I", *[31_270] * 6, 60_000, 60_000)) + IDAT + IEND,
        SIGNATURE + HEADER + png_chunk(b"cHRM", struct.pack(">8I", *[31_270] * 7, 9_000_000)) + IDAT + IEND,
        SIGNATURE + HEADER + png_chunk(b"iCCP", b"x\x00\x00nonsense") + IDAT + IEND,
        SIGNATURE + HEADER + png_chunk(b"iCCP", b"x\x00\x00" + zlib.compress(SRGB)) + IDAT + IEND,
        SIGNATURE + HEADER + png_chunk(b"acTL", b"\xff" * 8) + IDAT + IEND,
        SIGNATURE + HEADER + png_chunk(b"IDAT", PIXELS[:3]) + png_chunk(b"IDAT", PIXELS[3:]) + IEND,
    ],
)
def test_damage_beside_the_pixels_is_passed_over(content: bytes) -> None:
    """Pixels are read, and the file that comes out has only sound chunks in an order that is allowed."""
    (png,) = convert(content)
    with Image.open(io.BytesIO(png)) as image:
        assert np.asarray(image).tolist() == [[0x10, 0x20]]
    assert names_of(png) == [b"IHDR", b"sRGB", b"IDAT", b"IEND"]
    kept = resize(content, min_dim=1, max_dim=10, limits=LIMITS, svg_renderer="resvg")
    assert kept.content == png


@pytest.mark.parametrize(
    "content",
    [
        SIGNATURE + HEADER + spoilt(IDAT) + IEND,
        SIGNATURE + spoilt(HEADER) + IDAT + IEND,
        SIGNATURE + HEADER + IEND,
        SIGNATURE + HEADER + IDAT[:-11],
        SIGNATURE + HEADER + png_chunk(b"IDAT", zlib.compress(b"\x00\x10")) + IEND,
        SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 3, 0, 0, 0, 0)) + IDAT + IEND,
        SIGNATURE + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 3, 0, 0, 0)) + IDAT + IEND,
    ],
)
def test_damage_to_the_pixels_is_refused(content: bytes) -> None:
    """A wrong checksum of pixels, missing ones, and a header that can't be are the caller's error."""
    for convert_or_resize in (
        lambda: convert(content),
        lambda: resize(content, min_dim=1, max_dim=10, limits=LIMITS, svg_renderer="resvg"),
    ):
        with pytest.raises(UnreadableImage):
            convert_or_resize()


@pytest.mark.parametrize(
    "content", [SIGNATURE + HEADER + spoilt(IDAT) + IDAT + IEND, SIGNATURE + spoilt(HEADER) + IDAT]
)
def test_a_wrong_checksum_is_told(content: bytes) -> None:
    """The caller learns that the file is damaged, even if sound pixels follow."""
    with pytest.raises(UnreadableImage, match="checksum"):
        convert(content)


def test_a_stream_that_decoders_tolerate_is_written_anew() -> None:
    """Surplus pixels and bytes behind the stream would fail a strict reader, so they don't come out."""
    for stream in (zlib.compress(b"\x00\x10\x20\x00\x00"), PIXELS + b"more"):
        content = SIGNATURE + HEADER + png_chunk(b"IDAT", stream) + IEND
        assert not has_whole_pixels(read_sound(content))
        (png,) = convert(content)
        assert has_whole_pixels(read_sound(png))


def test_palette_entries_that_no_pixel_can_mean_are_cut() -> None:
    """A palette longer than the depth allows, and more transparencies than colours, come out cut."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 1, 3, 0, 0, 0))
    palette = png_chunk(b"PLTE", bytes(range(9))) + png_chunk(b"tRNS", b"\x05\x06\x07")
    content = SIGNATURE + header + palette + png_chunk(b"IDAT", zlib.compress(b"\x00\x40")) + IEND
    (png,) = convert(content)
    sound = dict(read_sound(png).ancillary)
    assert (bytes(sound[b"PLTE"]), bytes(sound[b"tRNS"])) == (bytes(range(6)), b"\x05\x06")


@pytest.mark.parametrize("largest", [2, 1])
def test_bits_that_no_sample_has_make_nothing_less_clear(largest: int) -> None:
    """Of a clear colour the bits beyond the depth count for nothing, and don't come out."""
    content = SIGNATURE + HEADER + png_chunk(b"tRNS", b"\xff\x10") + IDAT + IEND
    resized = resize(content, min_dim=1, max_dim=largest, limits=LIMITS, svg_renderer="resvg").content
    for png in (resized, *convert(content)):
        with Image.open(io.BytesIO(png)) as image:
            alpha = np.asarray(image.convert("RGBA"))[..., 3]
        assert alpha.tolist() in ([[0, 255]], [[128]])
        assert b"\xff\x10" not in png


def test_an_orientation_behind_the_pixels_is_not_applied() -> None:
    """A picture is turned by what precedes its pixels only, as browsers turn it."""
    turned = png_chunk(b"eXIf", exif_bytes(6).removeprefix(b"Exif\x00\x00"))
    early, late = (probe(SIGNATURE + HEADER + chunks + IEND, LIMITS) for chunks in (turned + IDAT, IDAT + turned))
    assert (early.width, early.height, early.orientation) == (1, 2, 6)
    assert (late.width, late.height, late.orientation) == (2, 1, 1)


def test_gamma_is_kept_when_pixels_are_resampled() -> None:
    """A PNG that says what its samples mean still says it after resizing, and is not called sRGB."""
    plain = encode(draw_photo(40, 30), "png")
    content = plain[:33] + png_chunk(b"gAMA", struct.pack(">I", 100_000)) + plain[33:]
    small = resize(content, min_dim=1, max_dim=20, limits=LIMITS, svg_renderer="resvg")
    assert b"gAMA" in names_of(small.content)
    assert b"sRGB" not in names_of(small.content)


def apng(*, numbers: tuple[int, ...] = (0, 1, 2, 3, 4), stated: int = 3) -> bytes:
    """Write three frames of 2x1, grey 16, 32 and 48, the first in IDAT."""
    control = struct.pack(">IIIIHHBB", 2, 1, 0, 0, 1, 10, 0, 0)
    parts = [SIGNATURE, HEADER, png_chunk(b"acTL", struct.pack(">II", stated, 0))]
    parts += [png_chunk(b"fcTL", struct.pack(">I", numbers[0]) + control), _flat(b"IDAT", b"", 16)]
    for at, grey in ((1, 32), (3, 48)):
        parts.append(png_chunk(b"fcTL", struct.pack(">I", numbers[at]) + control))
        parts.append(_flat(b"fdAT", struct.pack(">I", numbers[at + 1]), grey))
    return b"".join([*parts, IEND])


def _flat(name: bytes, number: bytes, grey: int) -> bytes:
    return png_chunk(name, number + zlib.compress(bytes((0, grey, grey))))


@pytest.mark.parametrize(
    ("numbers", "stated", "greys"),
    [
        ((0, 1, 2, 3, 4), 3, [16, 32, 48]),
        ((0, 1, 2, 3, 4), 2, [16, 32]),
        ((0, 1, 2, 3, 4), 9, [16, 32, 48]),
        ((0, 1, 2, 9, 10), 3, [16, 32]),
        ((0, 2, 1, 3, 4), 3, [16]),
        ((5, 6, 7, 8, 9), 3, [16]),
        ((0, 1, 2, 3, 4), 0, [16]),
        ((0, 1, 2, 3, 4), 1 << 31, [16]),
    ],
)
def test_an_animation_counts_as_far_as_it_is_consistent(
    numbers: tuple[int, ...], stated: int, greys: list[int]
) -> None:
    """A wrong sequence number or number of frames ends an animation, and never costs the still picture."""
    content = apng(numbers=numbers, stated=stated)
    assert probe(content, LIMITS).frames == len(greys)
    shown = []
    for png in convert(content, all_frames=True):
        with Image.open(io.BytesIO(png)) as image:
            shown.append(image.convert("L").getpixel((0, 0)))
    assert shown == greys
    kept = resize(content, min_dim=1, max_dim=10, limits=LIMITS, svg_renderer="resvg")
    assert probe(kept.content, LIMITS).frames == len(greys)


def test_pixels_far_beyond_the_header_are_not_unfolded() -> None:
    """A few bytes that unfold to 64 MB behind an 8 by 8 header cost no memory, and the picture is read as it is."""
    image = encode(Image.new("RGB", (8, 8), (10, 20, 30)), "PNG")
    bomb = zlib.compress(bytes(64_000_000))
    content = image[:33] + png_chunk(b"IDAT", bomb) + png_chunk(b"IEND", b"")
    tracemalloc.start()
    try:
        assert not has_whole_pixels(read_sound(content))
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert len(convert(content)) == 1

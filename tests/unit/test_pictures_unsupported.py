"""Kinds of JPEG and TIFF that are refused by name, and the rare ones that are read, written byte by byte."""

import struct

import numpy as np
import pytest

from imgapi.errors import UnsupportedFormat
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.outcomes import Resized
from imgapi.pictures.resize import resize
from pictures import decode, draw_photo, encode, tiff_of

LIMITS = PictureLimits()
SIDE = 64
BASELINE, PROGRESSIVE, LOSSLESS, ARITHMETIC, PROGRESSIVE_ARITHMETIC = 0xC0, 0xC2, 0xC3, 0xC9, 0xCA
JFIF = (0xE0, b"JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")
ADOBE_YCC, ADOBE_RGB = ((0xEE, b"Adobe\x00\x64\x00\x00\x00\x00" + bytes((transform,))) for transform in (1, 0))


def segment(marker: int, body: bytes) -> bytes:
    """Write one segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg_of(
    frame: int,
    *,
    bits: int = 8,
    components: int = 1,
    data: bytes = bytes(64),
    leads: tuple[tuple[int, bytes], ...] = (),
) -> bytes:
    """Write a JPEG of one scan, with tables that have the codes 0 and 10: no difference, and one of a bit."""
    identities = range(1, components + 1)
    ends = (
        b"\x00\x00\x00"
        if frame == PROGRESSIVE_ARITHMETIC
        else b"\x01\x00\x00"
        if frame == LOSSLESS
        else b"\x00\x3f\x00"
    )
    listed = b"".join(bytes((identity, 0x11, 0)) for identity in identities)
    selected = b"".join(bytes((identity, 0)) for identity in identities)
    parts = [segment(marker, body) for marker, body in leads]
    parts.append(segment(0xDB, bytes((0, *[1] * 64))))
    parts.append(segment(frame, struct.pack(">BHHB", bits, SIDE, SIDE, components) + listed))
    parts += [segment(0xC4, bytes((kind, 1, 1, *[0] * 14, 0, 1))) for kind in (0x00, 0x10)]
    parts.append(segment(0xDA, bytes((components,)) + selected + ends))
    return b"\xff\xd8" + b"".join(parts) + data + b"\xff\xd9"


def lossless(components: int, *leads: tuple[int, bytes]) -> bytes:
    """Write a lossless JPEG of SIDE×SIDE whose pixels are 128, and 127 from the second one on."""
    codes = "0" * components + "100" * components + "0" * components * (SIDE * SIDE - 2)
    padded = codes.ljust(-(-len(codes) // 8) * 8, "1")
    data = bytes(int(padded[at : at + 8], 2) for at in range(0, len(padded), 8))
    return jpeg_of(LOSSLESS, components=components, data=data.replace(b"\xff", b"\xff\x00"), leads=leads)


def png_of(content: bytes) -> bytes:
    """Convert to PNG."""
    return convert_to_png(content, all_frames=False, limits=LIMITS, svg_renderer="resvg").frames[0]


def resized_to(content: bytes, longest: int) -> Resized:
    """Resize to some longest side."""
    return resize(content, min_dim=1, max_dim=longest, limits=LIMITS, svg_renderer="resvg")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (jpeg_of(0xC1, bits=12), "jpeg picture has 12 bits a sample, which is not taken; save it as a baseline"),
        (jpeg_of(PROGRESSIVE, bits=12), "has 12 bits"),
        (jpeg_of(LOSSLESS, bits=16), "has 16 bits"),
        (jpeg_of(ARITHMETIC, bits=12), "has 12 bits"),
        (jpeg_of(0xC5), "hierarchical"),
        (jpeg_of(BASELINE, leads=((0xDE, bytes((8, 0, 9, 0, 9, 1, 1, 0x11, 0))),)), "hierarchical"),
        (jpeg_of(0xCB), "lossless with arithmetic coding"),
        (jpeg_of(0xF7), "JPEG-LS"),
        (lossless(3, JFIF), "lossless and not RGB"),
        (lossless(3, ADOBE_YCC), "lossless and not RGB"),
    ],
)
def test_jpegs_that_nothing_reads_are_refused_by_name(content: bytes, words: str) -> None:
    """The sentence says what the JPEG is and what to do, and calls it neither damaged nor truncated."""
    for work in (png_of, lambda content: resized_to(content, 8), lambda content: resized_to(content, SIDE)):
        with pytest.raises(UnsupportedFormat, match=words) as refused:
            work(content)
        assert "which is not taken; save it as" in refused.value.message


@pytest.mark.parametrize("frame", [ARITHMETIC, PROGRESSIVE_ARITHMETIC])
def test_arithmetic_coding_is_read(frame: int) -> None:
    """JPEGs with arithmetic coding are pictures like any other: these bits are grey ones."""
    content = jpeg_of(frame, data=b"\xc0")
    for shown in (png_of(content), resized_to(content, SIDE).content, resized_to(content, 8).content):
        assert np.abs(np.asarray(decode(shown), int) - 130).max() < 10


@pytest.mark.parametrize(("components", "leads"), [(1, ()), (1, (JFIF,)), (3, ()), (3, (ADOBE_RGB,))])
def test_lossless_grey_and_rgb_are_read(components: int, leads: tuple[tuple[int, bytes], ...]) -> None:
    """Lossless JPEGs of 8 bits that need no turning of colours are read, passed through and scaled far down."""
    content = lossless(components, *leads)
    for shown in (png_of(content), resized_to(content, SIDE).content):
        pixels = np.asarray(decode(shown)).reshape(SIDE * SIDE, -1)
        assert (pixels[0].tolist(), pixels[1].tolist()) == ([128] * components, [127] * components)
    assert decode(resized_to(content, 6).content).size == (6, 6)


@pytest.mark.parametrize(
    ("compression", "words"),
    [
        (34887, "LERC"),
        (34712, "JPEG 2000"),
        (33005, "JPEG 2000"),
        (50002, "JPEG XL"),
        (52546, "JPEG XL"),
        (34661, "JBIG"),
        (32909, "PixarLog"),
        (12345, "method 12345"),
    ],
)
def test_tiffs_of_foreign_compressions_are_refused_by_name(compression: int, words: str) -> None:
    """The sentence names the compression and says which ones are taken, on any page."""
    foreign = tiff_of([bytes(720)], samples=3, bits=8, tags={259: (compression,)}, packed_already=True)
    for work in (png_of, lambda content: resized_to(content, 8)):
        with pytest.raises(UnsupportedFormat, match=f"{words}, which is not taken; save it with LZW or Deflate"):
            work(foreign)


def test_a_later_page_is_refused_by_name_as_well() -> None:
    """Where all pages are asked for, one of a foreign compression is told; the first one alone is shown."""
    content = bytearray(encode(draw_photo(20, 12), "tiff", save_all=True, append_images=[draw_photo(20, 12)]))
    last = content.rindex(struct.pack("<HHI", 259, 3, 1))
    struct.pack_into("<H", content, last + 8, 34887)
    assert decode(png_of(bytes(content))).size == (20, 12)
    with pytest.raises(UnsupportedFormat, match="LERC"):
        convert_to_png(bytes(content), all_frames=True, limits=LIMITS, svg_renderer="resvg")


@pytest.mark.parametrize(
    ("samples", "tags", "words"),
    [
        (1, {262: (32803,)}, "a camera's raw pixels"),
        (3, {262: (10,)}, r"ITU's L\*a\*b\*"),
        (1, {262: (4,), 258: (1,)}, "a transparency mask"),
        (3, {262: (77,)}, "of photometric interpretation 77"),
        (3, {258: (5, 6, 5)}, "of 5, 6, 5 bits"),
        (1, {258: (64,), 339: (6,)}, "complex numbers"),
        (1, {258: (12,), 259: (7,)}, "of 12 bits in JPEG"),
        (3, {258: (12, 12, 12), 262: (8,)}, r"L\*a\*b\* of 12 bits"),
    ],
)
def test_tiffs_of_foreign_colours_are_refused_by_name(
    samples: int, tags: dict[int, tuple[int, ...]], words: str
) -> None:
    """The sentence says what the pixels are and what is taken in their place."""
    content = tiff_of([bytes(2000)], samples=samples, bits=8, tags=tags)
    with pytest.raises(UnsupportedFormat, match=f"pixels are {words}, which is not taken; save it as RGB or grey"):
        png_of(content)


def test_webp_inside_of_another_kind_is_refused_by_name() -> None:
    """WebP blocks hold RGB of 8 bits and nothing else."""
    content = tiff_of([bytes(240)], samples=1, bits=8, tags={259: (50_001,)}, packed_already=True)
    with pytest.raises(UnsupportedFormat, match="WebP of another kind"):
        png_of(content)

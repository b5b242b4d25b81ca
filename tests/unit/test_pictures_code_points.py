"""Colours that a PNG states by code points (cICP) end as the right sRGB, or stay as they are stated."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from imgapi.pictures.code_points import profile_of
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.png_sound import read_sound
from imgapi.pictures.resize import resize
from pictures import decode, encode, png_chunk, swapped_profile

LIMITS = PictureLimits()
DISPLAY_P3, SRGB, BT_2020, BT_2020_PQ = (12, 13, 0, 1), (1, 13, 0, 1), (9, 1, 0, 1), (9, 16, 0, 1)
BT_470_BG, BT_470_M = (5, 5, 0, 1), (1, 4, 0, 1)
DCI_P3 = (11, 13, 0, 1)
LINEAR, VIDEO_RANGE = (1, 8, 0, 1), (12, 13, 0, 0)
PROFILE = png_chunk(b"iCCP", b"odd\x00\x00" + zlib.compress(swapped_profile()))
SOME_BLUE = (51, 102, 153)


def flat(colour: tuple[int, ...] | int, code_points: tuple[int, ...], more: bytes = b"") -> bytes:
    """Make a PNG of one colour, stated to be of these code points."""
    plain = encode(Image.new("L" if isinstance(colour, int) else "RGB", (8, 6), colour), "png")
    return plain[:33] + png_chunk(b"cICP", bytes(code_points)) + more + plain[33:]


def converted(content: bytes) -> bytes:
    """Convert."""
    return convert_to_png(content, all_frames=False, limits=LIMITS, svg_renderer="resvg").frames[0]


def colour_of(png: bytes) -> list[int]:
    """Read a pixel."""
    pixel: list[int] = np.asarray(decode(png).convert("RGB"))[1, 1].tolist()
    return pixel


def stated(png: bytes) -> list[bytes]:
    """List what a PNG says of its colours."""
    return [name for name, _ in read_sound(png).ancillary]


@pytest.mark.parametrize(
    ("code_points", "colour", "expected"),
    [
        # As the web platform's tests have it.
        (DISPLAY_P3, SOME_BLUE, (27, 104, 157)),
        (BT_2020, (128, 128, 128), (140, 140, 140)),
        (LINEAR, (128, 128, 128), (188, 188, 188)),
        # 0.5 to the power 2.8, in the curve of sRGB.
        (BT_470_BG, (128, 128, 128), (106, 106, 106)),
        (BT_470_M, (128, 128, 128), (129, 129, 129)),
        (SRGB, SOME_BLUE, SOME_BLUE),
    ],
)
def test_code_points_end_as_srgb(
    code_points: tuple[int, ...], colour: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Wide colours and other curves are turned, and nobody turns them again."""
    png = converted(flat(colour, code_points))
    assert np.abs(np.subtract(colour_of(png), expected)).max() <= 2
    assert stated(png) == ([b"cICP"] if code_points == SRGB else [b"sRGB"])


def test_white_of_cinemas_is_white() -> None:
    """Two that share primaries and not their white have the same white, and no other colour, when they are adapted."""
    assert np.abs(np.subtract(colour_of(converted(flat((255, 255, 255), DCI_P3))), 255)).max() <= 1
    assert colour_of(converted(flat(SOME_BLUE, DCI_P3))) != colour_of(converted(flat(SOME_BLUE, DISPLAY_P3)))


@pytest.mark.parametrize("code_points", [BT_2020_PQ, VIDEO_RANGE])
def test_what_has_no_profile_stays_stated(code_points: tuple[int, ...]) -> None:
    """High dynamic range and narrow video ranges come out as they are, with their code points."""
    png = converted(flat(SOME_BLUE, code_points))
    assert tuple(colour_of(png)) == SOME_BLUE
    assert stated(png) == [b"cICP"]


def test_code_points_outrank_a_profile() -> None:
    """A profile beside code points that are understood counts for nothing; beside others it is what is shown."""
    assert tuple(colour_of(converted(flat(SOME_BLUE, SRGB, PROFILE)))) == SOME_BLUE
    red, green, _ = colour_of(converted(flat(SOME_BLUE, BT_2020_PQ, PROFILE)))
    # The profile exchanges the two.
    assert red > green


def test_grey_keeps_its_code_points() -> None:
    """Grey has no primaries to turn."""
    png = converted(flat(77, DISPLAY_P3))
    assert (colour_of(png)[0], stated(png)) == (77, [b"cICP"])


def test_a_scaled_picture_says_what_its_colours_are() -> None:
    """Scaled, samples stay in their colours, which every reader of profiles knows now."""
    scaled = resize(flat(SOME_BLUE, DISPLAY_P3), min_dim=1, max_dim=4, limits=LIMITS, svg_renderer="resvg").content
    assert stated(scaled) == [b"iCCP"]
    assert np.abs(np.subtract(colour_of(converted(scaled)), (27, 104, 157))).max() <= 2


def test_profiles_are_whole() -> None:
    """A profile tells its own length and colour space, and readers name it by its code points."""
    profile = profile_of(bytes(DISPLAY_P3)) or b""
    read = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    assert struct.unpack_from(">I", profile)[0] == len(profile)
    assert read.xcolor_space.strip() == "RGB"
    assert read.profile_description == "cICP 12 13 0 1"

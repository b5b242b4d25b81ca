"""TIFFs of CIE L*a*b*, written byte by byte."""

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.probe import probe
from imgapi.pictures.resize import resize
from pictures import decode, draw_photo, read_deep, swapped_profile, tiff_of

LIMITS = PictureLimits()
CIE, ICC = 8, 9
WIDTH, HEIGHT = 40, 30
Floats = npt.NDArray[np.float64]

# L*, a* and b* under D50, and sRGB of 8 bits, by ICC profiles' own arithmetic (Bruce Lindbloom's calculator).
KNOWN = [
    ((100.0, 0.0, 0.0), (255, 255, 255)),
    ((0.0, 0.0, 0.0), (0, 0, 0)),
    ((53.585, 0.0, 0.0), (128, 128, 128)),
    ((54.29, 80.81, 69.89), (255, 0, 0)),
    ((87.82, -79.27, 80.99), (0, 255, 0)),
    ((29.57, 68.30, -112.03), (0, 0, 255)),
]


def stored(lab: Floats, depth: int, photometric: int) -> npt.NDArray[np.int64]:
    """Write L*, a* and b* as their photometric has them at a depth."""
    step = 1 if depth == 8 else 256
    white = 255 if depth == 8 else 65_535 if photometric == CIE else 0xFF00
    opponents = lab[..., 1:] * step if photometric == CIE else (lab[..., 1:] + 128) * step
    return np.rint(np.dstack((lab[..., :1] * (white / 100), opponents))).astype(np.int64) % (1 << depth)


def lab_tiff(lab: Floats, depth: int, photometric: int, *, order: str = "<", **tags: tuple[int, ...]) -> bytes:
    """Write a TIFF of L*, a* and b*; `alpha` is put beside them."""
    numbers = stored(lab, depth, photometric)
    named: dict[int, tuple[int, ...]] = {262: (photometric,)}
    if "alpha" in tags:
        numbers = np.dstack((numbers, np.full(numbers.shape[:2], tags["alpha"][0])))
        named[338] = (2,)
    if "orientation" in tags:
        named[274] = tags["orientation"]
    if "profile" in tags:
        named[34675] = tags["profile"]
    samples = numbers.shape[2]
    blocks = [numbers.astype(f"{order}u{depth // 8}").tobytes()]
    if "planes" in tags:
        blocks = [numbers[..., at].astype(f"{order}u{depth // 8}").tobytes() for at in range(samples)]
        named[284] = (2,)
    size = (numbers.shape[1], numbers.shape[0])
    return tiff_of(blocks, samples=samples, bits=depth, order=order, tags=named, size=size)


def photo_in_lab() -> tuple[Image.Image, Floats]:
    """Draw a photo, and turn it into L*, a* and b* of 8 bits by LittleCMS."""
    original = draw_photo(WIDTH, HEIGHT)
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(original, to_lab)
    assert lab is not None
    # Pillow's raw mode is that of the TIFF: a* and b* are signed.
    samples = np.frombuffer(lab.tobytes("raw", "LAB"), np.uint8).reshape(HEIGHT, WIDTH, 3)
    return original, np.dstack((samples[..., :1] / 2.55, samples[..., 1:].view(np.int8).astype(float)))


def png_of(content: bytes) -> bytes:
    """Convert to PNG."""
    return convert_to_png(content, all_frames=False, limits=LIMITS, svg_renderer="resvg").frames[0]


@pytest.mark.parametrize("photometric", [CIE, ICC])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", [False, True])
def test_known_colours_come_out_right(photometric: int, order: str, planes: bool) -> None:  # noqa: FBT001 - two layouts
    """White, black, grey and sRGB's corners are within what two decimals of L*a*b* tell, at 16 bits."""
    lab = np.array([[colour for colour, _ in KNOWN]])
    content = lab_tiff(lab, 16, photometric, order=order, **({"planes": (2,)} if planes else {}))
    shown = read_deep(png_of(content))[0] / 257
    assert np.abs(shown - [rgb for _, rgb in KNOWN]).max() < 1
    assert probe(content, LIMITS).deep


@pytest.mark.parametrize("photometric", [CIE, ICC])
@pytest.mark.parametrize("depth", [8, 16])
def test_a_photo_comes_back(depth: int, photometric: int) -> None:
    """A photo that a colour management turned into L*a*b* comes back within the rounding of its 8 bits."""
    original, lab = photo_in_lab()
    shown = np.asarray(decode(png_of(lab_tiff(lab, depth, photometric))).convert("RGB"), int)
    assert np.abs(shown - np.asarray(original)).mean() < 1.5
    assert np.abs(shown - np.asarray(original)).max() < 20


def test_the_depth_is_kept() -> None:
    """16 bits a sample end as 16 bits, so that a dark ramp keeps its steps; 8 bits end as 8."""
    ramp = np.zeros((1, 200, 3))
    ramp[0, :, 0] = np.linspace(5, 6, 200)
    assert len(np.unique(read_deep(png_of(lab_tiff(ramp, 16, CIE))))) > 150
    assert png_of(lab_tiff(ramp, 16, CIE))[24] == 16
    assert png_of(lab_tiff(ramp, 8, ICC))[24] == 8


@pytest.mark.parametrize(("depth", "photometric"), [(16, CIE), (16, ICC), (8, CIE), (8, ICC)])
def test_alpha_stays(depth: int, photometric: int) -> None:
    """A fourth sample is alpha, and no colour."""
    content = lab_tiff(np.full((2, 3, 3), (100.0, 0.0, 0.0)), depth, photometric, alpha=(64 << depth - 8,))
    assert decode(png_of(content)).convert("RGBA").getpixel((1, 1)) == (255, 255, 255, 64)
    assert probe(content, LIMITS).has_transparency


@pytest.mark.parametrize("photometric", [CIE, ICC])
def test_colours_out_of_reach_are_clipped(photometric: int) -> None:
    """What no screen shows becomes the nearest that one does, and never wraps around."""
    lab = np.array([[(100.0, 127.0, -127.0), (0.0, -127.0, 127.0), (50.0, 127.0, 127.0)]])
    shown = read_deep(png_of(lab_tiff(lab, 16, photometric)))[0] / 257
    assert shown[0, [0, 2]].min() > 250
    assert shown[1].max() < 60
    assert shown[2, 0] > 250
    assert shown[2, 2] < 5


def test_a_profile_of_other_colours_is_not_applied() -> None:
    """L*a*b* says what it means by itself: an RGB profile beside it changes and follows nothing."""
    lab = np.array([[colour for colour, _ in KNOWN]])
    bare = png_of(lab_tiff(lab, 16, CIE))
    assert png_of(lab_tiff(lab, 16, CIE, profile=tuple(swapped_profile()))) == bare
    small = png_of(lab_tiff(lab, 8, ICC, profile=tuple(swapped_profile())))
    assert small == png_of(lab_tiff(lab, 8, ICC))


def test_it_is_turned_and_resized() -> None:
    """Orientation and scaling go as with any TIFF."""
    _, lab = photo_in_lab()
    content = lab_tiff(lab, 16, CIE, orientation=(6,))
    resized = resize(content, min_dim=1, max_dim=20, limits=LIMITS, svg_renderer="resvg")
    assert (resized.width, resized.height, resized.content[24]) == (15, 20, 16)

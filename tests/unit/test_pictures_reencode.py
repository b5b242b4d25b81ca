"""A picture made here, written in the format its caller would rather have."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from imgapi.errors import ImageTooLarge
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.reencode import reencode
from pictures import decode, deep_png, draw_cutout, draw_photo, encode, exif_bytes

LIMITS = PictureLimits()


def rewritten(content: bytes, wanted: str) -> Image.Image:
    """The picture in another format, decoded."""
    return decode(reencode(content, wanted, limits=LIMITS))


@pytest.mark.parametrize("wanted", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("given", ["PNG", "JPEG", "WEBP"])
def test_pixels_stay_what_they_are(given: str, wanted: str) -> None:
    """Any of the three formats becomes any other, of the same size and nearly the same colours."""
    content = encode(draw_photo(320, 240), given)
    before = decode(content).convert("RGB")
    picture = rewritten(content, wanted)
    assert (picture.format, picture.size) == (wanted.upper(), before.size)
    difference = np.abs(np.asarray(picture.convert("RGB")).astype(int) - np.asarray(before)).mean()
    assert difference < (0.01 if wanted == "png" else 5)


def test_alpha_is_kept_where_there_is_room() -> None:
    """WebP keeps alpha; JPEG, which has none, shows the picture on white."""
    cutout = encode(draw_cutout(60, 40), "PNG")
    kept = rewritten(cutout, "webp")
    assert kept.mode == "RGBA"
    assert np.array_equal(np.asarray(kept)[:, :, 3], np.asarray(draw_cutout(60, 40))[:, :, 3])
    flat = rewritten(cutout, "jpeg")
    assert flat.mode == "RGB"
    assert np.asarray(flat)[:4, :4].min() > 250


def test_clear_palette_colour_is_white_in_jpeg() -> None:
    """Transparency of a palette counts as well."""
    palette = Image.new("P", (16, 16), 0)
    palette.putpalette([10, 20, 30] * 4)
    out = io.BytesIO()
    palette.save(out, "PNG", transparency=0)
    assert np.asarray(rewritten(out.getvalue(), "jpeg")).min() > 250


@pytest.mark.parametrize("wanted", ["jpeg", "webp"])
def test_deep_grey_keeps_its_brightness(wanted: str) -> None:
    """16-bit samples become the 8-bit ones of the same brightness, not their lowest bits."""
    ramp = (np.arange(256, dtype=np.uint16) * 256)[None, :].repeat(16, axis=0)
    picture = rewritten(encode(Image.fromarray(ramp), "PNG"), wanted).convert("L")
    assert np.abs(np.asarray(picture).astype(int) - np.arange(256)).max() <= 4


@pytest.mark.parametrize("wanted", ["jpeg", "webp"])
def test_deep_colours_and_single_bits_are_written(wanted: str) -> None:
    """Samples of 16 bits or of one become what the format has."""
    assert rewritten(deep_png(), wanted).size == (24, 16)
    bits = rewritten(encode(Image.new("1", (8, 8), 1), "PNG"), wanted)
    assert np.asarray(bits.convert("L")).min() > 250


def test_metadata_go_and_orientation_is_applied() -> None:
    """A picture that is stored turned is written upright, without its EXIF."""
    turned = encode(draw_photo(40, 20), "JPEG", exif=exif_bytes(orientation=6))
    picture = rewritten(turned, "webp")
    assert picture.size == (20, 40)
    assert not picture.getexif()


def test_grey_profile_stays_with_grey_samples() -> None:
    """A grey JPEG keeps the profile that says what its samples mean."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = profile[:16] + b"GRAY" + profile[20:]
    content = encode(Image.new("L", (16, 16), 120), "PNG", icc_profile=grey)
    assert rewritten(content, "jpeg").info.get("icc_profile") == grey


def test_more_bytes_than_a_request_may_have_are_fine() -> None:
    """What was made here may be larger than what is let in."""
    content = encode(draw_photo(64, 48), "PNG")
    small = PictureLimits(max_bytes=10)
    assert decode(reencode(content, "webp", limits=small)).size == (64, 48)


def test_webp_has_an_end() -> None:
    """A side of 16384 pixels is one too many for WebP, and the sentence says so."""
    with pytest.raises(ImageTooLarge, match="16383"):
        reencode(encode(Image.new("L", (16_384, 1)), "PNG"), "webp", limits=LIMITS)

"""Making a picture fit an upstream model, and leaving one alone that fits."""

import numpy as np
import pytest
from PIL import Image

from imgapi.errors import ImageTooLarge, InvalidParameter
from imgapi.pictures.bounds import Bounds, misfits
from imgapi.pictures.fit import fit
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.outcomes import Fitted
from imgapi.pictures.probe import probe
from pictures import animated_gif, decode, deep_png, draw_cutout, draw_photo, encode, exif_bytes, photo, svg_bytes

LIMITS = PictureLimits()
FORMATS = frozenset({"jpeg", "png"})
BOUNDS = Bounds(FORMATS, min_side=256, max_side=1024, max_bytes=2_000_000)


def run(content: bytes, bounds: Bounds = BOUNDS) -> Fitted:
    """Fit, and check that the result tells the truth and fits itself."""
    fitted = fit(content, bounds, LIMITS)
    info = probe(fitted.content, LIMITS)
    assert misfits(info, bounds) == ()
    assert (info.format, info.width, info.height) == (fitted.format, fitted.width, fitted.height)
    assert decode(fitted.content).size == (fitted.width, fitted.height)
    return fitted


@pytest.mark.parametrize("name", ["jpeg", "png"])
def test_what_fits_is_untouched(name: str) -> None:
    """A picture within the bounds is passed on byte for byte."""
    content = encode(draw_photo(300, 300), name)
    fitted = run(content)
    assert fitted.content is content
    assert fitted.changes == ()


def test_small_pictures_are_enlarged_and_large_ones_reduced() -> None:
    """The shorter side reaches the minimum, the longer one the maximum; the change names both sizes."""
    assert run(encode(draw_photo(150, 100), "jpeg")).changes == ("resized 150x100 to 384x256",)
    assert run(encode(draw_photo(2048, 1024), "jpeg")).changes == ("resized 2048x1024 to 1024x512",)


@pytest.mark.parametrize("name", ["gif", "webp", "bmp", "tiff"])
def test_other_formats_are_converted(name: str) -> None:
    """What the model does not read becomes a JPEG or a PNG."""
    fitted = run(encode(draw_photo(300, 300), name))
    assert fitted.changes == (f"converted {name} to {fitted.format}",)


def test_every_change_is_told_in_order() -> None:
    """Frames, orientation, format and size each have their words."""
    assert run(animated_gif(3)).changes == ("first of 3 frames", "converted gif to png", "resized 40x30 to 341x256")
    turned = run(encode(draw_photo(300, 400), "jpeg", exif=exif_bytes(6)))
    assert turned.changes == ("oriented",)
    assert (turned.width, turned.height) == (400, 300)
    assert b"SecretCamera" not in turned.content


def test_transparency_is_kept_or_laid_onto_white() -> None:
    """Alpha ends as PNG where the model takes it, on white where not."""
    content = encode(draw_cutout(200, 200), "png")
    assert decode(run(content).content).mode == "RGBA"
    opaque = Bounds(FORMATS, 256, 1024, 2_000_000, alpha=False)
    flat = run(content, opaque)
    assert "flattened onto white" in flat.changes
    assert np.asarray(decode(flat.content).convert("RGB"))[0, 0].min() > 250
    only_jpeg = Bounds(frozenset({"jpeg"}), 256, 1024, 2_000_000)
    assert "flattened onto white" in run(content, only_jpeg).changes


def test_an_alpha_channel_that_hides_nothing_is_dropped() -> None:
    """An RGBA picture without a clear pixel is treated as opaque, and no flattening is claimed."""
    content = encode(draw_photo(300, 300).convert("RGBA"), "png")
    fitted = run(content, Bounds(FORMATS, 256, 1024, 2_000_000, alpha=False))
    assert "flattened onto white" not in fitted.changes
    assert decode(fitted.content).mode == "RGB"


def test_odd_pixels_become_eight_bit_rgb() -> None:
    """CMYK and 16-bit pictures are rewritten although size and format fit."""
    cmyk = run(encode(photo("chelsea").convert("CMYK"), "jpeg"))
    assert decode(cmyk.content).mode == "RGB"
    assert cmyk.changes == ("rewritten as 8-bit jpeg",)
    assert decode(run(deep_png(300, 300)).content).mode == "RGB"
    deep_grey = Image.fromarray(np.full((300, 300), 0x8123, np.uint16))
    assert decode(run(encode(deep_grey, "png")).content).getpixel((9, 9)) == 0x81


def test_bytes_are_brought_below_the_limit() -> None:
    """Format, then quality, then size fall until the bytes fit."""
    content = encode(photo("astronaut"), "png")
    assert run(content, Bounds(FORMATS, 256, 1024, 150_000)).changes == ("converted png to jpeg",)
    jpeg = encode(photo("astronaut"), "jpeg", quality=98)
    assert run(jpeg, Bounds(FORMATS, 256, 1024, 60_000)).changes == ("recompressed to fit 60000 bytes",)
    smaller = run(content, Bounds(FORMATS, 128, 1024, 20_000))
    assert smaller.width < 512
    with pytest.raises(ImageTooLarge, match="can't be brought below 2000 bytes"):
        run(content, Bounds(FORMATS, 256, 1024, 2_000))


def test_bytes_are_brought_above_a_minimum() -> None:
    """A flat picture that encodes to almost nothing is written larger; the pixels stay the same."""
    content = encode(Image.new("RGB", (300, 300), (9, 9, 9)), "png")
    fitted = run(content, Bounds(FORMATS, 256, 1024, 2_000_000, min_bytes=20_000))
    assert len(fitted.content) >= 20_000
    assert (fitted.width, fitted.height) == (300, 300)


def test_proportions_that_fit_nowhere_are_refused() -> None:
    """A panorama no size of which fits is the caller's to crop."""
    with pytest.raises(InvalidParameter, match="2000x100 pixels; with these proportions"):
        run(encode(draw_photo(2000, 100), "jpeg"))
    with pytest.raises(InvalidParameter, match="at most 3: crop it"):
        run(encode(draw_photo(1000, 260), "jpeg"), Bounds(FORMATS, 256, 1024, 2_000_000, max_aspect=3))


def test_svg_is_rendered_at_the_size_it_needs() -> None:
    """A small SVG becomes a PNG of the smallest accepted side."""
    fitted = run(svg_bytes(attributes='viewBox="0 0 120 80"'))
    assert fitted.changes == ("converted svg to png", "resized 120x80 to 384x256")


def test_misfits_name_limit_and_value() -> None:
    """Every reason says what is there and what is accepted."""
    bounds = Bounds(frozenset({"jpeg"}), 512, 600, 1_000, min_bytes=900_000, max_aspect=1.2, alpha=False)
    info = probe(encode(draw_cutout(700, 300), "png", exif=exif_bytes(6)), LIMITS)
    reasons = " / ".join(misfits(info, bounds))
    for words in (
        "format is png, accepted are jpeg",
        "300x700 pixels, each side must have at least 512",
        "a side may have at most 600",
        "2.33 times the shorter, accepted is 1.2",
        "at most 1000",
        "at least 900000",
        "orientation is 6",
        "transparency",
    ):
        assert words in reasons

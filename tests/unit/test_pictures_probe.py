"""What a picture is, told by its header alone."""

import io
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgapi.errors import CallerError, ImageTooLarge, UnreadableImage, UnsupportedFormat
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.probe import probe
from imgapi.pictures.signatures import sniff_format
from pictures import (
    animated_gif,
    deep_png,
    draw_cutout,
    draw_photo,
    encode,
    exif_bytes,
    photo_bytes,
    png_claiming,
    svg_bytes,
)

LIMITS = PictureLimits()
RASTERS = ("jpeg", "png", "webp", "tiff", "gif", "bmp")


@pytest.mark.parametrize("name", RASTERS)
def test_each_raster_is_told_by_content(name: str) -> None:
    """Format, size, frames and byte count are right for every raster format."""
    content = encode(draw_photo(64, 48), name)
    info = probe(content, LIMITS)
    assert (info.format, info.width, info.height, info.frames) == (name, 64, 48, 1)
    assert info.size_bytes == len(content)
    assert info.orientation == 1
    assert not info.has_transparency


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff"])
def test_size_is_told_after_orientation(name: str, orientation: int) -> None:
    """Orientations 5 to 8 exchange width and height, whatever container holds the EXIF."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    info = probe(encode(draw_photo(40, 20), name, exif=exif), LIMITS)
    assert info.orientation == orientation
    assert (info.width, info.height) == ((20, 40) if orientation >= 5 else (40, 20))


@pytest.mark.parametrize("name", ["png", "webp"])
def test_alpha_is_seen_in_the_header(name: str) -> None:
    """A picture with an alpha channel says so."""
    info = probe(encode(draw_cutout(40, 20), name), LIMITS)
    assert info.has_transparency
    assert info.mode == "RGBA"


def test_key_colours_are_seen() -> None:
    """The tRNS chunk of a palette and the colour key of a GIF count as transparency."""
    palette = draw_photo(20, 20).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    assert probe(encode(palette, "png", transparency=0), LIMITS).has_transparency
    assert probe(encode(palette, "gif", transparency=0), LIMITS).has_transparency
    assert not probe(encode(palette, "png"), LIMITS).has_transparency


def test_frames_are_counted() -> None:
    """Frames of GIF, WebP and APNG and pages of TIFF are counted exactly."""
    frames = [draw_photo(32, 24, seed) for seed in range(4)]
    assert probe(animated_gif(5), LIMITS).frames == 5
    for name in ("webp", "png", "tiff"):
        content = encode(frames[0], name, save_all=True, append_images=frames[1:])
        assert probe(content, LIMITS).frames == 4


def test_big_tiff_and_both_byte_orders_are_read() -> None:
    """BigTIFF is told like TIFF."""
    info = probe(encode(draw_photo(30, 20), "tiff", big_tiff=True), LIMITS)
    assert (info.format, info.width, info.height) == ("tiff", 30, 20)


def test_deep_samples_are_told() -> None:
    """A 16-bit PNG is told from an 8-bit one."""
    assert probe(deep_png(), LIMITS).deep
    assert not probe(encode(draw_photo(8, 8), "png"), LIMITS).deep


@pytest.mark.parametrize("name", ["china", "flower", "astronaut", "chelsea", "coffee", "rocket"])
def test_real_photos_are_read(name: str) -> None:
    """Photographs as cameras and tools wrote them have the size Pillow decodes."""
    content = photo_bytes(name)
    with Image.open(io.BytesIO(content)) as image:
        assert (probe(content, LIMITS).width, probe(content, LIMITS).height) == image.size


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('width="120" height="80"', (120, 80)),
        ('width="1in" height="72pt"', (96, 96)),
        ('width="25.4mm" height="2.54cm"', (96, 96)),
        ('width="6pc" height="101.6q"', (96, 96)),
        ('width="2em" height="2ex"', (32, 16)),
        ('viewBox="0 0 200 100"', (200, 100)),
        ('viewBox="0,0,200,100" width="50"', (50, 25)),
        ('viewBox="-5 -5 200 100" height="50"', (100, 50)),
        ('width="100%" height="100%" viewBox="0 0 30 40"', (30, 40)),
        ('width="auto" viewBox="0 0 30 40"', (30, 40)),
        ("", (300, 150)),
    ],
)
def test_svg_size_comes_from_its_root(attributes: str, size: tuple[int, int]) -> None:
    """Width, height and viewBox give the size in CSS pixels, in every unit."""
    info = probe(svg_bytes(attributes=attributes), LIMITS)
    assert (info.format, info.mode) == ("svg", "RGBA")
    assert (info.width, info.height) == size


@pytest.mark.parametrize(
    "content",
    [
        svg_bytes(),
        b"\xef\xbb\xbf" + svg_bytes(),
        svg_bytes().decode().encode("utf-16"),
        b'<?xml version="1.0"?>\n<!-- > a <svg comment -->\n' + svg_bytes(),
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://example.com/svg11.dtd">' + svg_bytes(),
        b'<s:svg xmlns:s="http://www.w3.org/2000/svg" width="120" height="80"/>',
        b'<svg width="120" height="80"/>',
    ],
)
def test_svg_is_found_behind_what_may_lead_it(content: bytes) -> None:
    """Marks, prologs, comments, doctypes and prefixes before the root don't hide an SVG."""
    info = probe(content, LIMITS)
    assert (info.format, info.width, info.height) == ("svg", 120, 80)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", UnreadableImage, "empty"),
        (b"just some words", UnreadableImage, "not a picture"),
        (b"BM is how this sentence begins, no bitmap", UnreadableImage, "not a picture"),
        (b"%PDF-1.7 ...", UnsupportedFormat, "PDF"),
        (b"\x1f\x8b\x08\x00rest", UnsupportedFormat, "gzip"),
        (b"<!DOCTYPE html><html><svg></svg></html>", UnsupportedFormat, "HTML"),
        (b"\x00\x00\x00\x20ftypavif....", UnsupportedFormat, "AVIF"),
        (b"\x00\x00\x00\x20ftypheic....", UnsupportedFormat, "HEIC"),
        (b"8BPS\x00\x01", UnsupportedFormat, "Photoshop"),
        (b'{"error": "no"}', UnsupportedFormat, "JSON"),
        (b"\x89PNG\r\n\x1a\n", UnreadableImage, "truncated"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", UnreadableImage, "truncated"),
        (b"GIF89a\x01", UnreadableImage, "truncated"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", UnreadableImage, "truncated"),
        (b"II*\x00\x08\x00\x00\x00", UnreadableImage, "truncated"),
        (b"BM" + bytes(12) + b"\x28\x00\x00\x00", UnreadableImage, "truncated"),
        (b"<svg><g>", UnreadableImage, "XML"),
        (svg_bytes(attributes='width="0" height="10"'), UnreadableImage, "0 pixels"),
        (b"GIF89a" + bytes(7) + b";", UnreadableImage, "gif"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason(content: bytes, error: type[CallerError], words: str) -> None:
    """Empty, foreign and cut input is refused by a sentence that says which it is."""
    with pytest.raises(error, match=words):
        probe(content, LIMITS)


def test_label_free_detection() -> None:
    """Detection looks at bytes only and gives None for what it doesn't know."""
    assert sniff_format(encode(draw_photo(4, 4), "webp")) == "webp"
    assert sniff_format(b"") is None
    assert sniff_format(b"\x00" * 100) is None


def test_sizes_beyond_the_limits_are_refused_before_decoding() -> None:
    """Claimed sizes are enough to refuse: nothing is allocated for them."""
    with pytest.raises(ImageTooLarge, match="100000x100000 pixels; a side may have at most 16384"):
        probe(png_claiming(100_000, 100_000), LIMITS)
    with pytest.raises(ImageTooLarge, match=r"144\.0 megapixels"):
        probe(png_claiming(12_000, 12_000), LIMITS)
    with pytest.raises(ImageTooLarge, match="at most 16384"):
        probe(svg_bytes(attributes='width="1e6" height="1"'), LIMITS)
    with pytest.raises(ImageTooLarge, match="16 megapixels"):
        probe(svg_bytes(attributes='width="8000" height="8000"'), LIMITS)


def test_bytes_and_frames_are_bounded() -> None:
    """The message names the limit and the actual value."""
    content = animated_gif(5)
    with pytest.raises(ImageTooLarge, match="more than 4 frames"):
        probe(content, PictureLimits(max_frames=4))
    with pytest.raises(ImageTooLarge, match=f"{len(content)} bytes"):
        probe(content, PictureLimits(max_bytes=10))
    with pytest.raises(ImageTooLarge, match="svg"):
        probe(svg_bytes(), PictureLimits(max_svg_bytes=10))


def test_a_jpeg_made_to_keep_decoders_busy_is_refused() -> None:
    """Hundreds of nearly empty scans, or segments without end, are told from the markers; a usual file's pass."""
    jpeg = encode(draw_photo(64, 48), "JPEG", progressive=True)
    assert probe(jpeg, LIMITS).format == "jpeg"
    scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    with pytest.raises(UnreadableImage, match="more than 200 scans"):
        probe(jpeg[:-2] + scan * 300 + jpeg[-2:], LIMITS)
    # What only looks like a scan, in a comment, is none.
    comment = b"\xff\xfe\x02\x5a" + b"\xff\xda" * 300
    assert probe(jpeg[:2] + comment + jpeg[2:], LIMITS).format == "jpeg"
    frame = jpeg.index(b"\xff\xc2")
    for place in (2, frame, jpeg.index(b"\xff\xda")):
        with pytest.raises(UnreadableImage, match="segments"):
            probe(jpeg[:place] + b"\xff\xe5\x00\x02" * 120_000 + jpeg[place:], LIMITS)


def test_tiff_whose_pages_form_a_circle_ends() -> None:
    """A page list that points back to its beginning is walked once."""
    content = bytearray(encode(draw_photo(8, 8), "tiff"))
    start = int.from_bytes(content[4:8], "little")
    entries = int.from_bytes(content[start : start + 2], "little")
    end = start + 2 + 12 * entries
    content[end : end + 4] = content[4:8]
    assert probe(bytes(content), LIMITS).frames == 1


def test_damaged_exif_does_not_hide_the_picture() -> None:
    """Metadata that can't be read count as none."""
    info = probe(encode(draw_photo(20, 10), "jpeg", exif=b"Exif\x00\x00" + b"MM\x00*\xff\xff\xff\xff"), LIMITS)
    assert (info.orientation, info.width) == (1, 20)
    assert probe(encode(draw_photo(20, 10), "jpeg", exif=exif_bytes(6)), LIMITS).width == 10


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damage_never_raises_anything_unnamed(data: st.DataObject) -> None:
    """Whatever bytes of a real file change or go, probing answers or raises a CallerError."""
    name = data.draw(st.sampled_from([*RASTERS, "svg"]))
    content = bytearray(svg_bytes() if name == "svg" else encode(draw_photo(16, 12), name))
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    with suppress(CallerError):
        assert probe(bytes(content[:cut]), LIMITS).width > 0

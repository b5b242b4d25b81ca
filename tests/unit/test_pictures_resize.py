"""The resize rule, and that nothing but pixels and colours leaves."""

import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from imgapi.errors import ImageTooLarge, InvalidParameter, UnreadableImage
from imgapi.pictures.deep import resample_deep
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.outcomes import Resized
from imgapi.pictures.resize import resize
from imgapi.pictures.scale import flatten, resample, scaled_to_range
from pictures import (
    animated_gif,
    decode,
    deep_png,
    draw_photo,
    encode,
    exif_bytes,
    photo,
    png_chunk,
    png_claiming,
    svg_bytes,
    swapped_profile,
)

LIMITS = PictureLimits()


def run(content: bytes, min_dim: int = 1, max_dim: int = 4096) -> Resized:
    """Resize with the default limits and renderer."""
    return resize(content, min_dim=min_dim, max_dim=max_dim, limits=LIMITS, svg_renderer="resvg")


@pytest.mark.parametrize(
    ("size", "range_", "expected"),
    [
        ((1024, 768), (512, 512), (512, 384)),
        ((1024, 768), (1, 512), (512, 384)),
        ((300, 200), (512, 4096), (768, 512)),
        ((200, 300), (512, 4096), (512, 768)),
        ((1000, 800), (512, 4096), (1000, 800)),
        ((1000, 10), (512, 4096), (4096, 41)),
        ((5000, 10), (512, 4096), (4096, 8)),
        ((16000, 2), (1, 100), (100, 1)),
        ((1, 1), (512, 4096), (512, 512)),
    ],
)
def test_the_rule(size: tuple[int, int], range_: tuple[int, int], expected: tuple[int, int]) -> None:
    """Longer side down to max_dim, else shorter side up to min_dim, but max_dim wins; a side never becomes 0."""
    assert scaled_to_range(*size, min_dim=range_[0], max_dim=range_[1]) == expected


@pytest.mark.parametrize(
    ("name", "result"),
    [("jpeg", "jpeg"), ("png", "png"), ("webp", "webp"), ("tiff", "png"), ("gif", "png"), ("bmp", "png")],
)
@pytest.mark.parametrize("max_dim", [30, 4096])
def test_format_is_kept_or_png(name: str, result: str, max_dim: int) -> None:
    """JPEG, PNG and WebP keep their format and every other becomes PNG, resampled or not; sizes told are true."""
    resized = run(encode(draw_photo(60, 40), name), max_dim=max_dim)
    picture = decode(resized.content)
    assert resized.format == result == str(picture.format).lower()
    assert (resized.original_width, resized.original_height) == (60, 40)
    assert (resized.width, resized.height) == picture.size == ((30, 20) if max_dim == 30 else (60, 40))


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_in_range_keeps_pixels_and_drops_metadata(name: str) -> None:
    """A picture in range gives the very same pixels, without camera, position, comment or resolution tags."""
    original = photo("chelsea")
    options: dict[str, object] = {"comment": b"secret"} if name == "jpeg" else {}
    content = encode(original, name, exif=exif_bytes(), **options)
    resized = run(content)
    assert b"SecretCamera" in content
    assert b"SecretCamera" not in resized.content
    assert b"secret" not in resized.content
    before, after = decode(content), decode(resized.content)
    assert not after.getexif()
    assert np.array_equal(np.asarray(before), np.asarray(after))


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"quality": 30, "subsampling": 0}, {"restart_marker_rows": 1}]
)
def test_jpeg_is_stripped_without_being_encoded_again(options: dict[str, int]) -> None:
    """The compressed scans of a JPEG in range pass through bit by bit, progressive and with restarts too."""
    plain = encode(photo("rocket"), "jpeg", **options)
    marked = encode(photo("rocket"), "jpeg", exif=exif_bytes(), comment=b"secret", **options)
    assert run(marked + b"trailing secret").content == run(plain).content
    assert np.array_equal(np.asarray(decode(run(plain).content)), np.asarray(decode(plain)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff"])
def test_orientation_is_applied(name: str, orientation: int) -> None:
    """All eight orientations end upright, in range and resampled."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.new("RGB", (60, 40))
    stored.paste((255, 0, 0), (0, 0, 30, 20))
    stored.paste((0, 255, 0), (30, 0, 60, 20))
    stored.paste((0, 0, 255), (0, 20, 30, 40))
    content = encode(stored, name, exif=exif)
    upright = {
        1: ("red", "green"), 2: ("green", "red"), 3: ("black", "blue"), 4: ("blue", "black"),
        5: ("red", "blue"), 6: ("blue", "red"), 7: ("black", "green"), 8: ("green", "black"),
    }[orientation]  # fmt: skip
    for max_dim, divisor in ((4096, 1), (30, 2)):
        resized = run(content, max_dim=max_dim)
        picture = decode(resized.content).convert("RGB")
        expected = (40, 60) if orientation >= 5 else (60, 40)
        assert picture.size == (expected[0] // divisor, expected[1] // divisor)
        corners = [(0.2, 0.2), (0.8, 0.2)]
        seen = tuple(_colour(picture.getpixel((int(picture.width * x), int(picture.height * y)))) for x, y in corners)
        assert seen == upright


def _colour(pixel: object) -> str:
    values = np.asarray(pixel)
    return "black" if values.max() < 90 else ("red", "green", "blue")[int(values.argmax())]


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("max_dim", [30, 4096])
def test_profile_is_kept(name: str, max_dim: int) -> None:
    """The ICC profile leaves as it came."""
    profile = swapped_profile()
    resized = run(encode(draw_photo(60, 40), name, icc_profile=profile), max_dim=max_dim)
    assert decode(resized.content).info["icc_profile"] == profile


def test_hidden_colours_do_not_bleed() -> None:
    """Clear pixels weigh nothing: white shows no trace of the red hidden beside it."""
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    image.paste((255, 255, 255, 255), (0, 0, 30, 64))
    for name in ("png", "webp"):
        options = {"lossless": True, "exact": True} if name == "webp" else {}
        pixels = np.asarray(decode(run(encode(image, name, **options), max_dim=16).content).convert("RGBA"))
        visible = pixels[pixels[..., 3] > 20]
        assert visible[:, :3].min() > 240


def test_palettes_are_resampled_as_colours() -> None:
    """A palette picture becomes RGB or RGBA when resampled, and keeps its palette when not."""
    palette = draw_photo(60, 40).convert("P", palette=Image.Palette.ADAPTIVE, colors=32)
    opaque, keyed = encode(palette, "png"), encode(palette, "png", transparency=3)
    assert decode(run(opaque, max_dim=30).content).mode == "RGB"
    assert decode(run(keyed, max_dim=30).content).mode == "RGBA"
    assert decode(run(keyed).content).mode == "P"
    assert "transparency" in decode(run(keyed).content).info


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_clear_grey_of_few_bits_stays_clear(bits: int) -> None:
    """The grey that a PNG of 1, 2, 4 or 8 bits calls clear is clear after scaling, and no other is."""
    row = b"\x00" + {1: b"\x0f", 2: b"\x55\xaa", 4: b"\x11\x11\xee\xee", 8: b"\x01" * 4 + b"\xee" * 4}[bits]
    key = 0 if bits == 1 else 1
    content = (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0))
        + png_chunk(b"tRNS", struct.pack(">H", key))
        + png_chunk(b"IDAT", zlib.compress(row * 8))
        + png_chunk(b"IEND", b"")
    )
    alpha = decode(run(content, min_dim=80).content).convert("RGBA").getchannel("A")
    assert (alpha.getpixel((8, 40)), alpha.getpixel((72, 40))) == (0, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16"])
def test_grey_stays_grey(mode: str) -> None:
    """Bilevel, grey, grey with alpha and 16-bit grey keep their kind in range; resampled, bilevel becomes grey."""
    image = draw_photo(60, 40).convert("L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    elif mode != "L":
        image = image.convert(mode)
    content = encode(image, "png")
    kept, scaled = decode(run(content).content), decode(run(content, max_dim=30).content)
    assert np.array_equal(np.asarray(kept), np.asarray(image))
    assert scaled.mode == ("L" if mode == "1" else mode)


def test_sixteen_bit_colour_stays_sixteen_bit() -> None:
    """A 16-bit RGB PNG keeps its depth untouched, turned and resampled."""
    content = deep_png()
    assert run(content).content[24:26] == b"\x10\x02"
    resampled = run(content, max_dim=12)
    assert resampled.content[24:26] == b"\x10\x02"
    assert decode(resampled.content).size == (12, 8)


def test_inks_are_not_smeared() -> None:
    """Scaled CMYK keeps each ink as sharp as it is: none is halved as chroma is."""
    columns = np.random.default_rng(3).integers(0, 2, 60).astype(np.uint8) * 255
    inks = np.zeros((120, 120, 4), np.uint8)
    inks[..., 1] = np.repeat(columns, 2)
    scaled = decode(run(encode(Image.fromarray(inks, "CMYK"), "jpeg", quality=95, subsampling=0), max_dim=60).content)
    expected = Image.fromarray(inks, "CMYK").resize((60, 60), Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(scaled, int) - np.asarray(expected, int))[..., 1].mean() < 16


def test_cmyk_jpeg_stays_cmyk() -> None:
    """A print JPEG keeps its colour space, in range bit by bit and resampled."""
    content = encode(photo("chelsea").convert("CMYK"), "jpeg")
    assert np.array_equal(np.asarray(decode(run(content).content)), np.asarray(decode(content)))
    assert decode(run(content, max_dim=100).content).mode == "CMYK"


def test_quality_is_close_to_a_reference() -> None:
    """Shrinking a real photo by DCT scaling and Lanczos stays within a few levels of plain Lanczos."""
    original = photo("china")
    reference = np.asarray(original.resize((160, 107), Image.Resampling.LANCZOS), float)
    seen = np.asarray(decode(run(encode(original, "jpeg", quality=95), max_dim=160).content), float)
    assert 10 * np.log10(255**2 / np.mean((reference - seen) ** 2)) > 30


def test_svg_is_drawn_at_the_size_it_shall_have() -> None:
    """A small SVG is not blown up from pixels: its edge stays sharp at the size asked for."""
    resized = run(svg_bytes('<rect width="12" height="24"/>', 'width="24" height="24"'), min_dim=512)
    picture = decode(resized.content)
    assert (resized.original_width, resized.width, picture.mode) == (24, 512, "RGBA")
    assert set(np.unique(np.asarray(picture)[..., 3])) == {0, 255}


class CountedDecoding(bytes):
    """Bytes that count how often they are decoded, as documents in Chinese encodings are each time they are read."""

    decodings = 0

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Decode and count."""
        self.decodings += 1
        return super().decode(encoding, errors)


def test_svg_is_read_once() -> None:
    """What told the size is drawn, so that a large document costs one reading."""
    content = CountedDecoding(b'<?xml version="1.0" encoding="GBK"?>' + svg_bytes())
    assert run(content, max_dim=60).width == 60
    assert content.decodings == 1


@pytest.mark.parametrize(
    ("content", "limits", "error", "words"),
    [
        (svg_bytes(), PictureLimits(max_bytes=50), ImageTooLarge, "the picture has"),
        (svg_bytes(), PictureLimits(max_svg_bytes=50), ImageTooLarge, "the svg has"),
        (svg_bytes(), PictureLimits(max_svg_pixels=120 * 80 - 1), ImageTooLarge, "the picture is 120x80 pixels"),
        (svg_bytes(), PictureLimits(max_side=119), ImageTooLarge, "a side may have at most 119"),
        (
            svg_bytes(),
            PictureLimits(max_svg_pixels=120 * 80),
            InvalidParameter,
            "min_dim 100 would make the picture 150x100",
        ),
        (svg_bytes(attributes='width="0" height="9"'), LIMITS, UnreadableImage, "0 pixels wide or high"),
        (svg_bytes()[:-3], LIMITS, UnreadableImage, "not well-formed"),
        (b"<svg>&other;</svg>", LIMITS, UnreadableImage, "not well-formed"),
    ],
)
def test_svg_keeps_its_bounds(content: bytes, limits: PictureLimits, error: type[Exception], words: str) -> None:
    """Bytes, both sizes and damage of a document are told before any renderer is looked for."""
    with pytest.raises(error, match=words):
        resize(content, min_dim=100, max_dim=4096, limits=limits, svg_renderer="no such")
    with pytest.raises(InvalidParameter, match="no SVG renderer"):
        resize(svg_bytes(), min_dim=100, max_dim=4096, limits=LIMITS, svg_renderer="no such")


def test_animation_in_range_stays_and_is_reduced_when_resampled() -> None:
    """An animated WebP in range keeps its frames; a resampled one and every GIF become the first frame."""
    frames = [draw_photo(60, 40, seed) for seed in range(3)]
    content = encode(frames[0], "webp", save_all=True, append_images=frames[1:], exif=exif_bytes())
    assert getattr(decode(run(content).content), "n_frames", 1) == 3
    assert getattr(decode(run(content, max_dim=30).content), "n_frames", 1) == 1
    assert decode(run(animated_gif()).content).convert("RGB").getpixel((5, 5)) == (0, 0, 0)


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "gif", "bmp"])
@pytest.mark.parametrize("max_dim", [30, 4096])
def test_truncated_pictures_are_refused(name: str, max_dim: int) -> None:
    """A file cut in half is refused, in range too, where nothing would have to be decoded."""
    content = encode(draw_photo(120, 90), name)
    with pytest.raises(UnreadableImage, match=rf"the {name} picture"):
        run(content[: len(content) // 2], max_dim=max_dim)


def test_bombs_are_refused() -> None:
    """A header that claims gigapixels costs nothing, and an enlargement beyond the limits is the parameter's fault."""
    with pytest.raises(ImageTooLarge):
        run(png_claiming(16_000, 16_000))
    with pytest.raises(InvalidParameter, match="min_dim 16384"):
        run(encode(draw_photo(8, 8), "png"), min_dim=16_384, max_dim=16_384)
    with pytest.raises(UnreadableImage):
        run(png_claiming(500, 500))


def test_a_webp_is_not_made_longer_than_one_can_be() -> None:
    """The one side that may be asked for and is too long for WebP is the parameter's fault."""
    content = encode(Image.new("RGB", (1000, 10)), "webp")
    assert run(content, min_dim=200, max_dim=16_383).width == 16_383
    with pytest.raises(InvalidParameter, match=r"max_dim 16384 .* at most 16383") as caught:
        run(content, min_dim=200, max_dim=16_384)
    assert caught.value.field == "max_dim"


def test_written_pictures_say_srgb_where_they_say_nothing() -> None:
    """A PNG without any statement of its colours leaves as sRGB."""
    assert "srgb" in decode(run(encode(draw_photo(8, 8), "bmp")).content).info
    stated = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert "srgb" not in decode(run(encode(draw_photo(8, 8), "png", icc_profile=stated)).content).info


def test_sixteen_bit_alpha_is_weighed_when_resampled() -> None:
    """A 16-bit RGBA PNG stays 16-bit, and colours under clear pixels don't bleed."""
    samples = np.zeros((32, 32, 4), np.uint16)
    samples[:, :16] = (65_535, 65_535, 65_535, 65_535)
    samples[:, 16:] = (0, 0, 65_535, 0)
    done, content = cv2.imencode(".png", samples)
    assert done
    resized = run(content.tobytes(), max_dim=12)
    assert resized.content[24:26] == b"\x10\x06"
    result = np.asarray(cv2.imdecode(np.frombuffer(resized.content, np.uint8), cv2.IMREAD_UNCHANGED))
    assert result[result[..., 3] > 5000][:, :3].min() > 60_000


def test_png_whose_end_chunk_is_missing_is_made_whole() -> None:
    """A PNG that lacks nothing but its last chunk is accepted, and leaves with one."""
    content = encode(draw_photo(60, 40), "png")
    resized = run(content[:-12])
    assert resized.content.endswith(content[-12:])
    assert decode(resized.content).size == (60, 40)


def _closeness(one: Image.Image, other: Image.Image) -> float:
    """Peak signal to noise of one picture beside another of its size, in dB."""
    assert (one.mode, one.size) == (other.mode, other.size)
    difference = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    return float(10 * np.log10(255**2 / (difference**2).mean()))


@pytest.mark.parametrize("factor", [0.7, 1.6, 1.95, 4.9, 9.0])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_scaling_is_lanczos(mode: str, factor: float) -> None:
    """The faster way to another size gives what Pillow's Lanczos gives, to the eye and by 50 dB."""
    image = photo("astronaut").convert(mode)
    size = (round(image.width / factor), round(image.height / factor))
    assert _closeness(resample(image, size), image.resize(size, Image.Resampling.LANCZOS)) > 50


def test_scaling_weighs_colours_by_their_alpha() -> None:
    """Where transparency meets colour, the faster way's picture is Pillow's, both laid on white."""
    image = photo("astronaut").convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.paste((0, 255, 0, 0), (100, 100, 300, 300))
    size = (image.width // 3, image.height // 3)
    assert _closeness(flatten(resample(image, size)), flatten(image.resize(size, Image.Resampling.LANCZOS))) > 50


def test_16_bit_pictures_are_scaled_in_little_memory() -> None:
    """Scaling 16-bit colours with alpha takes a few times their own size: 50 megapixels must fit beside each other."""
    pixels = np.random.default_rng(1).integers(0, 65_536, (600, 800, 4), dtype=np.uint16)
    resample_deep(pixels[:8, :8], (4, 4))
    tracemalloc.start()
    try:
        resample_deep(pixels, (790, 592))
        assert tracemalloc.get_traced_memory()[1] < 5 * pixels.nbytes
    finally:
        tracemalloc.stop()

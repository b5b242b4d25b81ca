"""Any picture to PNG: pixels, depth, transparency, colours and frames as a viewer shows them."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from imgapi.errors import ImageTooLarge, UnreadableImage
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.outcomes import Converted
from imgapi.pictures.resize import resize
from pictures import (
    animated_gif,
    cmyk_profile,
    decode,
    deep_png,
    draw_cutout,
    draw_photo,
    encode,
    exif_bytes,
    gif_of,
    photo,
    png_chunk,
    read_deep,
    svg_bytes,
    swapped_profile,
)

LIMITS = PictureLimits()
CLEAR, RED, GREEN, BLUE = (0, 0, 0, 0), (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255)


def run(content: bytes, *, all_frames: bool = False) -> Converted:
    """Convert with the default limits and renderer."""
    return convert_to_png(content, all_frames=all_frames, limits=LIMITS, svg_renderer="resvg")


def first(content: bytes) -> Image.Image:
    """Convert and decode the first frame."""
    return decode(run(content).frames[0])


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures in RGB."""
    return float(np.abs(np.asarray(one.convert("RGB"), float) - np.asarray(other.convert("RGB"), float)).mean())


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "gif", "bmp"])
def test_every_raster_becomes_the_same_pixels(name: str) -> None:
    """The PNG shows exactly what the input decodes to, and names the format that was decoded."""
    content = encode(draw_photo(60, 40), name)
    converted = run(content)
    assert converted.original_format == name
    assert np.array_equal(np.asarray(decode(content).convert("RGB")), np.asarray(first(content).convert("RGB")))


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff"])
def test_no_metadata_leaves(name: str) -> None:
    """Only pixel and colour chunks are in the PNG, each with a right CRC; orientation is in the pixels."""
    content = encode(draw_photo(60, 40), name, exif=exif_bytes(6))
    png = run(content).frames[0]
    names, offset = [], 8
    while offset < len(png):
        length = struct.unpack_from(">I", png, offset)[0]
        body = png[offset + 8 : offset + 8 + length]
        names.append(png[offset + 4 : offset + 8])
        assert png_chunk(names[-1], body) == png[offset : offset + 12 + length]
        offset += 12 + length
    assert set(names) <= {b"IHDR", b"sRGB", b"IDAT", b"IEND"}
    assert decode(png).size == (40, 60)


def test_png_text_is_dropped_without_touching_pixels() -> None:
    """A PNG with nothing to turn keeps its compressed pixels and loses its texts."""
    plain = encode(draw_photo(60, 40), "png")
    texts = plain[:33] + png_chunk(b"tEXt", b"Author\x00secret") + plain[33:]
    assert b"secret" not in run(texts).frames[0]
    assert run(texts).frames[0] == run(plain).frames[0]


@pytest.mark.parametrize("name", ["png", "webp", "tiff"])
def test_alpha_is_preserved(name: str) -> None:
    """Half-clear pixels stay half clear."""
    image = draw_cutout(60, 40)
    options = {"lossless": True, "exact": True} if name == "webp" else {}
    assert np.array_equal(np.asarray(first(encode(image, name, **options))), np.asarray(image))


def test_palette_transparency_is_preserved() -> None:
    """Clear palette entries of PNG and GIF are clear in the result."""
    image = Image.new("P", (20, 10), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (10, 0, 20, 10))
    for name in ("png", "gif"):
        result = first(encode(image, name, transparency=0)).convert("RGBA")
        assert result.getchannel("A").getpixel((2, 2)) == 0
        assert result.getpixel((15, 5)) == (0, 0, 255, 255)


def test_key_colour_of_rgb_is_preserved() -> None:
    """The tRNS colour of an RGB PNG stays a tRNS colour; turned by EXIF, it becomes alpha."""
    image = Image.new("RGB", (20, 10), (1, 2, 3))
    image.paste((9, 9, 9), (10, 0, 20, 10))
    straight = first(encode(image, "png", transparency=(1, 2, 3))).convert("RGBA")
    turned = first(encode(image, "png", transparency=(1, 2, 3), exif=exif_bytes(3))).convert("RGBA")
    assert straight.getpixel((0, 0)) == (1, 2, 3, 0)
    assert turned.getchannel("A").getpixel((19, 9)) == 0
    assert turned.getpixel((0, 0)) == (9, 9, 9, 255)


def test_sixteen_bits_stay() -> None:
    """16-bit grey and colour, from PNG and TIFF, turned or not, keep every bit."""
    cv2 = pytest.importorskip("cv2")
    grey = Image.fromarray((np.arange(24 * 16, dtype=np.uint16) * 170).reshape(16, 24))
    for name in ("png", "tiff"):
        assert np.array_equal(np.asarray(first(encode(grey, name))), np.asarray(grey))
    source = deep_png()
    samples = cv2.imdecode(np.frombuffer(source, np.uint8), cv2.IMREAD_UNCHANGED)
    done, tiff = cv2.imencode(".tiff", samples)
    assert done
    turned = source[:33] + png_chunk(b"eXIf", exif_bytes(3).removeprefix(b"Exif\x00\x00")) + source[33:]
    for content, expected in ((source, samples), (tiff.tobytes(), samples), (turned, samples[::-1, ::-1])):
        result = cv2.imdecode(np.frombuffer(run(content).frames[0], np.uint8), cv2.IMREAD_UNCHANGED)
        assert result.dtype == np.uint16
        assert np.array_equal(result, expected)


def test_sixteen_bits_that_are_written_anew_stay_as_they_are_stated() -> None:
    """Data behind the last pixel, or an orientation, have a 16-bit PNG written anew, bits and gamma kept."""
    source, gamma = deep_png(), png_chunk(b"gAMA", struct.pack(">I", 100_000))
    data = source[source.index(b"IDAT") + 4 : source.index(b"IEND") - 8]
    surplus = source[:33] + gamma + png_chunk(b"IDAT", data + b"surplus") + png_chunk(b"IEND", b"")
    turned = source[:33] + gamma + png_chunk(b"eXIf", exif_bytes(3).removeprefix(b"Exif\x00\x00")) + source[33:]
    samples = read_deep(source)
    for content, expected in ((surplus, samples), (turned, samples[::-1, ::-1])):
        result = run(content).frames[0]
        assert np.array_equal(read_deep(result), expected)
        assert gamma in result
        assert b"sRGB" not in result


@pytest.mark.parametrize("name", ["jpeg", "tiff", "png", "webp"])
def test_foreign_rgb_profile_is_applied(name: str) -> None:
    """Pixels under a profile with exchanged primaries end exchanged in sRGB, as a viewer shows them."""
    image = Image.new("RGB", (32, 32), (250, 30, 20))
    content = encode(image, name, icc_profile=swapped_profile())
    result = first(content)
    red, green, _ = result.convert("RGB").getpixel((16, 16))  # type: ignore[misc]  # an RGB pixel is a triple
    assert green > 230
    assert red < 80
    assert "icc_profile" not in result.info
    assert "srgb" in result.info


@pytest.mark.parametrize("name", ["jpeg", "tiff"])
def test_cmyk_without_profile_looks_right(name: str) -> None:
    """A CMYK picture without profile ends close to the RGB it was made from."""
    original = photo("coffee").resize((150, 100))
    result = first(encode(original.convert("CMYK"), name))
    assert result.mode == "RGB"
    assert difference(result, original) < 6


@pytest.mark.parametrize("name", ["jpeg", "tiff"])
def test_cmyk_profile_is_applied(name: str) -> None:
    """CMYK pixels end as the colours their profile says, not as the plain formula has them."""
    image = Image.new("CMYK", (32, 32), (255, 0, 0, 0))
    result = first(encode(image, name, icc_profile=cmyk_profile()))
    red, green, blue = result.getpixel((16, 16))  # type: ignore[misc]  # an RGB pixel is a triple
    assert red > 230
    assert max(green, blue) < 60
    assert "icc_profile" not in result.info


def test_lab_tiff_looks_right() -> None:
    """A Lab TIFF ends as the colours it means."""
    original = photo("coffee").resize((60, 40))
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(original, to_lab)
    assert lab is not None
    assert difference(first(encode(lab, "tiff")), original) < 4


def test_broken_profiles_count_as_none() -> None:
    """A profile that can't be read changes nothing and stops nothing."""
    image = draw_photo(20, 10)
    for name in ("png", "tiff"):
        for profile in (b"no profile", bytes(16) + b"RGB " + bytes(200)):
            result = first(encode(image, name, icc_profile=profile))
            assert difference(result, image) == 0
            assert "icc_profile" not in result.info
    assert first(encode(image.convert("CMYK"), "jpeg", icc_profile=b"no profile")).mode == "RGB"
    unreadable = png_chunk(b"iCCP", b"p\x00\x00" + zlib.compress(bytes(16) + b"RGB " + bytes(200)))
    assert "icc_profile" not in first(deep_png()[:33] + unreadable + deep_png()[33:]).info


def test_odd_sample_types_become_what_png_holds() -> None:
    """Float and 32-bit TIFFs end as 16-bit grey, their range kept or scaled."""
    ramp = np.linspace(0, 1, 200, dtype=np.float32).reshape(10, 20)
    result = np.asarray(first(encode(Image.fromarray(ramp), "tiff")))
    assert (result.min(), result.max()) == (0, 65_535)
    wide = Image.fromarray(np.linspace(0, 2**31 - 1, 200).astype(np.int32).reshape(10, 20))
    assert np.asarray(first(encode(wide, "tiff"))).max() == 65_535


def test_svg_keeps_its_transparency() -> None:
    """An SVG is rendered at its own size, clear where nothing is drawn."""
    result = first(svg_bytes())
    assert (result.size, result.mode) == ((120, 80), "RGBA")
    assert result.getpixel((60, 40)) == RED
    assert result.getpixel((0, 0)) == CLEAR


def test_first_frame_only_unless_asked() -> None:
    """Without all_frames an animation gives its first frame; with it, every one in order."""
    content = animated_gif(4)
    assert len(run(content).frames) == 1
    reds = [decode(frame).convert("RGB").getpixel((3, 3)) for frame in run(content, all_frames=True).frames]
    assert reds == [(0, 0, 0), (60, 0, 0), (120, 0, 0), (180, 0, 0)]


def pixels(content: bytes, *places: tuple[int, int]) -> list[list[object]]:
    """Give the RGBA values at places, for each frame."""
    frames = [decode(frame).convert("RGBA") for frame in run(content, all_frames=True).frames]
    return [[frame.getpixel(place) for place in places] for frame in frames]


@pytest.mark.parametrize("restore", [3, 4])
def test_gif_disposals_are_honoured(restore: int) -> None:
    """Kept, cleared and restored regions are as browsers show them, and what no frame covers is clear."""
    whole, corner = (0, 0, 8, 8), (0, 0, 4, 4)
    keep, clear = 1, 2
    content = gif_of(
        (8, 8), (whole, 1, keep), (corner, 2, clear), (corner, 0, keep), (corner, 3, restore), (corner, 0, 1)
    )
    assert pixels(content, (1, 1), (6, 6)) == [[RED, RED], [GREEN, RED], [CLEAR, RED], [BLUE, RED], [CLEAR, RED]]
    assert pixels(gif_of((8, 8), (corner, 1, keep)), (1, 1), (6, 6)) == [[RED, CLEAR]]


def test_a_gif_in_parts_is_one_picture() -> None:
    """Tiles that don't wait for one another are laid together in the one PNG; asked for all, each is a frame."""
    left, right, whole = (0, 0, 4, 8), (4, 0, 4, 8), (0, 0, 8, 8)
    places = (1, 1), (6, 6)

    def one(content: bytes) -> list[Any]:
        picture = first(content).convert("RGBA")
        return [picture.getpixel(place) for place in places]

    parts = gif_of((8, 8), (left, 1, 1), (right, 2, 2), delay=0)
    assert one(parts) == [RED, GREEN]
    assert pixels(parts, *places) == [[RED, CLEAR], [RED, GREEN]]
    scaled = resize(parts, min_dim=1, max_dim=4, limits=LIMITS, svg_renderer="resvg").content
    assert decode(scaled).convert("RGBA").getpixel((3, 3)) == GREEN
    # What waits, repeats, or begins with a whole picture is an animation, of which the first frame is asked for.
    for animation in (
        gif_of((8, 8), (left, 1, 1), (right, 2, 1)),
        gif_of((8, 8), (left, 1, 1), (right, 2, 1), delay=0, loops=True),
        gif_of((8, 8), (whole, 1, 1), (right, 2, 1), delay=0),
    ):
        assert one(animation) in ([RED, CLEAR], [RED, RED])
    with pytest.raises(UnreadableImage):
        one(parts[:-8])
    assert one(gif_of((8, 8), (left, 1, 1), (right, 2, 1), delay=0, loops=True)[:-8]) == [RED, CLEAR]


def test_a_gif_ends_where_its_blocks_do() -> None:
    """Frames after bytes that are no block are not shown, as in browsers; before the first such bytes mean nothing."""
    content = gif_of((8, 8), ((0, 0, 8, 8), 1, 1))
    start = content.index(b"!\xf9")
    frame = content[start:-1]
    twice = content[:-1] + frame + b";"
    assert len(run(twice, all_frames=True).frames) == 2
    assert len(run(content[:-1] + b"\x00" + frame + b";", all_frames=True).frames) == 1
    assert len(run(content[:start] + b"\x00" + frame + b";", all_frames=True).frames) == 1


def test_gif_frames_beyond_the_edge_are_clipped() -> None:
    """A frame that overlaps or misses the canvas neither enlarges it nor fails."""
    content = gif_of((8, 8), ((6, 6, 10, 10), 1, 1), ((20, 20, 2, 2), 2, 1))
    assert [decode(frame).size for frame in run(content, all_frames=True).frames] == [(8, 8), (8, 8)]
    assert pixels(content, (7, 7), (1, 1)) == [[RED, CLEAR], [RED, CLEAR]]


def test_interlaced_and_local_palettes() -> None:
    """Interlaced rows and local colour tables decode as Pillow decodes them."""
    frames = [draw_photo(50, 37, seed).quantize(200) for seed in range(3)]
    for interlace in (0, 1):
        content = encode(frames[0], "gif", save_all=True, append_images=frames[1:], interlace=interlace)
        for number, png in enumerate(run(content, all_frames=True).frames):
            assert difference(decode(png), frames[number]) == 0


@pytest.mark.parametrize("name", ["webp", "png"])
def test_other_animations_are_composited(name: str) -> None:
    """Frames of animated WebP and APNG are whole pictures with their transparency, in order."""
    frames = [draw_cutout(40, 30, seed) for seed in range(3)]
    options = {"lossless": True, "exact": True} if name == "webp" else {"disposal": 1}
    content = encode(frames[0], name, save_all=True, append_images=frames[1:], duration=50, **options)
    results = [decode(frame).convert("RGBA") for frame in run(content, all_frames=True).frames]
    assert len(results) == 3
    for number in (0, 2):
        seen, drawn = np.asarray(results[number]), np.asarray(frames[number])
        visible = drawn[..., 3] > (254 if number else 0)
        assert np.array_equal(seen[visible], drawn[visible])


def test_hidden_default_image_of_an_apng_is_no_frame() -> None:
    """An APNG whose default image is not part of the animation gives only the animation."""
    frames = [Image.new("RGB", (9, 9), (number * 50, 0, 0)) for number in range(3)]
    content = encode(frames[0], "png", save_all=True, append_images=frames[1:], default_image=True)
    reds = [decode(frame).convert("RGB").getpixel((1, 1)) for frame in run(content, all_frames=True).frames]
    assert reds == [(50, 0, 0), (100, 0, 0)]


def test_tiff_pages_keep_their_own_size() -> None:
    """Every page of a TIFF is one PNG of the page's size and orientation."""
    pages = [draw_photo(30, 20), draw_photo(20, 50), draw_photo(10, 10).convert("CMYK").convert("RGB")]
    content = encode(pages[0], "tiff", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    results = [decode(frame) for frame in run(content, all_frames=True).frames]
    assert [result.size for result in results] == [(30, 20), (20, 50), (10, 10)]
    assert difference(results[1], pages[1]) == 0


def test_all_frames_together_are_bounded() -> None:
    """An animation whose frames together exceed the limit is refused when all are asked for, and only then."""
    limits = PictureLimits(max_total_pixels=3000)
    content = animated_gif(3, size=(40, 30))
    assert convert_to_png(content, all_frames=False, limits=limits, svg_renderer="resvg").frames
    with pytest.raises(ImageTooLarge, match="all frames together"):
        convert_to_png(content, all_frames=True, limits=limits, svg_renderer="resvg")


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "gif", "bmp"])
def test_truncated_pictures_are_refused(name: str) -> None:
    """A file cut in half is no picture."""
    content = encode(draw_photo(120, 90), name)
    with pytest.raises(UnreadableImage, match=rf"the {name} picture"):
        run(content[: len(content) // 2])


def test_mislabelled_content_is_told_apart() -> None:
    """A damaged body behind a right signature is refused, not guessed at."""
    with pytest.raises(UnreadableImage):
        run(b"\x89PNG\r\n\x1a\n" + svg_bytes())
    with pytest.raises(UnreadableImage):
        run(io.BytesIO(b"GIF89a" + b"\x01" * 200).getvalue())

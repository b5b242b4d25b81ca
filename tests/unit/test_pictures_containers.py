"""JPEGs, GIFs and SVGs whose oddities cost no pixel, and those that would cost too much."""

import io
import re
import struct

import numpy as np
import pytest
from PIL import Image

from imgapi.errors import ImageTooLarge, UnreadableImage
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from imgapi.pictures.probe import probe
from imgapi.pictures.resize import resize
from imgapi.pictures.svg import render_svg
from imgapi.pictures.svg_clean import clean_svg
from imgapi.pictures.svg_document import parse_svg
from pictures import decode, draw_photo, encode, exif_bytes, gif_of, svg_bytes

LIMITS = PictureLimits()


def first(content: bytes) -> Image.Image:
    """Convert to PNG and decode it."""
    return decode(convert_to_png(content, all_frames=False, limits=LIMITS, svg_renderer="resvg").frames[0])


def frames(content: bytes) -> list[Image.Image]:
    """Split into frames, each RGBA."""
    split = convert_to_png(content, all_frames=True, limits=LIMITS, svg_renderer="resvg").frames
    return [decode(frame).convert("RGBA") for frame in split]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_its_end_mark_is_whole(progressive: bool) -> None:  # noqa: FBT001 - both codings
    """The two bytes that end a JPEG are no pixels: without them it looks the same, and comes out with them."""
    content = encode(draw_photo(61, 43), "jpeg", progressive=progressive)
    assert np.array_equal(np.asarray(first(content[:-2])), np.asarray(first(content)))
    kept = resize(content[:-2], min_dim=1, max_dim=100, limits=LIMITS, svg_renderer="resvg")
    assert kept.content.endswith(b"\xff\xd9")
    assert (kept.width, kept.height) == (61, 43)


@pytest.mark.parametrize("missing", [4, 12, 300])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_pixels_is_refused(missing: int, progressive: bool) -> None:  # noqa: FBT001 - both codings
    """As soon as a pixel is missing, the picture is called truncated."""
    content = encode(draw_photo(61, 43), "jpeg", progressive=progressive)[:-missing]
    for ask in (
        lambda: first(content),
        lambda: resize(content, min_dim=1, max_dim=100, limits=LIMITS, svg_renderer="resvg"),
    ):
        with pytest.raises(UnreadableImage, match="truncated"):
            ask()


def test_a_progressive_jpeg_that_lacks_scans_is_refused() -> None:
    """Wherever it is cut before its last scan, between two scans too, its pixels are not what they should be."""
    content = encode(draw_photo(64, 48), "jpeg", progressive=True)
    scans = [match.start() for match in re.finditer(rb"\xff\xda", content)]
    assert len(scans) > 5
    between = [content.rfind(b"\xff\xc4", 0, start) for start in scans[1:]]
    for cut in (*scans[1:], *between, *range(scans[0] + 20, scans[-1], 37)):
        with pytest.raises(UnreadableImage, match="truncated"):
            first(content[:cut])


@pytest.mark.parametrize(
    "junk", [b"\x00\x12\x34", b"\x12\x34", b"\xff\xed\x00\x04\x38\x42", b"\xff\xe2\x00\x07MPF\x00\x00"]
)
def test_stray_bytes_in_a_jpeg_mean_nothing(junk: bytes) -> None:
    """Junk between segments and damaged application segments are passed over; colours and orientation stay."""
    content = encode(draw_photo(40, 24), "jpeg", exif=exif_bytes(6))
    (length,) = struct.unpack_from(">H", content, 4)
    spoilt = content[: 4 + length] + junk + content[4 + length :]
    assert np.array_equal(np.asarray(first(spoilt)), np.asarray(first(content)))
    assert first(spoilt).size == (24, 40)


def test_a_gif_without_frames_is_clear() -> None:
    """A canvas followed by the trailer shows nothing, as a viewer shows it."""
    (only,) = frames(gif_of((3, 2)))
    assert only.size == (3, 2)
    assert only.getchannel("A").getextrema() == (0, 0)


def test_a_gif_frame_without_data_is_clear() -> None:
    """The smallest GIF that pages count their visitors with, 26 bytes and no pixel in them, is a clear one."""
    head = b"GIF89a\x01\x00\x01\x00\x00\xff\x00"
    (only,) = frames(head + b",\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x00;")
    assert (only.size, only.convert("RGBA").getpixel((0, 0))) == ((1, 1), (0, 0, 0, 0))


def test_a_gif_without_colours_is_black() -> None:
    """Where neither the file nor the frame has a palette, browsers draw in black."""
    coloured = gif_of((3, 2), ((0, 0, 3, 2), 1, 0))
    bare = coloured[:10] + b"\x01" + coloured[11:13] + coloured[25:]
    (only,) = frames(bare)
    assert only.convert("RGBA").getcolors() == [(6, (0, 0, 0, 255))]


def test_a_gif_that_ends_before_its_first_frame_is_refused() -> None:
    """Without the trailer, the frames are missing."""
    with pytest.raises(UnreadableImage, match="truncated"):
        frames(gif_of((3, 2))[:-1])


def test_a_frame_without_area_draws_nothing() -> None:
    """A frame of height 0 counts, even where the file ends in it, and leaves the canvas as it was."""
    content = gif_of((2, 2), ((0, 0, 2, 2), 1, 1))[:-1]
    empty = content + b"," + struct.pack("<HHHHB", 0, 0, 2, 0, 0) + b";"
    shown = frames(empty)
    assert [frame.getpixel((1, 1)) for frame in shown] == [(255, 0, 0, 255)] * 2


def test_a_frame_far_larger_than_its_canvas_is_clipped() -> None:
    """Only what lies on the canvas is decoded: 40 Mpixel of frame on a canvas of four."""
    content = bytearray(gif_of((2, 2), ((0, 0, 2, 2), 1, 0)))
    place = content.index(b",", 20)
    struct.pack_into("<HH", content, place + 5, 2, 20_000)
    assert first(bytes(content)).convert("RGB").getpixel((1, 1)) == (255, 0, 0)


def test_an_interlaced_frame_beyond_all_bounds_is_refused() -> None:
    """Its rows can't be left out, so it is called too large before memory is taken."""
    content = bytearray(gif_of((2, 2), ((0, 0, 2, 2), 1, 0)))
    place = content.index(b",", 20)
    struct.pack_into("<HHB", content, place + 5, 65_535, 65_535, 0x40)
    with pytest.raises(ImageTooLarge, match="65535x65535"):
        first(bytes(content))


def test_entities_that_are_short_texts_are_written_out() -> None:
    """Attributes, elements and namespaces given as entities, as drawing programs write them, are drawn."""
    declared = (
        '<!ENTITY ns_svg "http://www.w3.org/2000/svg"><!ENTITY ink "#00ff00">'
        "<!ENTITY box \"<rect width='4' height='4' fill='&#35;ff0000'/>\"><!ENTITY less '&lt;'>"
    )
    drawing = '<svg xmlns="&ns_svg;" width="8" height="4" fill="&ink;"><rect width="8" height="4"/>&box;</svg>'
    image = first(f"<!DOCTYPE svg [{declared}]>{drawing}".encode())
    assert [image.getpixel((x, 2)) for x in (2, 6)] == [(255, 0, 0, 255), (0, 255, 0, 255)]


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>',
        b'<!DOCTYPE svg [<!ENTITY x "'
        + b"a" * 60_000
        + b'">]><svg xmlns="http://www.w3.org/2000/svg"><desc>'
        + b"&x;" * 60
        + b"</desc></svg>",
        b'<!DOCTYPE svg [<!ENTITY x "&y;"><!ENTITY y "&x;">]><svg xmlns="http://www.w3.org/2000/svg">&x;</svg>',
        b'<!DOCTYPE svg [<!ENTITY % x "y">]><svg xmlns="http://www.w3.org/2000/svg"/>',
        b'<!DOCTYPE svg [<!ENTITY x SYSTEM "y" NDATA z>]><svg xmlns="http://www.w3.org/2000/svg"/>',
    ],
)
def test_entities_from_outside_or_that_multiply_are_refused(content: bytes) -> None:
    """Nothing outside is read, and a short document can't become a long one."""
    with pytest.raises(UnreadableImage, match="write them out"):
        first(content)


def test_a_backslash_in_a_path_is_left_alone() -> None:
    r"""C:\Documents in an attribute is no CSS escape, and must not become a character XML can't hold."""
    root = parse_svg(rb'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4" id="C:\Documents \url"/>')
    clean_svg(root)
    assert root.get("id") == r"C:\Documents \url"
    escaped = parse_svg(rb'<svg xmlns="http://www.w3.org/2000/svg" fill="\75rl\28http://example.org/\29"/>')
    clean_svg(escaped)
    assert "example.org" not in escaped.get("fill", "")


def test_a_size_in_millimetres_is_drawn_as_the_renderer_draws_it() -> None:
    """A fraction of a pixel in the size does not stretch the drawing."""
    resvg_py = pytest.importorskip("resvg_py")
    lines = "".join(f'<path d="M{at} 0L{at + 7.3} 297" stroke="#000" stroke-width=".05"/>' for at in range(0, 200, 3))
    text = svg_bytes(lines, 'width="210mm" height="297mm" viewBox="0 0 210 297"')
    ours = render_svg(text, renderer="resvg", max_pixels=10**6, max_side=10**4, max_bytes=10**6)
    own = Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=text.decode(), dpi=96))))
    assert np.array_equal(np.asarray(ours), np.asarray(own.convert("RGBA")))
    assert (probe(text, LIMITS).width, probe(text, LIMITS).height) == (794, 1123)


def test_frames_far_larger_than_their_canvas_count_as_what_they_cost() -> None:
    """An interlaced frame is decoded whole, so a hundred large ones on one pixel are beyond the bound on all frames."""
    content = gif_of((1, 1), *[((0, 0, 1, 1), 1, 0)] * 100)
    small = struct.pack("<HHB", 1, 1, 0) + b"\x02"
    assert content.count(small) == 100
    interlaced = content.replace(small, struct.pack("<HHB", 2000, 600, 0x40) + b"\x02")
    with pytest.raises(ImageTooLarge, match=r"all frames together are 120\.0 megapixels"):
        frames(interlaced)
    plain = content.replace(small, struct.pack("<HHB", 2000, 600, 0) + b"\x02")
    assert probe(plain, LIMITS).total_pixels == 100 * 2000

"""APNGs of 16 bits a sample and of fewer, written chunk by chunk."""

import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from imgapi.errors import UnreadableImage
from imgapi.pictures.convert import convert_to_png
from imgapi.pictures.limits import PictureLimits
from pictures import decode, png_chunk

WIDTH, HEIGHT = 6, 4
KEEP, CLEAR, RESTORE = 0, 1, 2
GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6
CHANNELS = {GREY: 1, RGB: 3, GREY_ALPHA: 2, RGBA: 4}
Numbers = npt.NDArray[np.int64]


def drawn(kind: int, seed: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Numbers:
    """Draw samples that use all 16 bits, H×W×channels."""
    return np.random.default_rng(seed).integers(0, 65_536, (size[1], size[0], CHANNELS[kind]))


def packed(samples: Numbers) -> bytes:
    """Compress rows, each after a filter byte of 0."""
    return zlib.compress(b"".join(b"\x00" + row.astype(">u2").tobytes() for row in samples))


def apng_of(
    kind: int, *frames: tuple[Numbers, tuple[int, int], int, int], more: bytes = b"", hides_first: bool = False
) -> bytes:
    """Write an APNG; samples, left and top, disposal and blending of each frame; `more` goes before the pixels.

    With `hides_first`, the first one is a still picture and no frame.
    """
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, kind, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n", png_chunk(b"IHDR", header), more]
    parts.append(png_chunk(b"acTL", struct.pack(">II", len(frames) - hides_first, 0)))
    sequence = 0
    for number, (samples, (left, top), disposal, blending) in enumerate(frames):
        height, width = samples.shape[:2]
        control = struct.pack(">IIIIIHHBB", sequence, width, height, left, top, 1, 10, disposal, blending)
        data = packed(samples)
        if number or not hides_first:
            parts.append(png_chunk(b"fcTL", control))
        if number:
            parts.append(png_chunk(b"fdAT", struct.pack(">I", sequence + 1) + data))
            sequence += 2
        else:
            parts.append(png_chunk(b"IDAT", data))
            sequence += not hides_first
    return b"".join([*parts, png_chunk(b"IEND", b"")])


def frames_of(content: bytes) -> list[Numbers]:
    """Convert all frames and read their samples as they are, red first."""
    result = convert_to_png(content, all_frames=True, limits=PictureLimits(), svg_renderer="resvg")
    frames = []
    for png in result.frames:
        read = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
        assert read is not None
        assert read.dtype == np.uint16
        pixels = read.reshape(*read.shape[:2], -1)
        frames.append(pixels[..., [2, 1, 0, 3][: pixels.shape[2]] if pixels.shape[2] > 1 else [0]].astype(np.int64))
    return frames


@pytest.mark.parametrize("kind", [GREY, RGB, RGBA])
def test_whole_frames_keep_every_bit(kind: int) -> None:
    """Frames that replace all before come out sample for sample."""
    drawings = [drawn(kind, seed) for seed in range(3)]
    content = apng_of(kind, *((drawing, (0, 0), KEEP, 0) for drawing in drawings))
    assert all(np.array_equal(*pair) for pair in zip(frames_of(content), drawings, strict=True))


def test_grey_with_alpha_keeps_every_bit() -> None:
    """Grey with alpha comes out sample for sample; what reads it here makes colours of it."""
    drawings = [drawn(GREY_ALPHA, seed) for seed in range(2)]
    content = apng_of(GREY_ALPHA, *((drawing, (0, 0), KEEP, 0) for drawing in drawings))
    for frame, drawing in zip(frames_of(content), drawings, strict=True):
        assert np.array_equal(frame, drawing[..., [0, 0, 0, 1]])


def test_regions_are_disposed_of_and_blended() -> None:
    """Regions kept, cleared and restored, laid over or put in place, end as the specification has them."""
    ground = drawn(RGBA, 1)
    ground[..., 3] = 65_535
    parts = [drawn(RGBA, seed, (3, 2)) for seed in (2, 3, 4)]
    content = apng_of(
        RGBA,
        (ground, (0, 0), KEEP, 0),
        (parts[0], (1, 1), RESTORE, 1),
        (parts[1], (3, 2), CLEAR, 0),
        (parts[2], (0, 0), KEEP, 1),
    )
    shown = frames_of(content)
    first, second, third = ground.copy(), ground.copy(), ground.copy()
    alpha = parts[0][..., 3:] / 65_535
    second[1:3, 1:4, :3] = np.rint(parts[0][..., :3] * alpha + ground[1:3, 1:4, :3] * (1 - alpha))
    third[2:4, 3:6] = parts[1]
    fourth = ground.copy()
    fourth[2:4, 3:6] = 0
    alpha = parts[2][..., 3:] / 65_535
    fourth[:2, :3, :3] = np.rint(parts[2][..., :3] * alpha + ground[:2, :3, :3] * (1 - alpha))
    for frame, expected in zip(shown, (first, second, third, fourth), strict=True):
        opaque = frame.shape[2] == 3
        assert opaque == bool((expected[..., 3] == 65_535).all())
        assert np.abs(frame - (expected[..., :3] if opaque else expected)).max() <= 1


Place = tuple[int, int, int, int]


def small_apng(
    kind: int, default: bytes, *frames: tuple[bytes, Place, int, int], more: bytes = b"", interlaced: bool = False
) -> bytes:
    """Write an APNG of 8 bits that hides its default image; each frame's pixels, place, disposal and blending."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, kind, 0, 0, interlaced)
    parts = [b"\x89PNG\r\n\x1a\n", png_chunk(b"IHDR", header), more]
    parts += [png_chunk(b"acTL", struct.pack(">II", len(frames), 0)), png_chunk(b"IDAT", zlib.compress(default))]
    for number, (rows, place, disposal, blending) in enumerate(frames):
        control = struct.pack(">IIIIIHHBB", 2 * number, *place, 1, 10, disposal, blending)
        parts.append(png_chunk(b"fcTL", control))
        parts.append(png_chunk(b"fdAT", struct.pack(">I", 2 * number + 1) + zlib.compress(rows)))
    return b"".join([*parts, png_chunk(b"IEND", b"")])


def pictures_of(content: bytes) -> list[Image.Image]:
    """Convert all frames: RGBA."""
    result = convert_to_png(content, all_frames=True, limits=PictureLimits(), svg_renderer="resvg")
    return [decode(png).convert("RGBA") for png in result.frames]


def rows_of(width: int, height: int, pixel: bytes) -> bytes:
    """Write rows of one colour, each after a filter byte of 0."""
    return (b"\x00" + pixel * width) * height


WHOLE = (WIDTH, HEIGHT, 0, 0)
CORNER = (2, 2, 1, 1)


def test_hidden_picture_is_no_ground_to_draw_on() -> None:
    """An animation begins clear, whatever picture it hides, and what its first frame restores is that."""
    red, green = b"\xff\x00\x00\xff", b"\x00\xff\x00\x80"
    corner = rows_of(2, 2, green)
    content = small_apng(
        RGBA, rows_of(WIDTH, HEIGHT, red), (corner, CORNER, RESTORE, 1), (corner, (2, 2, 3, 1), KEEP, 1)
    )
    first, second = pictures_of(content)
    assert [first.getpixel(place) for place in ((1, 1), (3, 1))] == [(0, 255, 0, 128), (0, 0, 0, 0)]
    assert [second.getpixel(place) for place in ((1, 1), (3, 1))] == [(0, 0, 0, 0), (0, 255, 0, 128)]


def test_a_single_frame_is_shown_in_place_of_the_picture_it_hides() -> None:
    """One frame is an animation as well, which begins clear; without the animation the hidden picture is shown."""
    red, green = b"\xff\x00\x00\xff", b"\x00\xff\x00\xff"
    whole = rows_of(WIDTH, HEIGHT, green)
    content = small_apng(RGBA, rows_of(WIDTH, HEIGHT, red), (whole, WHOLE, KEEP, 0))
    assert [frame.getcolors() for frame in pictures_of(content)] == [[(WIDTH * HEIGHT, (0, 255, 0, 255))]]
    content = small_apng(RGBA, rows_of(WIDTH, HEIGHT, red), (rows_of(2, 2, green), CORNER, KEEP, 0))
    (frame,) = pictures_of(content)
    assert [frame.getpixel(place) for place in ((1, 1), (3, 1))] == [(0, 255, 0, 255), (0, 0, 0, 0)]
    still = convert_to_png(content, all_frames=False, limits=PictureLimits(), svg_renderer="resvg")
    assert decode(still.frames[0]).convert("RGBA").getcolors() == [(WIDTH * HEIGHT, (255, 0, 0, 255))]


def test_a_single_frame_of_16_bits_keeps_them() -> None:
    """The one frame of an animation that hides a picture comes out at its own depth."""
    hidden, shown = drawn(RGB, 1), drawn(RGB, 2)
    content = apng_of(RGB, (hidden, (0, 0), KEEP, 0), (shown, (0, 0), KEEP, 0), hides_first=True)
    (frame,) = frames_of(content)
    assert np.array_equal(frame, shown)


def test_a_single_frame_that_is_the_still_picture_is_passed_through() -> None:
    """Where the one frame is the picture itself, its compressed pixels stay as they are."""
    content = apng_of(RGB, (drawn(RGB, 1), (0, 0), KEEP, 0))
    (png,) = convert_to_png(content, all_frames=True, limits=PictureLimits(), svg_renderer="resvg").frames
    assert packed(drawn(RGB, 1)) in png


def test_a_first_control_before_the_animation_is_announced_counts() -> None:
    """What says how many frames there are may come after the first frame's place, as long as no pixel came before."""
    content = apng_of(RGB, (drawn(RGB, 1), (0, 0), KEEP, 0), (drawn(RGB, 2), (0, 0), KEEP, 0))
    announced = png_chunk(b"acTL", struct.pack(">II", 2, 0))
    before, after = content.split(announced)
    place, pixels = after[:38], after[38:]
    assert place[4:8] == b"fcTL"
    late = before + place + announced + pixels
    first, second = frames_of(late)
    assert np.array_equal(first, drawn(RGB, 1))
    assert np.array_equal(second, drawn(RGB, 2))
    assert len(frames_of(before + place + pixels)) == 1


def test_palettes_are_laid_over_each_other() -> None:
    """Half clear colours of a palette mix with those below."""
    more = png_chunk(b"PLTE", bytes((255, 0, 0, 0, 0, 255))) + png_chunk(b"tRNS", b"\xff\x80")
    frames = (rows_of(WIDTH, HEIGHT, b"\x00"), WHOLE, KEEP, 0), (rows_of(2, 2, b"\x01"), CORNER, KEEP, 1)
    _, second = pictures_of(small_apng(3, rows_of(WIDTH, HEIGHT, b"\x00"), *frames, more=more))
    assert second.getpixel((1, 1)) == (127, 0, 128, 255)
    assert second.getpixel((0, 0)) == (255, 0, 0, 255)


def test_interlaced_regions_are_read() -> None:
    """A region of an interlaced animation is interlaced by itself."""
    whole = b"".join(
        rows_of(columns, rows, b"\x50") for columns, rows in ((1, 1), (1, 1), (1, 1), (3, 1), (3, 2), (6, 2))
    )
    corner = b"".join(rows_of(columns, rows, b"\xf0") for columns, rows in ((1, 1), (1, 1), (2, 1)))
    content = small_apng(GREY, whole, (whole, WHOLE, KEEP, 0), (corner, CORNER, KEEP, 0), interlaced=True)
    _, second = pictures_of(content)
    assert np.array_equal(np.unique(np.asarray(second)[1:3, 1:3, 0]), [0xF0])
    assert second.getpixel((5, 3)) == (0x50, 0x50, 0x50, 255)


def test_a_frame_that_lacks_pixels_is_refused() -> None:
    """What a frame does not bring is not made up."""
    whole = rows_of(WIDTH, HEIGHT, b"\x50")
    content = small_apng(GREY, whole, (whole, WHOLE, KEEP, 0), (whole[: len(whole) // 2], WHOLE, KEEP, 0))
    with pytest.raises(UnreadableImage, match="truncated"):
        pictures_of(content)


@pytest.mark.parametrize("bits", [8, 16])
def test_stated_colours_stay_on_frames(bits: int) -> None:
    """What a file says of its colours holds for each frame made of it, at either depth."""
    more = png_chunk(b"gAMA", struct.pack(">I", 100_000))
    if bits == 16:
        content = apng_of(RGB, (drawn(RGB, 1), (0, 0), KEEP, 0), (drawn(RGB, 2), (0, 0), KEEP, 0), more=more)
    else:
        whole = rows_of(WIDTH, HEIGHT, b"\x10\x20\x30")
        content = small_apng(RGB, whole, (whole, WHOLE, KEEP, 0), (whole, WHOLE, KEEP, 0), more=more)
    result = convert_to_png(content, all_frames=True, limits=PictureLimits(), svg_renderer="resvg")
    assert len(result.frames) == 2
    assert all(more in frame for frame in result.frames)


def test_a_damaged_frame_is_refused() -> None:
    """A frame whose pixels don't inflate is the caller's error."""
    content = apng_of(RGB, (drawn(RGB, 1), (0, 0), KEEP, 0), (drawn(RGB, 2), (0, 0), KEEP, 0))
    data = packed(drawn(RGB, 2))
    bad = struct.pack(">I", 2) + b"\xff" * len(data)
    damaged = content.replace(png_chunk(b"fdAT", struct.pack(">I", 2) + data), png_chunk(b"fdAT", bad))
    assert damaged != content
    with pytest.raises(UnreadableImage):
        frames_of(damaged)
